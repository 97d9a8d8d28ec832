import logging
import os
import socket
from pathlib import Path

import pytest

from edge.decoding import AUDIO_EXTENSIONS
from edge.recordings import find_audio


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def test_what_is_left_out_of_a_folder_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("PATH", str(tmp_path))
    touch(tmp_path, "a.wav", "b.WAVE", "c.oga", ".d.wav", "e.m4a", "f.M4A", "g.webm", "h.txt", "i", "j.csv", "k.pdf")
    assert [path.name for path in find_audio([tmp_path])] == ["a.wav", "b.WAVE", "c.oga"]
    assert sorted(caplog.messages) == [
        f"{tmp_path}: left out 1 that are hidden: .d.wav",
        f"{tmp_path}: left out 1 that need ffmpeg (apt install ffmpeg, or convert each: ffmpeg -i in.webm out.flac): "
        "g.webm",
        f"{tmp_path}: left out 2 that need ffmpeg (apt install ffmpeg, or convert each: ffmpeg -i in.m4a out.flac): "
        "e.m4a, f.M4A",
        f"{tmp_path}: left out 4 that have no name of audio: h.txt, i, j.csv and 1 more",
    ]


def test_ffmpeg_takes_what_it_decodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "ffmpeg"
    touch(tmp_path, "bin/ffmpeg", "in/e.m4a", "in/g.webm", "in/a.wav")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    assert [path.name for path in find_audio([tmp_path / "in"])] == ["a.wav", "e.m4a", "g.webm"]


def test_links_pipes_and_sockets_in_a_folder_do_not_hang(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "in"
    touch(tmp_path, "elsewhere/x.wav", "in/a.wav")
    (folder / "b.wav").symlink_to(tmp_path / "elsewhere" / "x.wav")
    (folder / "loop").symlink_to(folder)
    (folder / "other").symlink_to(tmp_path / "elsewhere")
    (folder / "gone.wav").symlink_to(tmp_path / "gone.wav")
    (folder / "self.wav").symlink_to(folder / "self.wav")
    os.mkfifo(folder / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "s.wav"))
    assert [path.name for path in find_audio([folder])] == ["a.wav", "b.wav"]
    assert sorted(caplog.messages) == [
        f"{folder}: left out 2 that are links to folders: loop, other",
        f"{folder}: left out 2 that are links to nothing: gone.wav, self.wav",
        f"{folder}: left out 2 that are no files: pipe.wav, s.wav",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_searched_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "a.wav", "locked/b.wav")
    (tmp_path / "locked").chmod(0)
    assert [path.name for path in find_audio([tmp_path])] == ["a.wav"]
    assert caplog.messages == [f"{tmp_path}: left out 1 that cannot be searched (Permission denied): locked"]


def test_names_of_audio_are_in_lower_case_and_none_is_headerless() -> None:
    assert {name.lower() for name in AUDIO_EXTENSIONS} == AUDIO_EXTENSIONS
    assert not AUDIO_EXTENSIONS & {".raw", ".pcm", ".txt", ".mat"}
