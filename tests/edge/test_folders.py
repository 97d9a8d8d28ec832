import os
import pwd
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.errors import UsageError
from edge.folders import cache_folder, config_folder, credential, data_folder, runtime_folders


@pytest.mark.parametrize(
    ("folder", "variable", "default"),
    [
        (config_folder, "XDG_CONFIG_HOME", ".config"),
        (data_folder, "XDG_DATA_HOME", ".local/share"),
        (cache_folder, "XDG_CACHE_HOME", ".cache"),
    ],
)
def test_folders_follow_xdg(
    folder: Callable[[], Path], variable: str, default: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.setenv(variable, "/elsewhere")
    assert folder() == Path("/elsewhere/affectd")
    for ignored in ("relative", "./relative", "~/relative", ""):
        monkeypatch.setenv(variable, ignored)
        assert folder() == Path("/home/anna", default, "affectd")
    monkeypatch.delenv(variable)
    assert folder() == Path("/home/anna", default, "affectd")


def test_sockets_are_in_the_runtime_folder_or_a_temporary_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")
    temporary = Path(f"/var/tmp/affectd-{os.getuid()}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert runtime_folders() == [tmp_path / "affectd", temporary]
    monkeypatch.chdir(tmp_path.parent)
    for ignored in (tmp_path.name, str(tmp_path / "gone"), ""):
        monkeypatch.setenv("XDG_RUNTIME_DIR", ignored)
        assert runtime_folders() == [temporary]


@pytest.mark.parametrize("find", [config_folder, data_folder, cache_folder])
def test_a_user_without_a_home_has_no_folders(find: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[uid])
    assert find().is_relative_to("/nonexistent")


def test_the_home_of_somebody_else_counts_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    stat = Path.stat

    def refused(path: Path, **options: bool) -> os.stat_result:
        if path.is_relative_to(tmp_path):  # root may enter everywhere
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refused)
    assert [config_folder(), config_folder()] == [Path("/nonexistent/.config/affectd")] * 2
    assert [f"{tmp_path}/affectd" in message for message in caplog.messages] == [True]


def test_a_credential_is_what_systemd_hands_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert credential("web-token") == ""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert credential("web-token") == ""
    (tmp_path / "web-token").write_text(" sécret \n", encoding="utf-8")
    assert credential("web-token") == " sécret "
    (tmp_path / "web-token").write_bytes(b"\xff\n")
    with pytest.raises(UsageError, match="web-token: this credential is no UTF-8"):
        credential("web-token")
    (tmp_path / "mqtt-password").mkdir()
    with pytest.raises(UsageError, match="mqtt-password: this credential cannot be read: Is a directory"):
        credential("mqtt-password")
