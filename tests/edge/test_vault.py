import re
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import StoreError
from edge.people.store.vault import CREDENTIAL_NAME, KEY_FILE_NAME, Vault

VAULT = Vault(bytes(32), Path("test.key"))
CONTEXTS = st.lists(st.text(max_size=8), max_size=4)


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


@settings(deadline=None)
@given(st.binary(max_size=200), CONTEXTS)
def test_what_is_sealed_opens_in_its_context(plain: bytes, context: list[str]) -> None:
    sealed = VAULT.seal(plain, *context)
    assert VAULT.open(sealed, *context) == plain
    assert len(sealed) == 12 + len(plain) + 16
    assert VAULT.seal(plain, *context) != sealed


@settings(deadline=None)
@given(CONTEXTS, CONTEXTS)
def test_it_opens_nowhere_else(context: list[str], other: list[str]) -> None:
    assert (VAULT.open(VAULT.seal(b"voice", *context), *other) is None) == (context != other)


@settings(deadline=None)
@given(st.binary(max_size=50), st.integers(0), st.integers(1, 255))
def test_damage_is_noticed(plain: bytes, position: int, change: int) -> None:
    sealed = bytearray(VAULT.seal(plain))
    sealed[position % len(sealed)] ^= change
    assert VAULT.open(bytes(sealed)) is None


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_can_be_refused(sealed: bytes) -> None:
    assert VAULT.open(sealed) is None


def test_another_key_does_not_open_it() -> None:
    assert Vault(b"x" * 32, Path("other.key")).open(VAULT.seal(b"voice")) is None


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    first, second = Vault.load(tmp_path, may_create=True), Vault.load(tmp_path, may_create=True)
    assert second.open(first.seal(b"voice")) == b"voice"
    (key_file,) = tmp_path.iterdir()
    assert first.origin == key_file
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert re.fullmatch(r"[0-9a-f]{64}\n", key_file.read_text())


def test_a_missing_key_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=rf"{KEY_FILE_NAME}: the key .* missing.*{CREDENTIAL_NAME}"):
        Vault.load(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_a_key_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    Vault.load(tmp_path, may_create=True)
    key_file = tmp_path / KEY_FILE_NAME
    key_file.chmod(mode)
    with pytest.raises(StoreError, match=f"mode 0{mode:o}.*chmod 600 {key_file}"):
        Vault.load(tmp_path)
    key_file.chmod(0o400)
    assert Vault.load(tmp_path).origin == key_file


@pytest.mark.parametrize("content", [b"", b"\n", b"ab" * 31, b"ab" * 33, b"xy" * 32, bytes(32), b"\xff" * 64])
def test_what_is_no_key_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    key_file = tmp_path / KEY_FILE_NAME
    key_file.write_bytes(content)
    key_file.chmod(0o600)
    with pytest.raises(StoreError, match=f"{key_file}: is no key; a key is 64 hexadecimal digits"):
        Vault.load(tmp_path, may_create=True)
    assert key_file.read_bytes() == content


def test_a_key_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE_NAME).mkdir()
    with pytest.raises(StoreError, match="cannot be read: Is a directory"):
        Vault.load(tmp_path)


def test_a_credential_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credential = tmp_path / "credentials" / CREDENTIAL_NAME
    credential.parent.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credential.parent))
    assert Vault.load(tmp_path, may_create=True).origin == tmp_path / KEY_FILE_NAME
    credential.write_text("ab" * 32)
    credential.chmod(0o440)
    vault = Vault.load(tmp_path)
    assert vault.origin == credential
    assert Vault(b"\xab" * 32, credential).open(vault.seal(b"voice")) == b"voice"


def test_an_empty_credentials_directory_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / CREDENTIAL_NAME).write_text("ab" * 32)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "")
    assert Vault.load(tmp_path, may_create=True).origin == tmp_path / KEY_FILE_NAME
