"""Temperatures of a logistic head, fitted on corpora that it did not learn from, as a device would meet them."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch

from calibrate.dataset import Part, Rows
from calibrate.run import Run
from calibrate.speakers.factor_model import enrolled_logits, fit_population, strangers_head
from calibrate.streams import DeviceModel, answer_streams, draw_streams
from calibrate.training.regression import Examples, fit_logistic
from calibrate.training.temperature import fit_temperature
from edge.arrays import Matrix

STREAMS = 3
"""Of each corpus."""

Answered = tuple[Matrix, Part]
"""Logits ``float32[n, labels]`` and whose they are."""


def fit_left_out_temperatures(run: Run, examples: Examples) -> None:
    """Set a run's temperatures: for each corpus in turn the head is fitted to the others and answers to that one.

    The head for strangers answers to balanced streams, in a room that it gets to know; the regulars' to speakers who
    have enrolled with a few unlabelled clips. Without two corpora, half of the speakers are left out in turn.
    """
    rounds = [_answer(run, examples, held) for held in _held_out(examples.part)]
    if rounds:
        run.temperature = _fit([strangers for strangers, _ in rounds])
        run.regulars_temperature = _fit([regulars for _, regulars in rounds])


def _held_out(part: Part) -> list[Rows]:
    """Return the rows of each round: those of a corpus with emotions, or of every other speaker."""
    corpora = [name for name in np.unique(part.corpora) if len(np.unique(part.labels[part.corpora == name])) > 1]
    if len(corpora) > 1:
        return [np.flatnonzero(part.corpora == name) for name in corpora]
    turn = np.unique(part.speakers, return_inverse=True)[1] % 2
    return [np.flatnonzero(turn == which) for which in (0, 1)] if turn.any() else []


def _answer(run: Run, examples: Examples, held: Rows) -> tuple[Answered, Answered]:
    """Return the answers of strangers' and regulars' head to the held-out rows whose labels were taught."""
    part, labels = examples.part, run.recipe.labels
    rest = np.ones(len(part.labels), bool)
    rest[held] = False
    trial = replace(run, classifier=deepcopy(run.classifier), temperature=1.0)
    fit_logistic(trial.classifier, examples.select(rest), run.recipe)
    tested = ~rest & np.isin(part.labels, part.labels[rest])
    with torch.inference_mode():
        embeddings = trial.classifier.embed(examples.features).numpy()
    head = strangers_head(trial)
    population = fit_population(embeddings[rest], part.select(rest), labels, head.weight)
    found, embeddings = part.select(tested), embeddings[tested]
    streams = draw_streams(found.labels, "balanced", range(STREAMS), length=len(found.labels))
    answers = answer_streams(DeviceModel(head, population), embeddings, streams, with_room=True)
    heard = Part([found.utterances[row] for row in answers.rows], found.labels[answers.rows], found.origins)
    logits = np.log(np.maximum(answers.probabilities, np.finfo(np.float32).tiny))
    return (logits, heard), enrolled_logits(population, found, embeddings, run.recipe.seed)


def _fit(answered: list[Answered]) -> float:
    parts = [part for _, part in answered]
    utterances = [utterance for part in parts for utterance in part.utterances]
    joined = Part(utterances, np.concatenate([part.labels for part in parts]), parts[0].origins)
    return fit_temperature(torch.from_numpy(np.concatenate([logits for logits, _ in answered])), joined)
