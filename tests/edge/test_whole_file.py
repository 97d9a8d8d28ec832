import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge import whole_file
from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.capture import Block, FileSource
from edge.errors import AudioFileError
from edge.recognizer import Encoding
from edge.spoken import spoken
from edge.whole_file import WholeFile, joined, read_whole
from helpers.signals import silence, speech_like

ROOT = Path(__file__).resolve().parents[2]
PEAK = """
import sys
from edge.cli.app import main
try:
    main()
finally:
    print(*[line for line in open("/proc/self/status") if line.startswith("VmHWM")], file=sys.stderr)
"""


def encode(samples: Waveform) -> Encoding:
    """Encode as a mean, so that stretches can be compared with the whole."""
    values = np.array([samples.mean(), np.abs(samples).mean()], np.float32)
    return Encoding(values, None, len(samples) / SAMPLE_RATE_HZ, 1.0, 1.0, 0.0, "CPU")


def blocks(samples: Waveform, length: int = 1_000) -> Iterator[Block]:
    return (Block(samples[start : start + length], 0.0) for start in range(0, len(samples), length))


def whole(samples: Waveform, length: int = 1_000) -> WholeFile:
    return read_whole(blocks(samples, length), encode, "x")


@pytest.fixture
def talk() -> Waveform:
    parts = [part for seed in range(12) for part in (speech_like(2.0, seed), silence(0.9, seed=seed))]
    return np.concatenate([silence(1.0), *parts])


@pytest.mark.parametrize("length", [160, 1_000, 1_000_000])
def test_a_short_recording_is_what_is_spoken_in_it(talk: Waveform, length: int) -> None:
    found = whole(talk, length)
    np.testing.assert_array_equal(found.samples, spoken(talk))
    assert (found.earlier, found.has_voice, found.duration_s) == ((), True, len(talk) / SAMPLE_RATE_HZ)


@pytest.mark.parametrize("level_dbfs", [-120.0, -70.0, -40.0])
def test_all_of_it_counts_where_nobody_speaks(level_dbfs: float) -> None:
    quiet = silence(3.0, level_dbfs)
    found = whole(quiet)
    np.testing.assert_array_equal(found.samples, spoken(quiet))
    assert not found.has_voice


@pytest.mark.parametrize("quiet", [True, False])
def test_a_long_recording_comes_to_the_same_in_stretches(
    quiet: bool, talk: Waveform, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = silence(30.0, -50.0) + np.float32(0.01) if quiet else talk
    at_once = encode(spoken(samples))
    monkeypatch.setattr(whole_file, "STRETCH_S", 5.0)
    found = whole(samples)
    stretches = [*found.earlier, encode(found.samples)]
    assert len(stretches) > 3
    assert max(stretch.duration_s for stretch in stretches) <= 5.0
    together = joined(stretches)
    assert together.duration_s == pytest.approx(at_once.duration_s)
    np.testing.assert_allclose(together.embedding, at_once.embedding, atol=1e-4)


def test_a_long_silence_before_the_first_word_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_file, "STRETCH_S", 5.0)
    samples = np.concatenate([silence(20.0), speech_like(2.0), silence(1.0)])
    found = whole(samples)
    assert (found.earlier, found.has_voice) == ((), True)
    np.testing.assert_array_equal(found.samples, spoken(samples))


def test_voiceprints_of_stretches_are_joined_to_one_of_unit_length() -> None:
    first, second = (
        Encoding(np.ones(2, np.float32), np.float32(print_), duration_s, 1.0, 1.0, 2.0, "CPU")
        for print_, duration_s in (([1, 0], 30.0), ([0, 1], 10.0))
    )
    together = joined([first, second])
    np.testing.assert_allclose(together.voiceprint, np.array([3, 1]) / np.sqrt(10), rtol=1e-6)
    assert (together.encoder_ms, together.speaker_ms) == (2.0, 4.0)
    assert joined([first]) is first


@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (44_100, 2), (48_000, 1)])
def test_a_file_is_read_as_a_whole_is(rate_hz: int, channels: int, talk: Waveform, tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    samples = np.interp(np.arange(0, len(talk), SAMPLE_RATE_HZ / rate_hz), np.arange(len(talk)), talk)
    soundfile.write(path, np.repeat(samples[:, None], channels, 1), rate_hz)
    found = read_whole(FileSource(path).blocks(), encode, str(path))
    expected = spoken(read_audio(path))
    assert len(found.samples) == pytest.approx(len(expected), abs=SAMPLE_RATE_HZ / 10)
    np.testing.assert_allclose(found.samples[:8_000], expected[:8_000], atol=1e-3)


def test_what_comes_before_damage_counts() -> None:
    def damaged(samples: Waveform) -> Iterator[Block]:
        yield from blocks(samples)
        raise AudioFileError("x: is damaged")

    found = read_whole(damaged(speech_like(2.0)), encode, "x")
    assert found.has_voice
    assert [(note.reason, note.message) for note in found.notes] == [("partial", "is damaged")]
    with pytest.raises(AudioFileError, match="x: is damaged"):
        read_whole(damaged(np.zeros(0, np.float32)), encode, "x")
    with pytest.raises(AudioFileError, match="x: holds no audio"):
        read_whole([], encode, "x")


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--whole-file",)])
def test_memory_does_not_grow_with_the_length(options: tuple[str, ...], bundle_folder: Path, tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc")
    minute = np.concatenate([part for seed in range(4) for part in (speech_like(11.0, seed), silence(4.0))])
    peaks_mb = []
    for minutes in (1, 11):
        path = tmp_path / f"{minutes}.wav"
        soundfile.write(path, np.tile(minute, minutes), SAMPLE_RATE_HZ)
        command = [sys.executable, "-c", PEAK, "analyze", str(path), "--bundle", str(bundle_folder), *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        peaks_mb.append(int(re.findall(r"VmHWM:\s+(\d+) kB", done.stderr)[0]) / 1024)
    # 10 minutes more are 38 MB of samples.
    assert peaks_mb[1] < peaks_mb[0] + 30
