"""The sweep: a recipe trained over a grid of learning rates and batch sizes, chosen by validation alone.

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

from calibrate.corpora import Utterance
from calibrate.dataset import Part, read_parts
from calibrate.evaluate import by_corpus
from calibrate.experiments.crossvalidation import Retrainer
from calibrate.experiments.protocols import parts_for
from calibrate.experiments.sweep_report import LAST_EPOCHS, Epoch, Training, as_json, show, summarise, write_sweep
from calibrate.progress import progress_bar
from calibrate.recipe import Recipe, read_recipe
from calibrate.splits import SPLITS, protocol_folds
from calibrate.training.heads import Classifier
from edge.errors import UsageError, nearest

TRAININGS = "trainings"
MEANING = {
    "speaker": "the recipe's own split, which shares no speaker",
    "random": "60/20/20 % of each speaker's utterances, THE SAME SPEAKERS ON ALL SIDES",
}
RATE, BATCH = "learning_rate", "batch"

Sides = tuple[Part, Part, Part]
"""What trains, validates and tests."""


def measure_sweep(
    recipe_path: Path,
    data: Path,
    out: Path,
    *,
    rates: Sequence[float],
    batches: Sequence[int],
    split: str,
    corpus: str | None,
    seeds: int,
    head: str | None,
    encoder: str | None,
    cache: Path,
    threads: int,
    json_only: bool,
) -> None:
    """Train over the grid, write table, curves and heat map to ``out`` and show them; see the command's help."""
    torch.set_num_threads(threads)
    if split not in MEANING:
        raise UsageError(f"--split {split!r} is not one of {', '.join(MEANING)}{nearest(split, MEANING)}")
    recipe = read_recipe(recipe_path, head).with_finetune(0)
    whole, trainer = _opened(recipe, data, corpus, encoder, cache)
    grid = product(rates or [recipe.schedule.learning_rate], batches or [recipe.schedule.batch])
    used = range(recipe.seed, recipe.seed + seeds)
    found = []
    with progress_bar() as progress:
        for (rate, batch), seed in progress.track(list(product(grid, used)), description="sweep"):
            changed = recipe.with_schedule({RATE: rate, BATCH: batch})
            kept = out / TRAININGS / f"{_key(changed, trainer, whole, split, seed)}.json"
            if not kept.is_file():
                sides = split_sides(whole, recipe, data, split, seed)
                training = train_once(trainer.with_recipe(changed), sides, seed)
                kept.parent.mkdir(parents=True, exist_ok=True)
                partial = kept.with_suffix(".partial")
                partial.write_text(json.dumps(asdict(training)) + "\n")
                partial.replace(kept)
            found.append(Training.read(kept))
    named = recipe.name if head is None else f"{recipe.name} with head {head}"
    protocol = (
        f"recipe {named} on {', '.join(np.unique(whole.corpora))}: {MEANING[split]}; {len(recipe.labels)} labels; "
        f"seeds {used[0]} to {used[-1]}; {recipe.schedule.epochs} epochs on the frozen encoder; UA and WA are means "
        f"over the corpora, validation is of the last {LAST_EPOCHS} epochs, the test hears the weights after the last; "
        f"what is spoken in each file; chosen by the mean validation UA, never by the test{recipe.head.stranger}"
    )
    rows = summarise(found)
    write_sweep(out, rows, found, protocol)
    if json_only:
        print(json.dumps(as_json(rows, found, protocol)))
    else:
        show(rows, named)
        print(f"report written to {out}")


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
    train, validation, test = (_only(whole, side) for side in sides)
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
    told = torch.zeros_like(own)
    if classifier.speaker is not None:
        told = classifier.speaker(classifier.rows_of(part.speakers))
    heard, known = (dense(each).var(0).sum() for each in (own, told))
    idle = 0.0
    if classifier.after is not None:
        on = (dense(own + told) > 0).float().mean(0)
        idle = float(((on == 0) | (on == 1)).float().mean())
    return float(known / (heard + known)), idle


def _opened(recipe: Recipe, data: Path, corpus: str | None, encoder: str | None, cache: Path) -> tuple[Part, Retrainer]:
    """Return the utterances to train and test on, and what trains."""
    parts = read_parts(recipe, data)
    names = list(dict.fromkeys(str(name) for split in SPLITS for name in parts[split].corpora))
    if corpus is not None and corpus not in names:
        raise UsageError(f"--corpus {corpus}: the recipe has {', '.join(names)}{nearest(corpus, names)}")
    used = parts_for(recipe, data, corpus) if corpus else [part for part in parts.values() if part.utterances]
    trainer = Retrainer(recipe, encoder, cache, used)
    whole = trainer.whole
    return (whole.select(whole.corpora == corpus) if corpus else whole), trainer


def _key(recipe: Recipe, trainer: Retrainer, whole: Part, split: str, seed: int) -> str:
    """Return a name for a training: what is in the recipe, who encodes, what is heard, and how it is split."""
    heard = [str(path) for path in whole.paths]
    described = json.dumps([recipe.model_dump(mode="json"), trainer.encoder_name, heard, split, seed])
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def _only(part: Part, utterances: Sequence[Utterance]) -> Part:
    wanted = set(utterances)
    return part.select(np.array([utterance in wanted for utterance in part.utterances], bool))
