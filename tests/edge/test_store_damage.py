import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import StoreError
from edge.people.store import SpeakerStore
from edge.people.store.vault import CREDENTIAL_NAME, Vault
from helpers.voices import CONSENT, ENCODER, clip, contents, newest_profiles, profile

PAGE_BYTES = 4096


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def fill(folder: Path) -> dict[str, list[str]]:
    """Enrol two people and return what the store then holds."""
    with SpeakerStore.open(folder) as store:
        for name in ("Anna", "Bo"):
            person = store.add_person(name, CONSENT)
            for number in range(3):
                store.add_clip(person, clip(number))
                store.save_voice_profile(person, profile(number))
        return contents(store)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, dict[str, list[str]]]:
    """A folder with a key, the bytes of its database, and what is in it."""
    folder = tmp_path_factory.mktemp("pristine")
    held = fill(folder)
    return folder, (folder / "speakers.db").read_bytes(), held


def refused(folder: Path, reason: str) -> None:
    """Neither reading nor writing gets past the damage, and the file stays as it is."""
    path = folder / "speakers.db"
    before = path.read_bytes()
    for call in (
        lambda: SpeakerStore.open(folder),
        lambda: SpeakerStore(folder).add_person("Cleo", CONSENT),
        lambda: SpeakerStore(folder, readonly=True).people(),
    ):
        with pytest.raises(StoreError, match=f"^{path}: {reason}"):
            call()
    assert path.read_bytes() == before


def tamper(folder: Path, change: str) -> None:
    with closing(sqlite3.connect(folder / "speakers.db")) as raw, raw:
        assert raw.execute(change).rowcount


# Half of the damage hits the headers of pages, where the structure is.
POSITIONS = st.integers(0, 1 << 20) | st.builds(
    lambda page, at: page * PAGE_BYTES + at, st.integers(0, 9), st.integers(0, 120)
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(POSITIONS, st.integers(0, 255)), min_size=1, max_size=4), st.integers(0, 9 * PAGE_BYTES))
def test_any_damage_is_noticed_or_harmless(
    pristine: tuple[Path, bytes, dict[str, list[str]]], damage: list[tuple[int, int]], lost_bytes: int
) -> None:
    folder, sound, held = pristine
    damaged = bytearray(sound)
    for position, value in damage:
        damaged[position % len(damaged)] = value
    for path in folder.glob("speakers.db*"):
        path.unlink()
    if lost_bytes < 100:
        del damaged[len(damaged) - lost_bytes :]
    (folder / "speakers.db").write_bytes(damaged)
    try:
        with SpeakerStore.open(folder) as store:
            found = contents(store), sum(profile is not None for profile in newest_profiles(store).values())
    except StoreError:
        return
    assert found == (held, 2)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(folder: Path, share: float) -> None:
    path = folder / "speakers.db"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refused(folder, "is damaged and was left as it is; restore it from a backup, or delete it")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"is empty \(0 bytes\), so it is damaged and was left as it is"),
        (b"not a database, " * 999, "is damaged and was left as it is"),
    ],
)
def test_another_file_is_refused(folder: Path, content: bytes, reason: str) -> None:
    (folder / "speakers.db").write_bytes(content)
    refused(folder, reason)


def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "speakers.db")) as other:
        other.execute("CREATE TABLE people (name TEXT)")
    refused(tmp_path, r"is no speaker store \(schema 0\); choose another folder")


def test_a_newer_schema_is_refused(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "speakers.db")) as raw:
        raw.execute("PRAGMA user_version = 2")
    refused(folder, r"was written by a newer affectd \(schema 2, this one knows 1\); upgrade affectd")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE people SET record = replace(record, 'Anna', 'Anne')",
        "UPDATE people SET record = replace(record, 'asked', '--yes')",
        "UPDATE people SET folded_name = 'eve' WHERE folded_name = 'anna'",
    ],
)
def test_a_changed_person_is_noticed(folder: Path, change: str) -> None:
    tamper(folder, change)
    with SpeakerStore.open(folder) as store, pytest.raises(StoreError, match="is damaged and was left as it is"):
        store.people()


