import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from edge.errors import OutputError, UsageError
from edge.files import check_writable, new_file, write_file


def test_a_file_is_complete_or_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    write_file(file, "before")
    with pytest.raises(KeyboardInterrupt), new_file(file) as new:  # noqa: PT012  (what is interrupted is the writing)
        assert new.name == file.name
        new.write_text("half of what comes af")
        raise KeyboardInterrupt
    assert file.read_text() == "before"
    write_file(file, b"after")
    assert file.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [file]


def test_a_private_file_is_never_readable_by_others(tmp_path: Path) -> None:
    file = tmp_path / "key"
    with new_file(file, private=True) as new:
        assert stat.S_IMODE(new.stat().st_mode) == 0o600
        assert stat.S_IMODE(new.parent.stat().st_mode) == 0o700
        new.write_text("secret")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    previous = os.umask(0o022)
    write_file(tmp_path / "page.html", "")
    os.umask(previous)
    assert stat.S_IMODE((tmp_path / "page.html").stat().st_mode) == 0o644


def test_what_exists_is_kept_where_it_is_not_to_be_replaced(tmp_path: Path) -> None:
    file = tmp_path / "anna.json"
    write_file(file, "old", replace=False)
    with pytest.raises(UsageError, match=r"anna\.json exists already"):
        write_file(file, "new", replace=False)
    with pytest.raises(FileExistsError), new_file(file, replace=False) as new:
        new.touch()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path, "directory"),
        (tmp_path / "gone" / "x", "No such file"),
        (tmp_path / ("x" * 300), "too long"),
    ):
        with pytest.raises(UsageError, match=rf"cannot write {path}: .*{reason}"):
            write_file(path, "")
        with pytest.raises(UsageError, match=rf"cannot write {path}: .*{reason}"):
            check_writable([None, path])
    with pytest.raises(UsageError, match="not UTF-8"):
        write_file(tmp_path / "x", "\udcff")


def test_trying_out_leaves_everything_as_it_was(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("content")
    check_writable([there, tmp_path / "new", Path("/dev/null"), None])
    assert list(tmp_path.iterdir()) == [there]
    assert there.read_text() == "content"


def test_links_and_pipes_stay_what_they_are(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    write_file(link, "through")
    assert link.is_symlink()
    assert (tmp_path / "target").read_text() == "through"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=write_file, args=(pipe, "streamed"))
    writer.start()
    assert pipe.read_text() == "streamed"
    writer.join()
    with pytest.raises(UsageError, match="it is no file"):
        write_file(pipe, "secret", private=True)


def test_the_first_to_be_complete_wins(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with suppress(FileExistsError), new_file(path, replace=False) as first, new_file(path, replace=False) as second:
        first.write_text("first")
        second.write_text("second")
        assert not path.exists()
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_could_not_be_filled_does_not_appear(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk"), new_file(tmp_path / "file"):
        raise OSError("disk")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_nobodys_wrong_usage() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")
    with pytest.raises(OutputError, match=r"cannot write /dev/full: No space left"):
        write_file(full, "content")
