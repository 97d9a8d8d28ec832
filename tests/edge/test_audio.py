import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from edge.audio import SAMPLE_RATE_HZ, read_audio, read_recording
from edge.decoding import AUDIO_EXTENSIONS, Note, open_audio
from edge.errors import AudioFileError

TONE_HZ = 440


def tone(rate_hz: int, duration_s: float = 0.5) -> npt.NDArray[np.float32]:
    time_s = np.arange(round(rate_hz * duration_s)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * TONE_HZ * time_s)).astype(np.float32)


def refused(path: Path, rule: str) -> None:
    with pytest.raises(AudioFileError, match=rule) as caught:
        read_audio(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 24_414, 44_100, 48_000, 96_000, 192_000])
def test_every_rate_becomes_16_khz_with_the_same_tone(tmp_path: Path, rate_hz: int) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(rate_hz), rate_hz)
    waveform = read_audio(tmp_path / "tone.wav")
    assert waveform.dtype == np.float32
    assert len(waveform) == pytest.approx(SAMPLE_RATE_HZ / 2, abs=1)
    middle = slice(400, 7600)
    assert np.abs(waveform[middle] - tone(SAMPLE_RATE_HZ)[middle]).max() < 2e-3


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_every_sample_type_is_scaled_to_one(tmp_path: Path, subtype: str) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(16_000), 16_000, subtype=subtype)
    assert np.abs(read_audio(tmp_path / "tone.wav") - tone(16_000)).max() < 0.02


WRITTEN_AS = {
    ".opus": ("OGG", "OPUS"),
    ".oga": ("OGG", "VORBIS"),
    ".wave": ("WAV", "PCM_16"),
    ".bwf": ("WAV", "PCM_24"),
    ".mp2": ("MP3", "MPEG_LAYER_III"),
    ".aif": ("AIFF", "PCM_16"),
    ".aifc": ("AIFF", "ULAW"),
    ".snd": ("AU", "PCM_16"),
    ".sph": ("NIST", "PCM_16"),
    ".nist": ("NIST", "PCM_16"),
    ".sf": ("IRCAM", "PCM_16"),
    ".iff": ("SVX", "PCM_16"),
    ".svx": ("SVX", "PCM_16"),
    ".8svx": ("SVX", "PCM_S8"),
}


@pytest.mark.parametrize("extension", sorted(AUDIO_EXTENSIONS))
def test_every_extension_is_read(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"tone{extension}"
    format, subtype = WRITTEN_AS.get(extension, (extension[1:].upper(), None))
    soundfile.write(path, tone(16_000), 16_000, format=format, subtype=subtype)
    waveform = read_audio(path)
    assert len(waveform) >= 8_000
    assert np.abs(waveform).max() == pytest.approx(0.5, abs=0.1)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = np.full(1600, 0.5, np.float32), np.full(1600, -0.1, np.float32)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    assert read_audio(tmp_path / "stereo.wav") == pytest.approx(np.full(1600, 0.2))


def test_files_longer_than_a_block_are_whole(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, 150_000).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", noise, 16_000, subtype="FLOAT")
    assert np.array_equal(read_audio(tmp_path / "long.wav"), noise)


def test_a_name_that_is_no_text_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    odd = (tmp_path / "tone.wav").rename(tmp_path / os.fsdecode(b"\xff.wav"))
    assert len(read_audio(odd)) == SAMPLE_RATE_HZ / 2


def test_silence_is_audio(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(800, np.int16), 16_000)
    assert np.array_equal(read_audio(tmp_path / "silence.wav"), np.zeros(800))


def test_slightly_beyond_full_scale_is_audio(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", np.full(800, 1.2, np.float32), 16_000, subtype="FLOAT")
    assert read_audio(tmp_path / "loud.wav").max() == pytest.approx(1.2)


@pytest.mark.parametrize("level", [3e38, -32_768.0, 100.0])
def test_samples_that_were_never_scaled_are_refused(tmp_path: Path, level: float) -> None:
    soundfile.write(tmp_path / "bad.wav", level * np.sin(np.arange(800)), 16_000, subtype="DOUBLE")
    refused(tmp_path / "bad.wav", r"holds samples up to .*; floating-point audio must be scaled to ±1")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_all_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    soundfile.write(tmp_path / "bad.wav", np.full(800, value), 16_000, subtype="DOUBLE")
    refused(tmp_path / "bad.wav", "holds nothing but NaN or infinite samples")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "is a folder")
    refused(tmp_path / "absent.wav", "no such file")
    refused(tmp_path / ("a" * 300), "no such file")
    refused(Path("nul\0.wav"), "no such file")


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("zero.wav", b"", r"is empty \(0 bytes\)"),
        ("text.wav", b"this is not audio" * 100, "is not audio that can be read"),
        ("headless.raw", b"\0\0" * 800, "is headerless audio"),
        ("header.wav", b"RIFF\x24\0\0\0WAVEfmt ", "is not audio that can be read"),
    ],
)
def test_what_is_no_audio_is_refused(tmp_path: Path, name: str, content: bytes, rule: str) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, rule)