@pytest.mark.parametrize(("person", "kind", "number"), [("=", "=", "<>"), ("<>", "=", "="), ("=", "<>", "=")])
def test_blobs_cannot_change_places(folder: Path, person: str, kind: str, number: str) -> None:
    with closing(sqlite3.connect(folder / "speakers.db")) as raw, raw:
        raw.execute("CREATE TEMP TABLE other AS SELECT * FROM blobs")
        raw.execute(
            "UPDATE blobs SET sealed = (SELECT other.sealed FROM other WHERE "
            f"other.person_id {person} blobs.person_id AND other.kind {kind} blobs.kind "
            f"AND other.number {number} blobs.number)"
        )
    with SpeakerStore.open(folder) as store:
        for anybody in store.people():
            for call in (store.clips, store.revisions, store.voice_profile):
                with pytest.raises(StoreError, match=f"of '{anybody.name}' is damaged; .* or forget '{anybody.name}'"):
                    call(anybody, ENCODER)


def test_blobs_cannot_change_encoders(folder: Path) -> None:
    tamper(folder, "UPDATE blobs SET encoder_hash = 'other'")
    with SpeakerStore.open(folder) as store, pytest.raises(StoreError, match="profile 3 of 'Anna' is damaged"):
        newest_profiles(store, "other")


def without_key(folder: Path) -> None:
    (folder / "store.key").unlink()


def with_another_key(folder: Path) -> None:
    (folder / "store.key").unlink()
    Vault.load(folder, may_create=True)


@pytest.mark.parametrize(
    ("lose", "reason"),
    [
        (without_key, r"store\.key: the key of the store is missing"),
        (with_another_key, r"store\.key: is not the key of"),
    ],
)
def test_a_lost_key_loses_nothing(folder: Path, lose: Callable[[Path], None], reason: str) -> None:
    key = (folder / "store.key").read_bytes()
    with SpeakerStore.open(folder) as store:
        held = contents(store)
    lose(folder)
    with SpeakerStore.open(folder) as store:
        anna, _ = store.people()
        for call in (
            lambda: store.clips(anna, ENCODER),
            lambda: newest_profiles(store),
            lambda: store.add_clip(anna, clip(1)),
            lambda: store.save_voice_profile(anna, profile(1)),
            lambda: store.revert(anna, ENCODER, 1),
            lambda: store.export_person("Anna"),
        ):
            with pytest.raises(StoreError, match=reason):
                call()
        assert newest_profiles(store, "other") == {"Anna": None, "Bo": None}
        store.rename("Anna", "Ada")
        store.rename("Ada", "Anna")
        (folder / "store.key").write_bytes(key)
        (folder / "store.key").chmod(0o600)
        assert contents(store) == held


def test_forgetting_everyone_replaces_a_lost_key(folder: Path) -> None:
    with SpeakerStore.open(folder) as store, SpeakerStore.open(folder) as daemon:
        before = contents(daemon)
        without_key(folder)
        store.forget("Anna")
        assert contents(daemon) == {"Bo": before["Bo"]}
        store.forget("Bo")
        cleo = store.add_person("Cleo", CONSENT)
        store.add_clip(cleo, clip(1))
        daemon.add_clip(cleo, clip(2))
        assert [int(clip.embedding[0]) for clip in store.clips(cleo, ENCODER)] == [1, 2]


def test_a_credential_serves_instead_of_a_key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials, folder = tmp_path / "credentials", tmp_path / "store"
    credentials.mkdir()
    (credentials / CREDENTIAL_NAME).write_text("5e" * 32)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    held = fill(folder)
    assert not (folder / "store.key").exists()
    with SpeakerStore.open(folder) as store:
        assert contents(store) == held
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with SpeakerStore.open(folder) as store, pytest.raises(StoreError, match=CREDENTIAL_NAME):
        contents(store)
    assert not (folder / "store.key").exists()


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("mine")
    with pytest.raises(StoreError, match=r"speakers\.db: Not a directory; its folder must"):
        SpeakerStore.open(tmp_path / "store")
    assert (tmp_path / "store").read_text() == "mine"


def test_a_database_that_is_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "speakers.db" / "full").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"speakers\.db: this user must be able to read and write it"):
        SpeakerStore.open(tmp_path)


def test_a_path_with_a_null_character_is_an_error() -> None:
    with pytest.raises(StoreError, match="a path cannot hold a null character"):
        SpeakerStore.open(Path("a\0b"))
