from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import UsageError
from edge.people.clip_labels import read_labels, real_path

ALLOWED = ("neutral", "happy", "angry")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder with ``a.wav`` and ``b.wav``."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.wav", "b.wav"):
        (folder / name).touch()
    return folder


def write(folder: Path, *lines: str, header: str = "path,emotion") -> Path:
    file = folder / "labels.csv"
    file.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return file


def test_paths_are_relative_to_the_file_or_as_given(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clips.parent)
    file = write(clips, "a.wav,happy", f"{clips / 'b.wav'}, angry ")
    expected = {real_path(clips / "a.wav"): "happy", real_path(clips / "b.wav"): "angry"}
    assert read_labels(file, ALLOWED) == expected
    assert read_labels(write(clips.parent, "clips/a.wav,happy", "clips/b.wav,angry"), ALLOWED) == expected
    os.link(clips / "a.wav", clips.parent / "linked.wav")
    other = tmp_folder(clips)
    assert read_labels(write(other, "linked.wav,happy"), ALLOWED) == {real_path(clips.parent / "linked.wav"): "happy"}


def tmp_folder(clips: Path) -> Path:
    folder = clips.parent / "elsewhere"
    folder.mkdir()
    return folder


def test_other_columns_and_empty_emotions_are_ignored(clips: Path) -> None:
    file = write(clips, "s1,a.wav,happy,x", "s2,b.wav,,y", header="\ufeffspeaker,path,emotion,note")
    assert read_labels(file, ALLOWED) == {real_path(clips / "a.wav"): "happy"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["a.wav,happy", "b.wav,hapy"],
            "line 3: emotion 'hapy' is not one of neutral, happy, angry (did you mean 'hap",
        ),
        (["a.wave,happy"], "line 2: no file 'a.wave' (did you mean 'a.wav'?)"),
        (["./a.wv,happy"], "line 2: no file './a.wv' (did you mean './a.wav'?)"),
        (["gone/a.wav,happy"], "line 2: no file 'gone/a.wav'"),
        ([",happy"], "line 2: no file ''"),
        (["a.wav,happy", "../clips/a.wav,angry"], "line 3: '../clips/a.wav' is 'angry', but an earlier line says 'hap"),
        (["a.wav"], ""),
    ],
)
def test_mistakes_name_the_line_and_the_nearest(clips: Path, lines: list[str], message: str) -> None:
    file = write(clips, *lines)
    if not message:
        assert read_labels(file, ALLOWED) == {}
        return
    with pytest.raises(UsageError) as info:
        read_labels(file, ALLOWED)
    assert message in str(info.value)
    assert str(info.value).startswith(f"{file}: ")


def test_files_that_are_no_labels(clips: Path) -> None:
    for data, message in (
        (b"", "has no column path and no emotion; the header is path,emotion"),
        (b"file,emotion\na.wav,happy\n", "has no column path; the header"),
        (b"\xff\xfe\x00", "is no CSV file in UTF-8"),
        (b"path,emotion\n" + b"x" * 200_000 + b",happy\n", "is no CSV file in UTF-8"),
    ):
        file = clips / "labels.csv"
        file.write_bytes(data)
        with pytest.raises(UsageError, match=message):
            read_labels(file, ALLOWED)
    for missing in (clips, clips / "gone.csv"):
        with pytest.raises(UsageError, match="cannot read"):
            read_labels(missing, ALLOWED)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200)
    | st.lists(
        st.tuples(st.text(max_size=9) | st.just("a.wav"), st.text(max_size=9) | st.just("happy")), max_size=4
    ).map(
        lambda rows: ("path,emotion\n" + "\n".join(f"{path},{emotion}" for path, emotion in rows)).encode(
            errors="surrogatepass"
        )
    )
)
def test_any_file_is_read_or_refused(clips: Path, data: bytes) -> None:
    file = clips / "labels.csv"
    file.write_bytes(data)
    try:
        labels = read_labels(file, ALLOWED)
    except UsageError:
        return
    assert set(labels.values()) <= set(ALLOWED)
