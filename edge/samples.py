"""Samples that a program hands over: checked where they enter, each mistake with its remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.audio import SAMPLE_RATE_HZ, Waveform, resample
from edge.decoding import PEAK_LIMIT, RATES_HZ
from edge.errors import UsageError

SHORTEST_S = 0.1
"""Less than a syllable says nothing about anyone."""


def checked_waveform(audio: Any, name: str = "samples") -> Waveform:
    """Return what a caller passed as ``float32[n]`` at 16 kHz, ±1.

    Args:
        audio: floating-point samples ``[n]`` of one channel, ±1, at 16 kHz; or the pair ``(samples, rate_hz)``.
            Anything that numpy takes as an array will do, a torch tensor on the CPU too.
        name: what an error calls it.

    Raises:
        UsageError: it is not one channel of scaled, finite, floating-point audio of at least ``SHORTEST_S``.
    """
    samples, rate_hz = _split_pair(audio, name)
    waveform = _checked_array(samples, name)
    if isinstance(rate_hz, bool) or not isinstance(rate_hz, (int, np.integer)) or int(rate_hz) not in RATES_HZ:
        raise UsageError(
            f"{name}: rate {rate_hz!r} is not a whole number of Hz from {RATES_HZ[0]} to {RATES_HZ[-1]}: "
            "(samples, 44100) for example"
        )
    duration_s = len(waveform) / int(rate_hz)
    if duration_s < SHORTEST_S:
        raise UsageError(
            f"{name}: {duration_s * 1e3:.0f} ms are too short to mean anything; at least {SHORTEST_S * 1e3:.0f} ms are "
            "needed"
        )
    return waveform if rate_hz == SAMPLE_RATE_HZ else resample(waveform, int(rate_hz))


def checked_batch(audio: Any) -> tuple[list[Waveform], bool]:
    """Return one waveform or a list of them as ``checked_waveform`` does, and whether it was one.

    Raises:
        UsageError: as ``checked_waveform``; a list that is empty.
    """
    if not isinstance(audio, list):
        return [checked_waveform(audio)], True
    if not audio:
        raise UsageError("samples: the list is empty; it takes at least one array of samples")
    if all(isinstance(item, (int, float)) for item in audio):
        raise UsageError("samples: a list is a batch of arrays, not samples: numpy.array(samples, 'float32')")
    return [checked_waveform(item, f"samples of item {index}") for index, item in enumerate(audio)], False


def _split_pair(audio: Any, name: str) -> tuple[Any, Any]:
    if not isinstance(audio, tuple):
        return audio, SAMPLE_RATE_HZ
    if len(audio) != 2:
        raise UsageError(f"{name}: a tuple of {len(audio)} is not the pair (samples, rate in Hz)")
    samples, rate_hz = audio
    if np.ndim(samples) == 0 and np.ndim(rate_hz) == 1:
        raise UsageError(f"{name}: (rate, samples) is the wrong way round; pass (samples, rate in Hz)")
    return samples, rate_hz


def _checked_array(samples: Any, name: str) -> Waveform:
    if isinstance(samples, (str, bytes)) or not (hasattr(samples, "__array__") or isinstance(samples, Sequence)):
        raise UsageError(f"{name}: {type(samples).__name__} is no array of samples")
    try:
        array: npt.NDArray[Any] = np.asarray(samples)
    except Exception as error:  # a tensor that has gradients or is on a GPU, rows of unequal length
        raise UsageError(f"{name}: numpy cannot read them: {error}") from None
    if np.issubdtype(array.dtype, np.integer):
        full_scale = 2 ** (8 * array.dtype.itemsize - 1)
        raise UsageError(
            f"{name}: {array.dtype} is not scaled to ±1: for PCM of that width samples.astype('float32') / {full_scale}"
        )
    if not np.issubdtype(array.dtype, np.floating):
        raise UsageError(f"{name}: {array.dtype} is no audio; floating-point samples of ±1 are")
    if array.ndim != 1:
        raise UsageError(
            f"{name}: shape {list(array.shape)} has {array.ndim} dimensions, and samples have one: average channels, "
            "as in samples.mean(axis=1), and pass many recordings as a list"
        )
    if not len(array):
        raise UsageError(f"{name}: holds no samples")
    if not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array))[0])
        raise UsageError(f"{name}: sample {bad} is {array[bad]}; repair it first, as with numpy.nan_to_num(samples)")
    peak = float(np.abs(array).max())
    if peak > PEAK_LIMIT:
        raise UsageError(f"{name}: holds samples up to {peak:g}; scale them to ±1: of 16-bit audio samples / 32768")
    return array.astype(np.float32, copy=False)
