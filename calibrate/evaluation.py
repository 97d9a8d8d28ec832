"""Evaluation: figures per corpus for a trained run or for a finished bundle, on speakers it never trained on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from calibrate.dataset import Part, Rows
from calibrate.metrics import Figures, Probabilities, figures
from calibrate.progress import progress_bar
from calibrate.run import Run
from edge.analyze import whole_file_waveform
from edge.recognizer import Recognizer

CHUNK = 64


def evaluate_run(run: Run, part: Part, cache: Path) -> dict[str, Figures]:
    """Return figures per corpus for a run, through its torch model."""
    readable, probabilities = run.probabilities(part, run.source(cache))
    return by_corpus(readable, probabilities, run.recipe.labels)


def evaluate_bundle(recognizer: Recognizer, part: Part) -> dict[str, Figures]:
    """Return figures per corpus for a loaded bundle: what is spoken in each, through the device's code and graph."""
    chunks = []
    with progress_bar() as progress:
        task = progress.add_task("evaluating", total=len(part.paths))
        for rows in _chunks(len(part.paths)):
            chunks.append(recognizer.probabilities([whole_file_waveform(part.paths[row]) for row in rows]))
            progress.advance(task, len(rows))
    return by_corpus(part, np.concatenate(chunks), recognizer.bundle.manifest.labels)


def by_corpus(part: Part, probabilities: Probabilities, labels: tuple[str, ...]) -> dict[str, Figures]:
    """Evaluate each corpus of a part on its own."""
    return {
        str(corpus): figures(probabilities[rows], part.labels[rows], part.speakers[rows].tolist(), labels)
        for corpus in dict.fromkeys(part.corpora.tolist())
        if (rows := part.corpora == corpus).any()
    }


def _chunks(count: int) -> Iterator[Rows]:
    for start in range(0, count, CHUNK):
        yield np.arange(start, min(start + CHUNK, count))
