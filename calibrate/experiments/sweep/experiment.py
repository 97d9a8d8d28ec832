"""Training over the grid.

Every training is kept in a file of its own under ``trainings/``, named after all that decides its outcome: a sweep that
was stopped goes on where it was, and a wider grid adds to a narrower one.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from calibrate.dataset import Part, read_parts
from calibrate.evaluate import by_corpus
from calibrate.experiments.retraining import Retrainer
from calibrate.experiments.selection import corpus_names, only, parts_around
from calibrate.experiments.sweep.grid import LAST_EPOCHS, Epoch, Training, sweep_report
from calibrate.progress import progress_bar
from calibrate.recipe import Recipe, read_recipe
from calibrate.report import Report
from calibrate.splits import SPLITS, protocol_folds
from calibrate.training.heads import Classifier
from calibrate.workspace import Workspace
from edge.errors import UsageError, one_of
from edge.files import write_file

TRAININGS = "trainings"
MEANING = {
    "speaker": "the recipe's own split, which shares no speaker",
    "random": "60/20/20 % of each speaker's utterances, THE SAME SPEAKERS ON ALL SIDES",
}
RATE, BATCH = "learning_rate", "batch"

Sides = tuple[Part, Part, Part]
"""What trains, validates and tests."""


def measure_sweep(
    workspace: Workspace,
    recipe_path: Path,
    kept: Path,
    *,
    rates: Sequence[float],
    batches: Sequence[int],
    split: str,
    corpus: str | None,
    seeds: int,
    head: str | None,
    encoder: str | None,
) -> Report:
    """Train over the grid.

    Args:
        kept: folder that keeps the trainings.
        rates: of learning; empty: the recipe's.
        batches: utterances a step; empty: the recipe's.
        split: ``speaker`` or ``random``, see ``MEANING``.
        corpus: to train and test on; None: all of the recipe.
        seeds: trainings of each, and draws of the random split.
    """
    one_of("--split", split, tuple(MEANING))
    recipe = read_recipe(recipe_path, head).with_finetune(0)
    whole, trainer = _trainer(recipe, workspace, corpus, encoder)
    grid = product(rates or [recipe.schedule.learning_rate], batches or [recipe.schedule.batch])
    used = range(recipe.seed, recipe.seed + seeds)
    found = []
    with progress_bar() as progress:
        for (rate, batch), seed in progress.track(list(product(grid, used)), description="sweep"):
            changed = recipe.with_schedule({RATE: rate, BATCH: batch})
            path = kept / TRAININGS / f"{_key(changed, trainer, whole, split, seed)}.json"
            if not path.is_file():
                sides = split_sides(whole, recipe, workspace.data, split, seed)
                training = train_once(trainer.with_recipe(changed), sides, seed)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_file(path, json.dumps(asdict(training)) + "\n")
            found.append(Training.read(path))
    named = recipe.name if head is None else f"{recipe.name} with head {head}"
    protocol = (
        f"recipe {named} on {', '.join(np.unique(whole.corpora))}: {MEANING[split]}; {len(recipe.labels)} labels; "
        f"seeds {used[0]} to {used[-1]}; {recipe.schedule.epochs} epochs on the frozen encoder; UA and WA are means "
        f"over the corpora, validation is of the last {LAST_EPOCHS} epochs, the test hears the weights after the last; "
        f"what is spoken in each file; chosen by the mean validation UA, never by the test{recipe.head.stranger}"
    )
    return sweep_report(found, f"{named}: learning rates and batch sizes", protocol)


def split_sides(whole: Part, recipe: Recipe, data: Path, split: str, seed: int) -> Sides:
    """Split utterances by the recipe's speakers, or each speaker's by the seed.

    Raises:
        UsageError: nobody is on some side.
    """
    if split == "random":
        (fold,) = protocol_folds(whole.utterances, "random", seed=seed)
        sides = (fold.train, fold.validation, fold.test)
    else:
        parts = read_parts(recipe, data)
        sides = (parts["train"].utterances, parts["validation"].utterances, parts["test"].utterances)
    train, validation, test = (only(whole, side) for side in sides)
    for name, part in zip(SPLITS, (train, validation, test), strict=True):
        if not part.utterances:
            raise UsageError(f"no speaker of the corpora is in the {name} split")
    return train, validation, test


def train_once(trainer: Retrainer, sides: Sides, seed: int) -> Training:
    """Train by the trainer's recipe, and return the curve and what the test came to."""
    train, validation, test = sides
    run, source = trainer.train(train, validation, seed)
    with trainer.log.open(newline="") as file:
        curve = [
            Epoch(float(row["train_loss"]), float(row["validation_loss"]), float(row["validation_ua"]))
            for row in csv.DictReader(file)
        ]
    test, probabilities = run.probabilities(test, source)
    corpora = by_corpus(test, probabilities, run.recipe.labels)
    figures = list(corpora.values())
    share = np.clip(probabilities[np.arange(len(test.labels)), test.labels], 1e-12, 1)
    schedule = run.recipe.schedule
    speaker_share, idle_units = first_layer(run.classifier, source.clean(test, spoken_only=True)[1], test)
    return Training(
        learning_rate=schedule.learning_rate,
        batch=schedule.batch,
        seed=seed,
        curve=curve,
        test_ua=float(np.mean([each.ua for each in figures])),
        test_wa=float(np.mean([each.wa for each in figures])),
        test_loss=float(-np.log(share).mean()),
        corpora={name: each.ua for name, each in corpora.items()},
        speaker_share=speaker_share,
        idle_units=idle_units,
    )


@torch.inference_mode()
def first_layer(classifier: Classifier, layers: Tensor, part: Part) -> tuple[float, float]:
    """Return what the speaker takes of the first dense layer's variance, and its share of idle units.

    Args:
        classifier: trained.
        layers: features ``float32[n, layers, width]``.
        part: the same utterances.
    """
    dense = next(module for module in (*classifier.hidden, classifier.project) if isinstance(module, nn.Linear))
    own = classifier.features(layers)
    personal = torch.zeros_like(own)
    if classifier.speaker is not None:
        personal = classifier.speaker(classifier.rows_of(part.speakers))
    spoken, known = (dense(each).var(0).sum() for each in (own, personal))
    idle = 0.0
    if classifier.after is not None:
        on = (dense(own + personal) > 0).float().mean(0)
        idle = float(((on == 0) | (on == 1)).float().mean())
    return float(known / (spoken + known)), idle


def _trainer(recipe: Recipe, workspace: Workspace, corpus: str | None, encoder: str | None) -> tuple[Part, Retrainer]:
    """Return the utterances to train and test on, and what trains."""
    parts = read_parts(recipe, workspace.data)
    corpus_names(parts, corpus)
    used = [part for part in parts.values() if part.utterances]
    if corpus is not None:
        used = parts_around(recipe, workspace.data, corpus)
    trainer = Retrainer(recipe, encoder, workspace.cache, used)
    whole = trainer.whole
    return (whole.select(whole.corpora == corpus) if corpus else whole), trainer


def _key(recipe: Recipe, trainer: Retrainer, whole: Part, split: str, seed: int) -> str:
    """Return a name for a training: what is in the recipe, the encoder, the files, and how they are split."""
    paths = [str(path) for path in whole.paths]
    described = json.dumps([recipe.model_dump(mode="json"), trainer.encoder_name, paths, split, seed])
    return hashlib.sha256(described.encode()).hexdigest()[:16]
