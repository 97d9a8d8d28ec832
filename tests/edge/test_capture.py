import io
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from edge.audio import SAMPLE_RATE_HZ, Waveform, mono, read_audio
from edge.capture import (
    BLOCK_S,
    Block,
    FileSource,
    LiveSource,
    PcmSource,
    PersistentSource,
    Source,
    device_of,
    open_source,
    open_sources,
)
from edge.capture.base import BlockQueue, Rest
from edge.decoding.raw import from_pcm
from edge.errors import AudioFileError
from edge.settings import CaptureSettings, Settings, SourceSettings
from edge.vad import to_pcm
from helpers.signals import speech_like


def heard(source: Source) -> Waveform:
    return np.concatenate([block.samples for block in source.blocks()])


def heard_or_nothing(source: Source) -> Waveform:
    return np.concatenate([np.zeros(0, np.float32), *(block.samples for block in source.blocks())])


def write(path: Path, samples: Waveform, rate_hz: int = SAMPLE_RATE_HZ, subtype: str = "FLOAT") -> Path:
    soundfile.write(path, samples, rate_hz, subtype)
    return path


class Scripted:
    """A source that yields what it is given, then raises if it is given an error."""

    name = "scripted"
    can_wait = True

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.count, self.error, self.closed = count, error, False

    def blocks(self) -> Iterator[Block]:
        for index in range(self.count):
            yield Block(np.full(800, index, np.float32), time.monotonic())
        if self.error:
            raise self.error

    def close(self) -> None:
        self.closed = True


