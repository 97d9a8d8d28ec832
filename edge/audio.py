"""Reading audio: whatever a file holds becomes ``float32[samples]``, 16 kHz, mono, ±1."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from edge.arrays import Matrix
from edge.decoding import Note, open_audio
from edge.errors import AudioFileError

logger = logging.getLogger(__name__)

SAMPLE_RATE_HZ = 16_000

_BLOCK_FRAMES = 65_536

Waveform = npt.NDArray[np.float32]


def read_audio(path: Path) -> Waveform:
    """Read a whole file as ``float32[samples]`` at 16 kHz; channels are averaged.

    What was repaired or is missing is logged.

    Raises:
        AudioFileError: the file is missing, empty, damaged, not audio, not at 8 to 192 kHz, or holds unscaled samples.
            Silence is not an error.
    """
    waveform, notes = read_recording(path, damaged=False)
    for note in notes:
        logger.warning("%s: %s", path, note.message)
    return waveform


def read_recording(path: Path, damaged: bool = True) -> tuple[Waveform, tuple[Note, ...]]:
    """Read a file as ``read_audio`` does, and return what there is to say about it as well.

    Args:
        path: of a file or a named pipe.
        damaged: what comes before the damage is returned, if there is anything, with a note.

    Raises:
        AudioFileError: see ``read_audio``.
    """
    blocks = [np.empty(0, np.float32)]
    notes: tuple[Note, ...] = ()
    with open_audio(path) as reader:
        try:
            # Block by block, because a damaged header may promise terabytes.
            blocks += (mono(block) for block in reader.blocks(_BLOCK_FRAMES))
        except AudioFileError as error:
            if not damaged or len(blocks) == 1:
                raise
            notes = (Note("partial", str(error).removeprefix(f"{path}: ")),)
        notes = (*reader.take_notes(), *notes)
    waveform = np.concatenate(blocks)
    if reader.rate_hz != SAMPLE_RATE_HZ:
        waveform = resample(waveform, reader.rate_hz)
    if not len(waveform):
        raise AudioFileError(f"{path}: holds no audio")
    return waveform, notes


def peak(samples: Waveform) -> float:
    """Return the largest magnitude in ``float32[n]``; 0 without any."""
    return max(float(np.maximum.reduce(samples)), -float(np.minimum.reduce(samples))) if len(samples) else 0.0


def mono(channels: Matrix) -> Waveform:
    """Average ``float32[samples, channels]`` to ``float32[samples]``."""
    if channels.shape[1] == 1:
        return np.asarray(channels[:, 0], np.float32)
    averaged: Waveform = channels.mean(axis=1, dtype=np.float32)
    return averaged


def resample(waveform: Waveform, rate_hz: int) -> Waveform:
    """Resample ``float32[samples]`` from ``rate_hz`` to 16 kHz (soxr, high quality)."""
    resampled: Waveform = soxr.resample(waveform, rate_hz, SAMPLE_RATE_HZ).astype(np.float32, copy=False)
    return resampled
