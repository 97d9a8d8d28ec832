"""Mean-pooled MFCC as a description of a speaker: one vector each, in JSON, and their principal components as a plot.

The JSON: ``corpus``, ``coefficients``, how they were computed, ``mean`` and ``deviation`` of every coefficient over the
speakers (the first coefficient is hundreds of times larger than the last: standardise before learning from them), and
``speakers``: name to ``mfcc``, ``clips``, and the ``gender``, ``age`` and ``race`` that the corpus states.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor
from torchaudio.transforms import MFCC

from calibrate.corpora import Utterance, read_corpus
from calibrate.progress import progress_bar
from calibrate.report import Note, Picture, Report, legend_beside
from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.errors import AudioFileError, UsageError

logger = logging.getLogger(__name__)

Vectors = npt.NDArray[np.float64]

NAME = "mfcc.json"
MELS = 64
WINDOW_MS, HOP_MS = 25, 10


def describe_speakers(name: str, folder: Path, *, coefficients: int, clips: int | None, seed: int) -> Report:
    """Return a corpus's ``mfcc.json`` and ``mfcc.png``.

    Args:
        name: of its reader.
        folder: where it lies.
        coefficients: a clip.
        clips: of each speaker, drawn at random; None: all.
        seed: of that draw.

    Raises:
        UsageError: the corpus has fewer than two speakers.
    """
    utterances = read_corpus(name, folder).utterances
    chosen = draw_clips(utterances, clips, seed)
    clips_of = mean_mfcc(chosen, coefficients)
    known = {utterance.speaker: utterance for utterance in chosen}
    if len(clips_of) < 2:
        raise UsageError(f"{folder}: has {len(clips_of)} speakers; principal components need two")
    vectors = np.stack([np.mean(rows, axis=0) for rows in clips_of.values()])
    points, shares = principal_points(vectors)
    described = {
        "corpus": utterances[0].corpus,
        "features": "MFCC, mean over the frames of a clip, then over the clips of a speaker",
        "coefficients": coefficients,
        "mels": MELS,
        "window_ms": WINDOW_MS,
        "hop_ms": HOP_MS,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "mean": vectors.mean(axis=0).tolist(),
        "deviation": vectors.std(axis=0).tolist(),
        "explained": shares.tolist(),
        "speakers": {
            speaker: _facts(known[speaker]) | {"clips": len(clips_of[speaker]), "mfcc": vector.tolist()}
            for speaker, vector in zip(clips_of, vectors, strict=True)
        },
    }
    if clips is not None:
        described["files"] = [utterance.path.relative_to(folder).as_posix() for utterance in chosen]
    held = ", ".join(f"{share:.0%}" for share in shares)
    counted = f"{len(vectors)} speakers, {len(chosen)} clips; two principal components hold {held} of the variance"
    picture = points_picture(points, shares, [known[speaker] for speaker in clips_of])
    return Report((NAME,), name, "", described, (Note(counted), picture), closing=f"written to {{out}}/{NAME}")


def draw_clips(utterances: Sequence[Utterance], clips: int | None, seed: int) -> list[Utterance]:
    """Return this many clips of each speaker, drawn with the seed; all of them when ``clips`` is None."""
    if clips is None:
        return list(utterances)
    order = np.random.default_rng(seed).permutation(len(utterances))
    taken: dict[str, list[int]] = defaultdict(list)
    for row in order.tolist():
        rows = taken[utterances[row].speaker]
        if len(rows) < clips:
            rows.append(row)
    return [utterances[row] for row in sorted(row for rows in taken.values() for row in rows)]


def mean_mfcc(utterances: Sequence[Utterance], coefficients: int) -> dict[str, list[Vectors]]:
    """Return speaker → ``float64[coefficients]`` for each clip that can be read, its mean over frames."""
    transform = new_transform(coefficients)
    clips_of: dict[str, list[Vectors]] = defaultdict(list)
    with progress_bar() as progress:
        for utterance in progress.track(utterances, description="MFCC"):
            try:
                waveform = read_audio(utterance.path)
            except AudioFileError as error:
                logger.warning("%s: left out", error)
            else:
                clips_of[utterance.speaker].append(pooled_mfcc(transform, waveform))
    return dict(clips_of)


def new_transform(coefficients: int) -> MFCC:
    """Return the MFCC transform at 16 kHz.

    Raises:
        UsageError: there are more coefficients than mel bands.
    """
    if not 2 <= coefficients <= MELS:
        raise UsageError(f"{coefficients} coefficients are not possible: from 2 to {MELS}, the number of mel bands")
    window, hop = (SAMPLE_RATE_HZ * span_ms // 1000 for span_ms in (WINDOW_MS, HOP_MS))
    return MFCC(SAMPLE_RATE_HZ, coefficients, melkwargs={"n_fft": window, "hop_length": hop, "n_mels": MELS})


def pooled_mfcc(transform: MFCC, waveform: Waveform) -> Vectors:
    """Return the mean over frames, ``float64[coefficients]``, of ``float32[samples]``."""
    pooled: Vectors = mfcc_over_time(transform, waveform).double().mean(dim=1).numpy()
    return pooled


def mfcc_over_time(transform: MFCC, waveform: Waveform) -> Tensor:
    """Return ``float32[coefficients, frames]`` of ``float32[samples]``, padded to a window at least.

    Frame ``t`` is centred on sample ``t`` times the hop.
    """
    window = transform.MelSpectrogram.n_fft
    coefficients: Tensor = transform(F.pad(torch.from_numpy(waveform), (0, max(0, window - len(waveform)))))
    return coefficients


def principal_points(vectors: Vectors) -> tuple[Vectors, Vectors]:
    """Return two principal components ``float64[n, 2]`` of the standardised vectors, and their shares of variance."""
    deviation = vectors.std(axis=0)
    standardised = (vectors - vectors.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    rows, spread, _ = np.linalg.svd(standardised, full_matrices=False)
    return rows[:, :2] * spread[:2], spread[:2] ** 2 / max(float((spread**2).sum()), 1e-12)


def points_picture(points: Vectors, shares: Vectors, speakers: Sequence[Utterance]) -> Picture:
    """Return the speakers on two principal components, coloured by gender and, where it is known, by race."""
    colourings: dict[str, list[str]] = {"gender": [speaker.gender or "unknown" for speaker in speakers]}
    if any(speaker.race for speaker in speakers):
        colourings["race"] = [speaker.race or "unknown" for speaker in speakers]

    def draw(figure: Figure) -> None:
        places = figure.subplots(1, len(colourings), squeeze=False, sharey=True)[0]
        for axes, (fact, values) in zip(places, colourings.items(), strict=True):
            for value in sorted(set(values)):
                inside = np.array(values) == value
                axes.scatter(points[inside, 0], points[inside, 1], label=f"{value} ({inside.sum()})", s=22)
            legend_beside(axes, fact)
            axes.set_xlabel(f"component 1, {shares[0]:.0%} of the variance")
        places[0].set_ylabel(f"component 2, {shares[1]:.0%}")

    return Picture("mfcc.png", "speakers on two principal components", draw, (5 * len(colourings), 4.2))


def _facts(speaker: Utterance) -> dict[str, Any]:
    facts = {"gender": speaker.gender, "age": speaker.age, "race": speaker.race}
    return {name: value for name, value in facts.items() if value is not None}
