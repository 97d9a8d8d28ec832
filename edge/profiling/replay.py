"""Recordings through the real pipeline on a real clock."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.bundle import Bundle
from edge.capture import open_source
from edge.decoding import AUDIO_EXTENSIONS, open_audio
from edge.doctor import self_test_waveform
from edge.engine import Engine
from edge.errors import AudioFileError, UsageError
from edge.outputs import JsonLines
from edge.profiling.measurements import Progress
from edge.recognizer import Recognizer
from edge.recordings import find_audio
from edge.settings import Settings
from edge.timing import Timing

EXAMPLES = Path("examples")
BUILT_IN_S = (0.7, 1.2, 1.8, 2.4, 3.2)
"""Utterances of the built-in signal."""
PAUSE_S = 0.9


@contextmanager
def recordings(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Give the files to replay: those at ``paths``, or those in ``examples/``, or a built-in signal.

    Raises:
        UsageError: there is no audio at ``paths``, or a pipe.
        AudioFileError: a file cannot be read; better now than after minutes.
    """
    own = sorted(file for file in EXAMPLES.glob("*") if file.suffix in AUDIO_EXTENSIONS)
    if paths or own:
        files = find_audio(paths) if paths else own
        for file in files:
            if os.path.exists(file) and file.is_fifo():
                raise UsageError(f"{file}: is a pipe, which cannot be played twice")
            open_audio(file).close()
        yield files
        return
    with tempfile.TemporaryDirectory(prefix="affectd-profile-") as folder:
        file = Path(folder, "built-in signal.wav")
        soundfile.write(file, built_in_signal(), SAMPLE_RATE_HZ)
        yield [file]


def built_in_signal(utterances_s: Sequence[float] = BUILT_IN_S) -> Waveform:
    """Return ``float32[samples]`` (16 kHz) of voice-like utterances in a quiet room."""
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE_HZ), np.float32)
    signal = np.concatenate(
        [pause, *(part for length_s in utterances_s for part in (self_test_waveform(length_s), pause))]
    )
    room = 1e-4 * np.random.default_rng(0).standard_normal(len(signal))
    return signal + room.astype(np.float32)


def replay(
    files: Sequence[Path], bundle: Bundle, settings: Settings, plays: int, progress: Progress
) -> tuple[list[list[Timing]], list[str]]:
    """Play each file ``plays`` times, in real time, as ``affectd run`` would; its events go to the null device.

    Returns:
        The utterances of each replay, and notes. A file that breaks off is a note; what was played of it counts.
    """
    rounds: list[list[Timing]] = []
    notes: list[str] = []
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        for number in range(plays * len(files)):
            file = files[number % len(files)]
            progress(f"playing {file.name} in real time, {number + 1} of {plays * len(files)}")
            timings: list[Timing] = []
            playing = for_replay(settings, file)
            engine = Engine(
                [open_source(playing.capture)],
                Recognizer(bundle, playing.encoder),
                [JsonLines(nowhere)],
                playing,
                observers=[timings.append],
            )
            try:
                summary = engine.run()
                if summary.skipped or summary.dropped_s:
                    notes.append(f"{file.name}: {summary.skipped} utterances skipped, {summary.dropped_s:.1f} s lost")
            except AudioFileError as error:
                notes.append(str(error))
            rounds.append(timings)
    if not any(rounds):
        notes.append("no utterance was found in the recordings")
    return rounds, notes


def for_replay(settings: Settings, file: Path) -> Settings:
    """Return settings that play a file in real time, and leave what is known of speakers and rooms as it is."""
    capture = settings.capture.model_copy(update={"source": str(file), "realtime": True})
    speakers = settings.speakers.model_copy(update={"refine": False})
    room = settings.room.model_copy(update={"remember": False})
    return settings.model_copy(update={"capture": capture, "speakers": speakers, "room": room})
