"""Mean MFCC of clips, kept in the cache, and of who says them: what a head of ``speaker = "mfcc"`` is told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from calibrate.corpora.mfcc import HOP_MS, MELS, WINDOW_MS, new_transform, pooled_mfcc
from calibrate.dataset import Part
from calibrate.progress import progress_bar
from calibrate.training import processes
from calibrate.training.features import stamp
from edge.audio import read_audio
from edge.errors import AudioFileError

Vector = npt.NDArray[np.float32]
ClipVectors = Mapping[Path, Vector]
"""File to ``float32[coefficients]``, the mean over its frames; without files that cannot be read."""


def clip_mfcc(paths: Sequence[Path], cache: Path, coefficients: int) -> ClipVectors:
    """Return the mean MFCC of each file, from the cache where it was computed before."""
    described = json.dumps([coefficients, MELS, WINDOW_MS, HOP_MS, [stamp(path) for path in paths]])
    table = cache / f"mfcc-{hashlib.sha256(described.encode()).hexdigest()[:16]}.npy"
    with processes.main_first():
        if not table.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            partial = table.with_suffix(".partial.npy")
            np.save(partial, _compute(paths, coefficients))
            partial.replace(table)
        rows = np.load(table)
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
