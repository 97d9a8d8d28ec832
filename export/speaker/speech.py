"""Speech of a folder, to quantise a speaker encoder with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.analyze import whole_file_waveform
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.errors import AudioFileError, UsageError

UTTERANCES = 120
LEAST_S, MOST_S = 1.0, 6.0
"""Recordings are cut to lengths drawn from these."""


def speech_of_folder(folder: Path, seed: int = 0) -> list[Waveform]:
    """Return what is spoken in recordings drawn from a folder; the same for the same files and seed.

    Raises:
        UsageError: fewer than two of its files can be read.
    """
    rng = np.random.default_rng(seed)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    found: list[Waveform] = []
    for index in rng.permutation(len(paths)):
        length = int(rng.uniform(LEAST_S, MOST_S) * SAMPLE_RATE_HZ)
        try:
            found.append(whole_file_waveform(paths[index])[:length])
        except AudioFileError:
            continue
        if len(found) == UTTERANCES:
            break
    if len(found) < 2:
        raise UsageError(f"{folder}: holds {len(found)} recordings that can be read; at least 2 are needed")
    return found
