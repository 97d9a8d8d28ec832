"""Published protocols on one corpus: a recipe trained anew for every fold, alone or along with the other corpora."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from calibrate.corpora.labels import LABELS
from calibrate.dataset import Part, read_parts
from calibrate.evaluate import figures_of
from calibrate.experiments.crossvalidation import Retrainer, join_parts
from calibrate.experiments.protocol_report import (
    TRAININGS,
    FoldResult,
    ProtocolResult,
    Training,
    as_json,
    show,
    write_protocol,
)
from calibrate.metrics import Probabilities
from calibrate.progress import progress_bar
from calibrate.recipe import Recipe, read_recipe
from calibrate.splits import PROTOCOLS, SPLITS, Fold, Protocol, Split, protocol_folds
from edge.errors import UsageError, nearest

BOTH = "both"
RECIPE_LABELS, ALL_LABELS = "recipe", "all"
EMOTIONS = tuple(label for label in LABELS if label not in ("other", "no agreement"))
MEANING: dict[Protocol, str] = {
    "random": "60/20/20 % of each speaker's utterances, THE SAME SPEAKERS ON ALL SIDES",
    "speaker": "unseen speakers, genders balanced",
    "emobox": "by EmoBox's rule (Ma et al. 2024), drawn anew",
    "emosuperb": "unseen speakers, EMO-SUPERB's blocks of actors (Wu et al. 2024)",
    "loso": "one unseen speaker a fold",
}

FIXED: tuple[Protocol, ...] = ("loso", "emosuperb")
"""Their folds are the same whatever the seed."""

Draw = tuple[int, Sequence[Fold]]
"""A seed and the folds that it draws."""


def measure_protocol(
    recipe_path: Path,
    data: Path,
    out: Path,
    *,
    split: str,
    corpus: str | None,
    training: str,
    labels: str,
    folds: int,
    seeds: int,
    encoder: str | None,
    cache: Path,
    threads: int,
    json_only: bool,
    head: str | None = None,
) -> None:
    """Train a recipe for every fold of a protocol, write the report to ``out`` and show it; see the command's help."""
    torch.set_num_threads(threads)
    protocol, trainings = _protocol(split), _trainings(training)
    recipe = read_recipe(recipe_path, head)
    name = _corpus(read_parts(recipe, data), corpus)
    recipe = with_labels(recipe, data, name, labels)
    trainer = Retrainer(recipe, encoder, cache, parts_for(recipe, data, name))
    mine = trainer.whole.corpora == name
    if mine.all():
        trainings = ("alone",)
    tested, others = trainer.whole.select(mine), trainer.whole.select(~mine)
    used = range(recipe.seed, recipe.seed + seeds)
    draws: list[Draw] = [(seed, protocol_folds(tested.utterances, protocol, folds, seed)) for seed in used]
    result = run_folds(trainer, tested, others, draws, trainings)
    named = recipe.name if head is None else f"{recipe.name} with head {head}"
    described = (
        f"recipe {named} on {name}, {protocol}: {MEANING[protocol]}; {len(draws[0][1])} folds, trained anew; "
        f"seeds {used[0]} to {used[-1]}, of {'the training' if protocol in FIXED else 'the folds and the training'}; "
        f"{len(recipe.labels)} labels: {', '.join(recipe.labels)}; alone: trained on {name} only; joint: along with "
        f"the train and validation speakers of the other corpora; every speaker of {name} who is not held out trains, "
        "also the fixed test speakers; nothing is chosen by those held out; what is spoken in each file; no adaptation"
        f"{recipe.head.stranger}"
    )
    write_protocol(out, result, name, recipe.labels, described)
    if json_only:
        print(json.dumps(as_json(result, described)))
    else:
        show(result, f"{name}, {protocol}")
        print(f"report written to {out}")


def parts_for(recipe: Recipe, data: Path, corpus: str) -> list[Part]:
    """Return what may train or be tested: all speakers of the corpus, of the others never the fixed test speakers.

    Parts that are whole share their cached features with other trainings.
    """
    parts = read_parts(recipe, data)
    parts["test"] = parts["test"].select(parts["test"].corpora == corpus)
    return [parts[split] for split in SPLITS if parts[split].utterances]


