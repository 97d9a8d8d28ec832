"""Reading audio: whatever a file holds becomes ``float32[samples]``, 16 kHz, mono, ±1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from edge.errors import AudioFileError

SAMPLE_RATE_HZ = 16_000
AUDIO_EXTENSIONS = frozenset({".wav", ".flac", ".opus", ".ogg", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64"})

Waveform = npt.NDArray[np.float32]


def read_audio(path: Path) -> Waveform:
    """Read a whole file as ``float32[samples]`` at 16 kHz; channels are averaged.

    Raises:
        AudioFileError: the file is missing, empty, not audio, or holds NaN or infinite samples. Silence is fine.
    """
    with open_audio(path) as file:
        try:
            samples = file.read(dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioFileError(f"{path}: cannot be decoded: {error}") from None
        rate_hz = file.samplerate
    waveform = to_mono(samples, path)
    if not len(waveform):
        raise AudioFileError(f"{path}: holds no audio")
    return waveform if rate_hz == SAMPLE_RATE_HZ else resample(waveform, rate_hz)


def open_audio(path: Path) -> soundfile.SoundFile:
    """Open a file for reading in blocks.

    Raises:
        AudioFileError: the file is missing, empty or in no format that libsndfile knows.
    """
    if not path.is_file():
        raise AudioFileError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
    if path.stat().st_size == 0:
        raise AudioFileError(f"{path}: is empty (0 bytes)")
    try:
        return soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise AudioFileError(f"{path}: is not audio that can be read: {error.error_string}") from None


def to_mono(samples: npt.NDArray[np.float32], path: Path) -> Waveform:
    """Average ``float32[samples, channels]`` to ``float32[samples]``, refusing NaN and infinity."""
    if not np.isfinite(samples).all():
        raise AudioFileError(f"{path}: holds NaN or infinite samples")
    mono: Waveform = samples.mean(axis=1, dtype=np.float32)
    return mono


def resample(waveform: Waveform, rate_hz: int) -> Waveform:
    """Resample ``float32[samples]`` from ``rate_hz`` to 16 kHz (soxr, high quality)."""
    resampled: Waveform = soxr.resample(waveform, rate_hz, SAMPLE_RATE_HZ).astype(np.float32, copy=False)
    return resampled
