"""Decoded audio kept in memory, because an encoder that learns reads every file in every epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.audio import Waveform, read_audio
from edge.spoken import spoken

PEAK = np.iinfo(np.int16).max


class AudioStore:
    """Reads files, and keeps what fits into ``limit_bytes`` as 16-bit samples, each file at its own scale."""

    def __init__(self, limit_bytes: float) -> None:
        self.free_bytes = limit_bytes
        self._kept: dict[tuple[Path, bool], tuple[npt.NDArray[np.int16], np.float32]] = {}

    def read(self, path: Path, spoken_only: bool = False) -> Waveform:
        """Return ``float32[samples]`` of a file, or of what the device's segmenter would leave of it.

        It is the same whether the file was kept or not, so that a resumed run ends with the same numbers.

        Raises:
            AudioFileError: the file cannot be read.
        """
        if (path, spoken_only) in self._kept:
            samples, scale = self._kept[path, spoken_only]
        else:
            waveform = read_audio(path)
            if spoken_only:
                waveform = spoken(waveform)
            scale = np.float32(max(float(np.abs(waveform).max()), 1e-9) / PEAK)
            samples = np.round(waveform / scale).astype(np.int16)
            if samples.nbytes <= self.free_bytes:
                self.free_bytes -= samples.nbytes
                self._kept[path, spoken_only] = samples, scale
        return np.multiply(samples, scale, dtype=np.float32)
