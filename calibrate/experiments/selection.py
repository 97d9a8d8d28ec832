"""Which utterances an experiment trains and tests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from calibrate.dataset import Part, read_parts
from calibrate.recipe import Recipe
from calibrate.splits import SPLITS, Fold, Split
from edge.errors import UsageError, nearest

Mask = npt.NDArray[np.bool_]


def join_parts(parts: Sequence[Part]) -> Part:
    """Return the utterances of all parts as one."""
    utterances = [utterance for part in parts for utterance in part.utterances]
    return Part(utterances, np.concatenate([part.labels for part in parts]), parts[0].origins)


def only(part: Part, utterances: Sequence[object]) -> Part:
    """Return these utterances of a part, in its order."""
    wanted = set(utterances)
    return part.select(np.array([utterance in wanted for utterance in part.utterances], bool))


def split_of(parts: Mapping[Split, Part]) -> dict[Path, Split]:
    """Return the split that each file is in."""
    return {utterance.path: split for split in SPLITS for utterance in parts[split].utterances}


def corpus_names(parts: Mapping[Split, Part], corpus: str | None = None) -> list[str]:
    """Return the corpora that have utterances.

    Raises:
        UsageError: ``corpus`` is none of them.
    """
    names = list(dict.fromkeys(str(name) for split in SPLITS for name in parts[split].corpora))
    if corpus is not None and corpus not in names:
        raise UsageError(f"--corpus {corpus}: the recipe has {', '.join(names)}{nearest(corpus, names)}")
    return names


def parts_around(recipe: Recipe, data: Path, corpus: str) -> list[Part]:
    """Return what may train or be tested: all speakers of the corpus, of the others never the fixed test speakers.

    Parts that are whole share their cached features with other trainings.
    """
    parts = read_parts(recipe, data)
    parts["test"] = parts["test"].select(parts["test"].corpora == corpus)
    return [parts[split] for split in SPLITS if parts[split].utterances]


def held_out_folds(part: Part, folds: int, seed: int) -> list[Mask]:
    """Deal the speakers of each corpus out to folds; returns who is held out in each, ``bool[utterances]``.

    Raises:
        UsageError: a corpus has fewer speakers than folds.
    """
    rng = np.random.default_rng(seed)
    held: list[list[str]] = [[] for _ in range(folds)]
    for corpus in np.unique(part.corpora):
        speakers = np.unique(part.speakers[part.corpora == corpus])
        if len(speakers) < folds:
            raise UsageError(f"{corpus} has {len(speakers)} speakers to train on, too few for {folds} folds")
        for index, speaker in enumerate(rng.permutation(speakers).tolist()):
            held[index % folds].append(speaker)
    return [np.isin(part.speakers, speakers) for speakers in held]


def complete(folds: Sequence[Fold]) -> Sequence[Fold]:
    """Return folds in each of which there is something to train and to test on.

    Raises:
        UsageError: in one there is not.
    """
    for number, fold in enumerate(folds, start=1):
        if not (fold.train and fold.test):
            lacking, other = ("test", "train") if fold.train else ("train", "test")
            speakers = len({utterance.speaker for utterance in fold.train or fold.test})
            raise UsageError(
                f"fold {number} of {len(folds)} has nothing to {lacking} on: it {other}s on all "
                f"{len(fold.train or fold.test)} clips, of {speakers} speaker{'s' * (speakers > 1)}"
            )
    return folds