def run_folds(
    trainer: Retrainer, tested: Part, others: Part, draws: Sequence[Draw], trainings: Sequence[Training]
) -> ProtocolResult:
    """Train and test on every fold.

    Args:
        trainer: of the recipe.
        tested: all utterances of the corpus.
        others: what trains along, when a training is joint.
        draws: seeds and their folds.
        trainings: alone, joint or both.
    """
    labels = trainer.recipe.labels
    rounds = [(training, seed, *fold) for training in trainings for seed, folds in draws for fold in enumerate(folds)]
    results: list[FoldResult] = []
    heard: dict[Training, list[tuple[Part, Probabilities]]] = {training: [] for training in trainings}
    with progress_bar() as progress:
        for training, seed, number, fold in progress.track(rounds, description="folds"):
            train = _part_of(tested, fold.train)
            if training == "joint":
                train = join_parts([train, others])
            run, source = trainer.train(train, _part_of(tested, fold.validation) if fold.validation else None, seed)
            part, probabilities = run.probabilities(_part_of(tested, fold.test), source)
            heard[training].append((part, probabilities))
            results.append(
                FoldResult(
                    training=training,
                    seed=seed,
                    fold=number + 1,
                    held_out=sorted({utterance.speaker for utterance in fold.test}),
                    genders=gender_balance(part),
                    trained_on=len(np.unique(train.speakers)),
                    shared=len(fold.shared_speakers),
                    figures=figures_of(part, probabilities, labels),
                )
            )
    pooled = {}
    for training, found in heard.items():
        together = join_parts([part for part, _ in found])
        pooled[training] = figures_of(together, np.concatenate([rows for _, rows in found]), labels)
    return ProtocolResult(results, pooled)


def gender_balance(part: Part) -> dict[str, int]:
    """Return how many speakers are ``f``, ``m`` or ``unknown``."""
    genders = {utterance.speaker: utterance.gender or "unknown" for utterance in part.utterances}
    return dict(sorted(Counter(genders.values()).items()))


def with_labels(recipe: Recipe, data: Path, corpus: str, labels: str) -> Recipe:
    """Return the recipe with its own labels (``recipe``), all that the corpus has (``all``), or those named.

    Raises:
        UsageError: a name is no label.
    """
    if labels == RECIPE_LABELS:
        return recipe
    if labels == ALL_LABELS:
        whole = join_parts(list(read_parts(recipe.model_copy(update={"labels": EMOTIONS}), data).values()))
        found = np.unique(whole.labels[whole.corpora == corpus])
        return recipe.model_copy(update={"labels": tuple(EMOTIONS[label] for label in found)})
    names = tuple(dict.fromkeys(name.strip() for name in labels.split(",")))
    for name in names:
        if name not in EMOTIONS:
            allowed = (RECIPE_LABELS, ALL_LABELS, *EMOTIONS)
            raise UsageError(f"label {name!r} is not one of {', '.join(allowed)}{nearest(name, allowed)}")
    if len(names) < 2:
        raise UsageError(f"labels {labels!r}: at least two are needed")
    return recipe.model_copy(update={"labels": names})


def _part_of(part: Part, utterances: Sequence[object]) -> Part:
    """Return these utterances of a part, in its order."""
    wanted = set(utterances)
    return part.select(np.array([utterance in wanted for utterance in part.utterances], bool))


def _corpus(parts: Mapping[Split, Part], corpus: str | None) -> str:
    names = list(dict.fromkeys(str(name) for split in SPLITS for name in parts[split].corpora))
    if corpus is None:
        if len(names) > 1:
            raise UsageError(f"--corpus says which of {', '.join(names)} is split")
        return names[0]
    if corpus not in names:
        raise UsageError(f"--corpus {corpus}: the recipe has {', '.join(names)}{nearest(corpus, names)}")
    return corpus


def _protocol(name: str) -> Protocol:
    for protocol in PROTOCOLS:
        if protocol == name:
            return protocol
    raise UsageError(f"--split {name!r} is not one of {', '.join(PROTOCOLS)}{nearest(name, PROTOCOLS)}")


def _trainings(name: str) -> tuple[Training, ...]:
    if name == BOTH:
        return TRAININGS
    for training in TRAININGS:
        if training == name:
            return (training,)
    allowed = (*TRAININGS, BOTH)
    raise UsageError(f"--training {name!r} is not one of {', '.join(allowed)}{nearest(name, allowed)}")
