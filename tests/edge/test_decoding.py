import io
import os
import shutil
import struct
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import assume, given
from hypothesis import strategies as st

from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ, read_recording
from edge.decoding import AudioReader, Note, ffmpeg, open_audio, open_stream
from edge.decoding.signatures import recognised
from edge.decoding.tape import Tape
from edge.errors import AudioFileError
from edge.vad import to_pcm
from helpers.signals import speech_like

RATE_HZ = 22_050
STEREO = np.stack([speech_like(2.0, 0), speech_like(2.0, 1)], axis=1)
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "float": ("WAV", "FLOAT"),
    "extensible": ("WAVEX", "PCM_24"),
    "ulaw": ("WAV", "ULAW"),
    "rf64": ("RF64", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "w64": ("W64", "PCM_16"),
}
LOSSY = {"ulaw", "ogg", "mp3"}

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def encoded(kind: str, samples: Matrix = STEREO) -> bytes:
    format, subtype = FORMATS[kind]
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, format=format, subtype=subtype)
    return file.getvalue()


def piped(data: bytes) -> io.FileIO:
    """Return the reading end of a pipe into which somebody writes."""
    reading_end, writing_end = os.pipe()

    def write() -> None:
        with os.fdopen(writing_end, "wb") as pipe:
            pipe.write(data)

    threading.Thread(target=write, daemon=True).start()
    return io.FileIO(reading_end)


def read(reader: AudioReader) -> tuple[Matrix, list[Note]]:
    with reader:
        blocks = list(reader.blocks(661))
        return np.concatenate(blocks), list(reader.take_notes())


def reasons(notes: list[Note]) -> set[str]:
    return {note.reason for note in notes}


def of_unknown_length(wav: bytes, size: int) -> bytes:
    """Return a WAV whose header has the same size for everything."""
    at = wav.index(b"data") + 4
    return wav[:4] + struct.pack("<I", size) + wav[8:at] + struct.pack("<I", size) + wav[at + 4 :]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_header_in_a_pipe_says_what_it_is(kind: str) -> None:
    reader = open_stream(piped(encoded(kind)), "-", 16_000)
    assert (reader.rate_hz, reader.channels) == (RATE_HZ, 2)
    samples, notes = read(reader)
    assert notes == []
    if kind in LOSSY:
        assert abs(len(samples) - len(STEREO)) < 2_400
    else:
        assert samples == pytest.approx(STEREO, abs=1e-4)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 36])
@pytest.mark.parametrize("kind", ["wav", "float", "extensible", "ulaw"])
def test_a_wav_is_read_to_its_end_whatever_its_header_says(kind: str, size: int, tmp_path: Path) -> None:
    whole = encoded(kind)
    data = of_unknown_length(whole, size)
    (tmp_path / "a.wav").write_bytes(data)
    for reader in (open_audio(tmp_path / "a.wav"), open_stream(piped(data), "-")):
        samples, notes = read(reader)
        assert len(samples) == len(STEREO)
        assert notes == []