def test_a_header_without_samples_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    refused(tmp_path / "empty.wav", "holds no audio")
    soundfile.write(tmp_path / "one.wav", np.zeros(1), 48_000)
    refused(tmp_path / "one.wav", "holds no audio")


@pytest.mark.parametrize("rate_hz", [1, 7_999, 192_001, 2**31 - 1])
def test_rates_outside_the_range_are_refused(tmp_path: Path, rate_hz: int) -> None:
    soundfile.write(tmp_path / "odd.wav", np.zeros(800), rate_hz)
    refused(tmp_path / "odd.wav", f"is at {rate_hz} Hz; from 8000 to 192000 Hz can be read")


def test_a_truncated_wav_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    soundfile.write(path, tone(16_000), 16_000)
    path.write_bytes(path.read_bytes()[:8_044])
    assert np.abs(read_audio(path) - tone(16_000)[:4_000]).max() < 1e-4


def test_a_flac_that_promises_terabytes_is_read_without_allocating_them(tmp_path: Path) -> None:
    path = tmp_path / "lie.flac"
    soundfile.write(path, tone(16_000), 16_000)
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    path.write_bytes(content)
    waveform, (note,) = read_recording(path)
    assert len(waveform) == 8_000
    assert note == Note("partial", "breaks off at 0.5 s of 4294967.3 s")


def test_blocks_end(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(44_100, 0.1), 44_100, subtype="FLOAT")
    with open_audio(path) as reader:
        assert [block.shape for block in reader.blocks(2_000)] == [(2_000, 1), (2_000, 1), (410, 1)]
        assert reader.read(2_000) is None


def reads_or_refuses(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        waveform = read_audio(path)
    except AudioFileError as error:
        reason = str(error)
        assert reason.startswith(f"{path}: ")
    else:
        assert waveform.dtype == np.float32
        assert len(waveform)
        assert np.isfinite(waveform).all()


@given(st.binary(max_size=200), st.sampled_from([*sorted(AUDIO_EXTENSIONS - {".mp3"}), ".raw", ""]))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, extension: str
) -> None:
    reads_or_refuses(tmp_path_factory.getbasetemp() / f"fuzz{extension}", content)


@given(
    st.sampled_from(["WAV", "FLAC", "AIFF", "AU", "CAF", "W64", "OGG"]),
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 255)), max_size=4),
    st.integers(0, 2_000),
)
def test_any_damage_to_a_header_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, format: str, damage: list[tuple[int, int]], length: int
) -> None:
    path = tmp_path_factory.getbasetemp() / f"damaged.{format.lower()}"
    soundfile.write(path, tone(16_000, 0.05), 16_000, format=format)
    content = bytearray(path.read_bytes())
    for position, value in damage:
        content[position] = value
    reads_or_refuses(path, bytes(content[:length]))
