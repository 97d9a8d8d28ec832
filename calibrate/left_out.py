"""The temperature of a logistic head, fitted on corpora that it did not learn from, as a device would meet them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch

from calibrate.dataset import Part, Rows
from calibrate.run import Run
from calibrate.speakers.factor_model import device_head, fit_population
from calibrate.streams import DeviceModel, answer_streams, draw_streams
from calibrate.training.regression import Examples, fit_logistic
from calibrate.training.temperature import fit_temperature
from edge.arrays import Matrix

logger = logging.getLogger(__name__)

STREAMS = 3
"""Of each corpus."""

Answered = tuple[Matrix, Part]
"""Logits ``float32[n, labels]`` and whose they are."""


def fit_left_out_temperature(run: Run, examples: Examples) -> None:
    """Set a run's temperature: for each corpus in turn the head is fitted to the others and answers to that one.

    It answers to balanced streams, in a room that it gets to know, to labels that nobody taught it too, as on a device.
    Without two corpora, half of the speakers are left out in turn. Where the others have one label only, it stays 1.
    """
    rounds = [_answer(run, examples, held) for held in _held_out(examples.part)]
    if rounds:
        run.temperature = stream_temperature(rounds)
    else:
        logger.warning("confidence is not calibrated: without half of the speakers nothing is left to learn from")


def stream_temperature(answered: Sequence[Answered]) -> float:
    """Return the temperature that suits all answers together, corpora weighing as in ``Part.balanced_weights``."""
    parts = [part for _, part in answered]
    utterances = [utterance for part in parts for utterance in part.utterances]
    labels = np.concatenate([part.labels for part in parts])
    joined = Part(utterances, labels, {name: origin for part in parts for name, origin in part.origins.items()})
    return fit_temperature(torch.from_numpy(np.concatenate([logits for logits, _ in answered])), joined)


def answer_in_room(model: DeviceModel, part: Part, embeddings: Matrix) -> Answered:
    """Answer to balanced streams of a part, ``float32[n, dim]``, in a room that is got to know."""
    streams = draw_streams(part.labels, "balanced", range(STREAMS), length=len(part.labels))
    answers = answer_streams(model, embeddings, streams, with_room=True)
    heard = Part([part.utterances[row] for row in answers.rows], part.labels[answers.rows], part.origins)
    return np.log(np.maximum(answers.probabilities, np.finfo(np.float32).tiny)), heard


def _held_out(part: Part) -> list[Rows]:
    """Return the rows of each round: those of a corpus with emotions, or of every other speaker."""
    corpora = [name for name in np.unique(part.corpora) if len(np.unique(part.labels[part.corpora == name])) > 1]
    if len(corpora) > 1:
        return [np.flatnonzero(part.corpora == name) for name in corpora]
    turn = np.unique(part.speakers, return_inverse=True)[1] % 2
    halves = [turn == which for which in (0, 1)]
    return [np.flatnonzero(half) for half in halves if half.any() and len(np.unique(part.labels[~half])) > 1]


def _answer(run: Run, examples: Examples, held: Rows) -> Answered:
    """Return the answers to the held-out rows, of a head that had no part in them."""
    part, labels = examples.part, run.recipe.labels
    rest = np.ones(len(part.labels), bool)
    rest[held] = False
    trial = replace(run, classifier=deepcopy(run.classifier), temperature=1.0)
    fit_logistic(trial.classifier, examples.select(rest), run.recipe)
    with torch.inference_mode():
        embeddings = trial.classifier.embed(examples.features).numpy()
    head = device_head(trial)
    population = fit_population(embeddings[rest], part.select(rest), labels, head)
    return answer_in_room(DeviceModel(head, population), part.select(~rest), embeddings[~rest])