@pytest.mark.parametrize("behind", [b"LIST\4\0\0\0INFO", b"id3 \3\0\0\0abc\0", b"\0", b""])
def test_what_stands_behind_the_samples_of_a_wav_is_no_sound(behind: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(encoded("wav") + behind)
    samples, notes = read(open_audio(tmp_path / "a.wav"))
    assert len(samples) == len(STEREO)
    assert notes == []


@pytest.mark.parametrize("kind", ["wav", "rf64", "flac", "ogg", "mp3"])
def test_recordings_in_one_file_are_read_one_after_the_other(kind: str, tmp_path: Path) -> None:
    one = encoded(kind)
    (tmp_path / "one").write_bytes(one)
    (tmp_path / "joined").write_bytes(3 * one)
    samples, _ = read(open_audio(tmp_path / "one"))
    for reader in (open_audio(tmp_path / "joined"), open_stream(piped(3 * one), "-")):
        joined, notes = read(reader)
        assert len(joined) == 3 * len(samples)
        assert joined[len(samples) : 2 * len(samples)] == pytest.approx(samples, abs=1e-3)
        assert notes == []


@pytest.mark.parametrize("kind", ["aiff", "au", "w64"])
def test_what_follows_and_is_not_read_is_said(kind: str, tmp_path: Path) -> None:
    (tmp_path / "joined").write_bytes(2 * encoded(kind))
    if kind == "aiff" and not ffmpeg.is_installed():
        with pytest.raises(AudioFileError, match="is not audio that can be read"):
            open_audio(tmp_path / "joined")
    else:
        assert reasons(read(open_audio(tmp_path / "joined"))[1]) == {"partial"}
    assert reasons(read(open_stream(piped(2 * encoded(kind)), "-"))[1]) == {"partial"}


@pytest.mark.parametrize("kind", ["ogg", "mp3"])
def test_what_stands_between_and_behind_joined_recordings_of_a_pipe(kind: str) -> None:
    one = encoded(kind)
    alone = len(read(open_stream(piped(one), "-"))[0])
    tagged = b"ID3\4\0\0\0\0\1\0" + bytes(128) + one + b"TAG" + bytes(125) if kind == "mp3" else one
    short = encoded(kind, STEREO[: len(STEREO) // 2])
    joined, notes = read(open_stream(piped(tagged + short + tagged), "-"))
    assert notes == []
    assert len(joined) == 2 * alone + len(read(open_stream(piped(short), "-"))[0])
    _, notes = read(open_stream(piped(one + encoded(kind, STEREO[:, :1]) + one), "-"))
    assert notes == [Note("partial", "another recording follows at 1.5 s, in another format")]
    if kind == "ogg":
        cut, notes = read(open_stream(piped(one + one[: len(one) // 2]), "-"))
        assert alone < len(cut) < 2 * alone
        assert notes == [Note("partial", "breaks off: the mark of its end is missing")]
    joined, notes = read(open_stream(piped(one + encoded("aiff")), "-"))
    assert alone <= len(joined)
    assert reasons(notes) == {"partial"}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no list of open files")
def test_a_chain_of_recordings_leaves_nothing_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    samples, _ = read(open_stream(piped(30 * encoded("ogg", STEREO[:2_000])), "-"))
    assert len(samples) == 30 * 2_000
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_recording_in_another_format_ends_the_file_with_a_note(tmp_path: Path) -> None:
    mono = io.BytesIO()
    soundfile.write(mono, STEREO[:, 0], RATE_HZ, format="WAV")
    (tmp_path / "a.wav").write_bytes(encoded("wav") + mono.getvalue())
    samples, notes = read(open_audio(tmp_path / "a.wav"))
    assert len(samples) == len(STEREO)
    assert notes == [Note("partial", "another recording follows at 1.5 s, in another format")]


@pytest.mark.parametrize("kind", FORMATS)
def test_what_breaks_off_is_read_and_said(kind: str, tmp_path: Path) -> None:
    data = encoded(kind)
    cut = data[: len(data) * 2 // 3]
    (tmp_path / "cut").write_bytes(cut)
    for reader in (open_audio(tmp_path / "cut"), open_stream(piped(cut), "-")):
        samples, notes = read(reader)
        assert len(STEREO) // 3 < len(samples) < len(STEREO)
        assert reasons(notes) == {"partial"}
        assert "breaks off" in notes[0].message


def test_flac_of_unknown_length_is_read(tmp_path: Path) -> None:
    data = bytearray(encoded("flac"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(data)
    (tmp_path / "joined.flac").write_bytes(2 * data)
    assert len(read(open_audio(tmp_path / "a.flac"))[0]) == len(STEREO)
    assert len(read(open_stream(piped(bytes(data)), "-"))[0]) == len(STEREO)
    assert len(read(open_audio(tmp_path / "joined.flac"))[0]) == 2 * len(STEREO)
    assert len(read_recording(tmp_path / "a.flac")[0]) > SAMPLE_RATE_HZ


@given(st.binary(min_size=2, max_size=400))
def test_raw_pcm_may_begin_with_anything_that_is_no_header(first: bytes) -> None:
    data = first + to_pcm(speech_like(0.5))
    data = data[: len(data) // 2 * 2]
    assume(recognised(Tape(io.BytesIO(data), "-")) is None)
    samples, notes = read(open_stream(io.BytesIO(data), "-", 16_000))
    assert np.array_equal(samples[:, 0], np.frombuffer(data, "<i2").astype(np.float32) / 32768)
    assert notes == []


@pytest.mark.parametrize(
    "first", [b"RIFF", b"ID3", b"\xff\xfb\x90\x64", b"FORM", b".snd", b"\xff\xf1\x50\x80", b"OGGS"]
)
def test_half_a_magic_number_is_no_header(first: bytes) -> None:
    data = first + bytes(len(first) % 2) + to_pcm(speech_like(1.0))
    samples, _ = read(open_stream(io.BytesIO(data), "-", 16_000))
    assert len(samples) == len(data) // 2


@pytest.mark.parametrize("kind", ["<f4", "<f8"])
@pytest.mark.parametrize("level", [1.0, 0.01])
def test_raw_floating_point_samples_are_refused(kind: str, level: float) -> None:
    samples = np.concatenate([np.zeros(9_600), level * speech_like(1.0)]).astype(kind)
    with pytest.raises(AudioFileError, match=f"these are {8 * int(kind[-1])}-bit floating-point samples"):
        read(open_stream(io.BytesIO(samples.tobytes()), "-", 16_000))


@pytest.mark.parametrize("data", [b"", b"\0", encoded("wav", STEREO[:0])])
def test_nothing_is_an_error(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(AudioFileError, match=r"nothing arrives|holds no audio"):
        read(open_stream(io.BytesIO(data), "-", 16_000))


def test_headerless_audio_needs_a_rate() -> None:
    with pytest.raises(AudioFileError, match="pipe: is headerless audio, whose rate and sample type are unknown"):
        open_stream(io.BytesIO(bytes(3_200)), "pipe")


class Hurdles(io.RawIOBase):
    """A stream that has nothing now and then, and fails in the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._turn = io.BytesIO(data), 0

    def read(self, size: int = -1) -> bytes | None:
        self._turn += 1
        if self._turn % 3 == 0:
            return None
        if not (data := self._data.read(min(size, 1_001))):
            raise OSError(5, "Input/output error")
        return data


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
def test_a_pipe_that_fails_is_an_error_at_that_place(kind: str) -> None:
    reader = open_stream(Hurdles(encoded(kind)[:30_000]), "-")
    with pytest.raises(AudioFileError, match="-: cannot be read: Input/output error"):
        read(reader)


def test_a_named_pipe_is_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        pipe.write_bytes(encoded("wav"))

    for _ in range(2):
        threading.Thread(target=write, daemon=True).start()
        assert len(read(open_audio(pipe))[0]) == len(STEREO)


@given(
    st.sampled_from(sorted(FORMATS)),
    st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), max_size=4),
    st.integers(1, 4_000),
)
def test_any_damage_to_a_stream_is_read_or_refused(kind: str, damage: list[tuple[int, int]], length: int) -> None:
    data = bytearray(encoded(kind, STEREO[:1_000]))
    for place, value in damage:
        data[place] = value
    try:
        samples, _ = read(open_stream(piped(bytes(data[:length])), "-", 16_000))
    except AudioFileError as error:
        text = str(error)
        assert text.startswith("-: ")
    else:
        assert np.isfinite(samples).all()


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    """A recording as telephones make it."""
    soundfile.write(tmp_path / "memo.wav", STEREO, RATE_HZ)
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "memo.wav", "-c:a", "aac", tmp_path / "-memo: 1.m4a"]
    subprocess.run(command, check=True)
    return tmp_path / "-memo: 1.m4a"


@needs_ffmpeg
def test_ffmpeg_decodes_what_libsndfile_does_not(phone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(phone.parent)
    samples, notes = read(open_audio(Path(phone.name)))
    assert len(samples) == pytest.approx(len(STEREO), abs=2_048)
    assert samples[2_000:20_000] == pytest.approx(STEREO[2_000:20_000], abs=0.1)
    assert notes == []
    with phone.open("rb", buffering=0) as redirected:
        assert len(read(open_stream(redirected, "-", 16_000))[0]) == len(samples)
    phone.write_bytes(2 * phone.read_bytes())
    assert reasons(read(open_audio(phone))[1]) == {"partial"}


@needs_ffmpeg
def test_what_ffmpeg_says_is_passed_on(phone: Path) -> None:
    whole = phone.read_bytes()
    phone.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AudioFileError, match="cannot be decoded by ffmpeg: "):
        read(open_audio(phone))
    with pytest.raises(AudioFileError, match="it may need the file itself, not a pipe"):
        read(open_stream(piped(phone.read_bytes()), "-"))


def fake_ffmpeg(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "bin").mkdir()
    program = folder / "bin" / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")


def test_an_ffmpeg_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ffmpeg(tmp_path, "exec sleep 60", monkeypatch)
    monkeypatch.setattr(ffmpeg, "STALLS_S", 0.2)
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x18ftypM4A " + bytes(100))
    with pytest.raises(AudioFileError, match="ffmpeg has been silent for"):
        read(open_audio(tmp_path / "a.m4a"))


def test_ffmpeg_gets_no_network_no_shell_and_no_option_for_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_ffmpeg(tmp_path, f'for word; do echo "$word"; done > "{tmp_path}/called"', monkeypatch)
    monkeypatch.chdir(tmp_path)
    name = "-i $(touch x);http:a.m4a"
    Path(name).write_bytes(b"\0\0\0\x18ftypM4A " + bytes(100))
    with pytest.raises(AudioFileError, match="cannot be decoded by ffmpeg"):
        read(open_audio(Path(name)))
    words = (tmp_path / "called").read_text().split("\n")
    assert words[words.index("-i") + 1] == f"file:{name}"
    assert words[words.index("-protocol_whitelist") + 1] == "file,pipe"
    assert not (tmp_path / "x").exists()


def test_without_ffmpeg_it_is_said_what_to_install_and_how_to_convert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "voice memo.m4a"
    path.write_bytes(b"\0\0\0\x18ftypM4A " + bytes(100))
    with pytest.raises(AudioFileError) as caught:
        open_audio(path)
    assert str(caught.value) == (
        f"{path}: is MPEG-4, which needs ffmpeg: apt install ffmpeg; or convert it: "
        f"ffmpeg -i '{path}' '{path.with_suffix('.flac')}'"
    )
    for head in (b"\0\0\0\x18ftypM4A ", b"\x1aE\xdf\xa3", b"#!AMR\n", b"caff\0\1"):
        with pytest.raises(AudioFileError, match=r"convert it: … \| ffmpeg -i - -f s16le -ac 1 -ar 16000 -"):
            open_stream(io.BytesIO(head + bytes(100)), "-", 16_000)
    assert ffmpeg.conversion(Path("-a.webm")) == "ffmpeg -i ./-a.webm ./-a.flac"
