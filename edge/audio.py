"""Reading audio: whatever a file holds becomes ``float32[samples]``, 16 kHz, mono, ±1."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from edge.arrays import Matrix
from edge.errors import AudioFileError

SAMPLE_RATE_HZ = 16_000
AUDIO_EXTENSIONS = frozenset({".wav", ".flac", ".opus", ".ogg", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64"})

RATES_HZ = range(8_000, 192_001)
PEAK_LIMIT = 8.0
"""Float files may go a little beyond full scale (±1); beyond 18 dB over it the samples were never scaled."""

_BLOCK_FRAMES = 65_536

Waveform = npt.NDArray[np.float32]


def read_audio(path: Path) -> Waveform:
    """Read a whole file as ``float32[samples]`` at 16 kHz; channels are averaged.

    Raises:
        AudioFileError: the file is missing, empty, damaged, not audio, not at 8 to 192 kHz, or holds NaN, infinite or
            unscaled samples. Silence is not an error.
    """
    blocks = [np.empty(0, np.float32)]
    with open_audio(path) as file:
        rate_hz = file.samplerate
        # Block by block, because a damaged header may promise terabytes.
        while (block := read_block(file, _BLOCK_FRAMES, path)) is not None:
            blocks.append(block)
    waveform = np.concatenate(blocks)
    if rate_hz != SAMPLE_RATE_HZ:
        waveform = resample(waveform, rate_hz)
    if not len(waveform):
        raise AudioFileError(f"{path}: holds no audio")
    return waveform


def open_audio(path: Path) -> soundfile.SoundFile:
    """Open a file for reading in blocks.

    Raises:
        AudioFileError: the file is missing, empty, in no format that libsndfile knows, or not at 8 to 192 kHz.
    """
    if not os.path.isfile(path):
        raise AudioFileError(f"{path}: {'is a folder' if os.path.isdir(path) else 'no such file'}")
    if path.stat().st_size == 0:
        raise AudioFileError(f"{path}: is empty (0 bytes)")
    try:
        file = soundfile.SoundFile(os.fsencode(path))  # a name need not be valid UTF-8
    except soundfile.LibsndfileError as error:
        raise AudioFileError(f"{path}: is not audio that can be read: {error.error_string}") from None
    except TypeError:
        raise AudioFileError(f"{path}: is headerless audio, whose rate and sample type are unknown") from None
    if file.samplerate not in RATES_HZ:
        file.close()
        raise AudioFileError(f"{path}: is at {file.samplerate} Hz; from {RATES_HZ[0]} to {RATES_HZ[-1]} Hz can be read")
    return file


def read_block(file: soundfile.SoundFile, frames: int, path: Path) -> Waveform | None:
    """Return the next ``float32[<= frames]`` at the file's own rate, channels averaged, or None at its end.

    Raises:
        AudioFileError: the block is damaged, or holds NaN, infinite or unscaled samples.
    """
    channels = read_channels(file, frames, path)
    return None if channels is None else mono(channels)


def read_channels(file: soundfile.SoundFile, frames: int, path: Path) -> Matrix | None:
    """Return the next ``float32[<= frames, channels]`` at the file's own rate, or None at its end.

    Raises:
        AudioFileError: as ``read_block``.
    """
    try:
        samples: Matrix = file.read(frames, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioFileError(f"{path}: cannot be decoded: {error}") from None
    return _checked(samples, path) if len(samples) else None


def to_mono(samples: Matrix, path: Path) -> Waveform:
    """Average ``float32[samples, channels]`` to ``float32[samples]``, refusing NaN, infinite and unscaled samples."""
    return mono(_checked(samples, path))


def mono(channels: Matrix) -> Waveform:
    """Average ``float32[samples, channels]`` to ``float32[samples]``."""
    averaged: Waveform = channels.mean(axis=1, dtype=np.float32)
    return averaged


def _checked(samples: Matrix, path: Path) -> Matrix:
    peak = np.abs(samples).max(initial=0.0)
    if not np.isfinite(peak):
        raise AudioFileError(f"{path}: holds NaN or infinite samples")
    if peak > PEAK_LIMIT:
        raise AudioFileError(f"{path}: holds samples up to {peak:g}; floating-point audio must be scaled to ±1")
    return samples


def resample(waveform: Waveform, rate_hz: int) -> Waveform:
    """Resample ``float32[samples]`` from ``rate_hz`` to 16 kHz (soxr, high quality)."""
    resampled: Waveform = soxr.resample(waveform, rate_hz, SAMPLE_RATE_HZ).astype(np.float32, copy=False)
    return resampled