class Trickle(io.RawIOBase):
    """A pipe that returns one to seven bytes a read, so samples arrive torn in two."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)
        self._turn = 0

    def read(self, size: int = -1) -> bytes:
        self._turn += 1
        return self._data.read(min(size, 1 + self._turn % 7))


def test_file_arrives_in_short_blocks(tmp_path: Path) -> None:
    samples = speech_like(2)
    source = FileSource(write(tmp_path / "a.wav", samples))
    blocks = list(source.blocks())
    assert source.name == "a.wav"
    assert max(len(block.samples) for block in blocks) <= 0.1 * SAMPLE_RATE_HZ
    assert np.array_equal(np.concatenate([block.samples for block in blocks]), samples)
    assert all(block.lost_s == 0 and not block.restarted for block in blocks)


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_file_is_resampled_as_one_stream(tmp_path: Path, rate_hz: int) -> None:
    time_s = np.arange(2 * rate_hz) / rate_hz
    stereo = np.stack([np.sin(2 * np.pi * 440 * time_s), np.zeros(len(time_s))], axis=1).astype(np.float32)
    path = write(tmp_path / "a.wav", stereo, rate_hz)
    streamed, whole = heard(FileSource(path)), read_audio(path)
    assert len(streamed) == len(whole)
    assert np.abs(streamed - whole).max() < 1e-3


@pytest.mark.slow
def test_a_long_file_is_not_held_in_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "long.wav", np.zeros(300 * 48_000, np.int16), 48_000, "PCM_16")
    tracemalloc.start()
    try:
        assert sum(len(block.samples) for block in FileSource(path).blocks()) == 300 * SAMPLE_RATE_HZ
        # cffi holds up to 2 MB of its own, however long the file.
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size / 10
    finally:
        tracemalloc.stop()


def test_realtime_file_is_never_ahead_of_the_clock(tmp_path: Path) -> None:
    source = FileSource(write(tmp_path / "a.wav", speech_like(0.5)), realtime=True)
    started_at_s = time.monotonic()
    times_s = np.array([block.captured_at_s for block in source.blocks() if len(block.samples)])
    heard_s = np.minimum(BLOCK_S * np.arange(1, len(times_s) + 1), 0.5)
    assert heard_s[-1] == 0.5
    assert (times_s - started_at_s >= heard_s - 0.001).all()


def test_channels_come_along_as_they_arrived(tmp_path: Path) -> None:
    left, right = speech_like(1, 0), speech_like(1, 1)
    written = np.repeat(np.stack([left, right], axis=1), 3, axis=0)
    path = tmp_path / "a.wav"
    soundfile.write(path, written, 48_000, subtype="FLOAT")
    blocks = list(FileSource(path).blocks())
    assert {block.rate_hz for block in blocks} == {48_000}
    assert np.array_equal(np.concatenate([block.arrived for block in blocks if block.arrived is not None]), written)
    pcm = list(PcmSource(io.BytesIO(to_pcm(left)), 8_000).blocks())
    arrived = np.concatenate([block.arrived for block in pcm if block.arrived is not None])
    assert {block.rate_hz for block in pcm} == {8_000}
    assert np.allclose(arrived[:, 0], left, atol=1e-4)


def test_closing_wakes_a_realtime_file(tmp_path: Path) -> None:
    source = FileSource(write(tmp_path / "a.wav", speech_like(60)), realtime=True)
    threading.Timer(0.2, source.close).start()
    assert len(heard(source)) < 30 * SAMPLE_RATE_HZ


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e9])
def test_a_sample_that_is_no_sound_is_repaired_with_a_note(tmp_path: Path, bad: float) -> None:
    samples = speech_like(1)
    broken = samples.copy()
    broken[12_345] = bad
    blocks = list(FileSource(write(tmp_path / "a.wav", broken)).blocks())
    assert np.concatenate([block.samples for block in blocks]) == pytest.approx(samples, abs=0.1)
    (note,) = [note for block in blocks for note in block.notes]
    assert note.reason == "repaired"
    assert "the first at 0.77 s" in note.message


def test_unreadable_files_fail_when_opened_not_when_constructed(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("this is no audio")
    for source in (FileSource(tmp_path / "missing.wav"), FileSource(tmp_path / "text.wav")):
        with pytest.raises(AudioFileError, match=source.name):
            heard(source)
    with pytest.raises(AudioFileError, match="holds no audio"):
        heard(FileSource(write(tmp_path / "nothing.wav", np.zeros(0, np.float32))))


@pytest.mark.parametrize("rest", [b"", b"\x7f"], ids=["even", "odd"])
def test_pcm_survives_partial_reads_and_an_odd_trailing_byte(rest: bytes) -> None:
    pcm = np.arange(-3000, 3000, dtype="<i2")
    samples = heard(PcmSource(Trickle(pcm.tobytes() + rest), SAMPLE_RATE_HZ))  # type: ignore[arg-type]
    assert np.array_equal(samples, pcm.astype(np.float32) / 32768)


def test_pcm_is_resampled() -> None:
    assert len(heard(PcmSource(io.BytesIO(bytes(2 * 44_100)), 44_100))) == SAMPLE_RATE_HZ


@pytest.mark.parametrize("data", [b"", b"\x7f"])
def test_a_producer_that_sends_nothing_has_failed(data: bytes) -> None:
    with pytest.raises(AudioFileError, match="nothing arrives: did the program that writes into the pipe fail"):
        heard(PcmSource(io.BytesIO(data), SAMPLE_RATE_HZ))
    stopped = PcmSource(io.BytesIO(data), SAMPLE_RATE_HZ)
    stopped.close()
    assert len(heard_or_nothing(stopped)) == 0


def test_channels_are_averaged() -> None:
    assert mono(from_pcm(np.array([16384, 0, -32768, -32768], "<i2").tobytes(), 2)).tolist() == [0.25, -1.0]


def test_queue_overwrites_the_oldest_and_counts_it() -> None:
    queue: BlockQueue[int] = BlockQueue(1.0)
    for item in range(30):
        queue.put(item, 0.1)
    assert queue.get() == (20, pytest.approx(2.0))
    assert queue.get() == (21, 0.0)
    queue.put(30, 5.0)
    assert queue.get() == (30, pytest.approx(0.8))


def test_queue_delivers_what_waits_before_it_ends_or_fails() -> None:
    queue: BlockQueue[str] = BlockQueue(1.0)
    queue.put("a", 0.1)
    queue.close(AudioFileError("torn"))
    queue.close()
    queue.put("ignored", 0.1)
    assert queue.get() == ("a", 0.0)
    for _ in range(2):
        with pytest.raises(AudioFileError, match="torn"):
            queue.get()


def test_queue_times_out_and_wakes_on_close() -> None:
    queue: BlockQueue[str] = BlockQueue(1.0)
    with pytest.raises(TimeoutError):
        queue.get(0.01)
    threading.Timer(0.05, queue.close).start()
    assert queue.get(10) is None


def test_who_rests_is_woken_for_several_blocks_at_once_and_gets_all_of_them() -> None:
    rest = Rest()
    queue: BlockQueue[int] = BlockQueue(10.0, rest)
    rest.s = 0.1
    got: list[int] = []

    def take() -> None:
        while (item := queue.get()) is not None:
            got.append(item[0])

    thread = threading.Thread(target=take)
    thread.start()
    for number in range(3):
        queue.put(number, 0.03)
    time.sleep(0.1)
    assert got == [], "it waits for a tenth of a second of audio"
    queue.put(3, 0.03)
    deadline_s = time.monotonic() + 10
    while len(got) < 4:
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
    queue.put(4, 0.03)
    queue.close()
    thread.join(10)
    assert got == [0, 1, 2, 3, 4]


def test_who_rests_notices_a_device_that_stops_as_soon_as_who_does_not() -> None:
    rest = Rest()
    rest.s = 0.1
    queue: BlockQueue[int] = BlockQueue(10.0, rest)
    queue.put(1, 0.03)
    assert queue.get(0.1) == (1, 0.0)
    threading.Timer(0.02, queue.put, (2, 0.03)).start()
    assert queue.get(0.1) == (2, 0.0), "what there is"
    with pytest.raises(TimeoutError):
        queue.get(1_000)
    queue.put(3, 0.03)
    assert queue.get(1_000) == (3, 0.0), "and it goes on"


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from([0.0, 0.06, 0.12, 5.0])), min_size=1, max_size=12))
def test_resting_loses_and_changes_nothing(steps: list[tuple[int, float]]) -> None:
    rest = Rest()
    queue: BlockQueue[int] = BlockQueue(3.0, rest)
    put = taken = 0
    for count, rest_s in steps:
        rest.s = rest_s
        for _ in range(count):
            queue.put(put, 0.03)
            put += 1
        for _ in range(count):
            assert queue.get(0) == (taken, 0.0)
            taken += 1
    queue.close()
    assert queue.get() is None


def test_live_source_never_waits_and_counts_what_a_slow_consumer_misses() -> None:
    source = LiveSource(Scripted(100), max_s=1.0)
    blocks = source.blocks()
    delivered = [next(blocks)]
    while any(thread.name == "capture scripted" for thread in threading.enumerate()):
        time.sleep(0.01)
    delivered += blocks
    lost_s = sum(block.lost_s for block in delivered)
    assert lost_s > 3
    assert lost_s + 0.05 * len(delivered) == pytest.approx(5.0)
    assert delivered[-1].samples[0] == 99


def test_live_source_passes_errors_on_and_closes_what_it_reads() -> None:
    scripted = Scripted(2, AudioFileError("torn"))
    source = LiveSource(scripted, max_s=1.0)
    with pytest.raises(AudioFileError, match="torn"):
        list(source.blocks())
    source.close()
    assert scripted.closed


def test_a_file_that_is_not_live_loses_nothing(tmp_path: Path) -> None:
    samples = speech_like(2)
    path = write(tmp_path / "a.wav", samples)
    source = open_source(CaptureSettings(source=str(path), realtime=False, queue_s=0.1))
    delivered = []
    for block in source.blocks():
        delivered.append(block.samples)
        time.sleep(0.005)
    assert np.array_equal(np.concatenate(delivered), samples)


@pytest.mark.parametrize("source", ["a.wav", "-"])
def test_only_what_is_read_as_fast_as_possible_can_wait(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pcm").touch()
    monkeypatch.setattr(sys, "stdin", (tmp_path / "pcm").open())
    assert open_source(CaptureSettings(source=source, realtime=False)).can_wait
    assert not open_source(CaptureSettings(source=source, realtime=True)).can_wait
    assert not open_source(CaptureSettings(source="mic", realtime=False)).can_wait
    assert not FileSource(Path("a.wav"), realtime=True).can_wait
    assert not PcmSource(io.BytesIO(), SAMPLE_RATE_HZ, realtime=True).can_wait


def test_open_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pcm = tmp_path / "pcm"
    pcm.write_bytes(bytes(3200))
    monkeypatch.setattr(sys, "stdin", pcm.open())
    assert isinstance(device_of(open_source(CaptureSettings())), PersistentSource)
    assert isinstance(open_source(CaptureSettings(source="a.wav")), LiveSource)
    assert isinstance(open_source(CaptureSettings(source="a.wav", realtime=False)), FileSource)
    assert isinstance(open_source(CaptureSettings(source="-", realtime=False)), PcmSource)
    live = open_source(CaptureSettings(source="-"))
    assert isinstance(live, LiveSource)
    assert len(heard(live)) == 1600


def test_a_recording_piped_in_at_real_time_loses_nothing() -> None:
    samples = 2 * SAMPLE_RATE_HZ
    stream = io.BytesIO(np.zeros(samples, "<i2").tobytes())
    live = LiveSource(PcmSource(stream, SAMPLE_RATE_HZ, realtime=True), max_s=1.0)
    blocks = list(live.blocks())
    assert sum(len(block.samples) for block in blocks) == samples
    assert not any(block.lost_s for block in blocks)


def test_sources_have_the_names_that_the_settings_give_them(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(1_600, np.float32), 16_000)
    named = SourceSettings(name="hall", source=str(path), realtime=False)
    hall, own = open_sources(Settings(sources=(named, SourceSettings(source=str(path)))))
    assert (hall.name, hall.can_wait, own.name, own.can_wait) == ("hall", True, "a.wav", False)
    assert sum(len(block.samples) for block in hall.blocks()) == 1_600
    assert hall.name == "hall"
    hall.close()
    (only,) = open_sources(Settings(capture=CaptureSettings(source="b.wav")))
    assert only.name == "b.wav"
