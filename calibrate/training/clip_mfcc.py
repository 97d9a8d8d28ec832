"""Mean MFCC of clips, kept in the cache, and of speakers: the speaker input of a head with ``speaker = "mfcc"``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from calibrate import processes
from calibrate.cache import cached_arrays, content_of
from calibrate.corpora.mfcc import HOP_MS, MELS, WINDOW_MS, new_transform, pooled_mfcc
from calibrate.dataset import Part
from calibrate.progress import progress_bar
from edge.audio import read_audio
from edge.errors import AudioFileError

Vector = npt.NDArray[np.float32]
ClipVectors = Mapping[Path, Vector]
"""File to ``float32[coefficients]``, the mean over its frames; without files that cannot be read."""


def clip_mfcc(paths: Sequence[Path], cache: Path, coefficients: int) -> ClipVectors:
    """Return the mean MFCC of each file, from the cache where it was computed before."""
    described = (coefficients, MELS, WINDOW_MS, HOP_MS, [content_of(path) for path in paths])
    with processes.main_first():
        rows = cached_arrays(cache, "mfcc", described, lambda: {"mfcc": _compute(paths, coefficients)})["mfcc"]
    return {path: row for path, row in zip(paths, rows, strict=True) if np.isfinite(row).all()}


def speaker_mfcc(part: Part, clips: ClipVectors) -> dict[str, Vector]:
    """Return the mean over each speaker's readable clips in a part."""
    rows: dict[str, list[Vector]] = {}
    for utterance in part.utterances:
        if utterance.path in clips:
            rows.setdefault(utterance.speaker, []).append(clips[utterance.path])
    return {speaker: np.mean(vectors, axis=0) for speaker, vectors in rows.items()}


def _compute(paths: Sequence[Path], coefficients: int) -> Vector:
    transform = new_transform(coefficients)
    rows = np.full((len(paths), coefficients), np.nan, np.float32)
    with progress_bar() as progress:
        for row, path in enumerate(progress.track(paths, description="MFCC")):
            try:
                rows[row] = pooled_mfcc(transform, read_audio(path))
            except AudioFileError:
                continue
    return rows
