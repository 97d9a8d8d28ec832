"""Source and target of a transfer: which utterances of a recipe they are, and who of them trains and who is tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from calibrate.dataset import Part
from calibrate.splits import SPLITS, Split, speaker_folds
from edge.errors import UsageError, nearest

ALL = "all"


class Cut(NamedTuple):
    """The utterances of one side in one round."""

    train: Part
    validation: Part | None
    """For schedules that slow down or end by it; None: they set training speakers aside."""
    test: Part


class Round(NamedTuple):
    """Who trains and who is tested, on both sides."""

    source: Cut
    target: Cut


def side_of(everyone: Part, name: str, option: str) -> Part:
    """Return the utterances of ``CORPUS``, or of ``CORPUS:FIRST-LAST``, a range of its speakers, as a corpus.

    Raises:
        UsageError: there are none.
    """
    corpus, _, span = name.partition(":")
    known = list(dict.fromkeys(everyone.corpora.tolist()))
    if corpus not in known:
        raise UsageError(f"{option} {name}: the recipe has {', '.join(known)}{nearest(corpus, known)}")
    mine = everyone.select(everyone.corpora == corpus)
    if not span:
        return mine
    first, _, last = span.partition("-")
    speakers = [speaker.removeprefix(f"{corpus}-") for speaker in mine.speakers.tolist()]
    inside = [_by_number(first) <= _by_number(speaker) <= _by_number(last or first) for speaker in speakers]
    if not any(inside):
        ends = (min(speakers, key=_by_number), max(speakers, key=_by_number))
        raise UsageError(f"{option} {name}: no such speaker; {corpus} has {' to '.join(ends)}")
    part = mine.select(np.array(inside))
    return replace(part, utterances=[replace(utterance, corpus=name) for utterance in part.utterances])


def with_shared_labels(sides: Sequence[Part], labels: Sequence[str]) -> tuple[list[Part], tuple[str, ...]]:
    """Return the parts without the emotions that only one of them has, and the labels that are left.

    Raises:
        UsageError: fewer than two are.
    """
    source, target = sides
    shared = np.intersect1d(source.labels, target.labels)
    names = tuple(labels[label] for label in shared)
    if len(names) < 2:
        found = ", ".join(names) or "none"
        raise UsageError(f"of the recipe's labels source and target share {found}; at least two are needed")
    kept = [part.select(np.isin(part.labels, shared)) for part in sides]
    return [replace(part, labels=np.searchsorted(shared, part.labels)) for part in kept], names


def rounds_of(sides: Sequence[Part], roles: Mapping[Path, Split], folds: int | None, seed: int) -> list[Round]:
    """Cut source and target by the fixed split, or into as many folds each, so that everyone is tested once.

    Raises:
        UsageError: a side has nobody to train or to test on, or fewer speakers than folds.
    """
    if folds is None:
        source, target = (_split_cut(part, roles) for part in sides)
        return [Round(source, target)]
    cuts = (_fold_cuts(part, folds, seed) for part in sides)
    return [Round(*pair) for pair in zip(*cuts, strict=True)]


def _split_cut(part: Part, roles: Mapping[Path, Split]) -> Cut:
    role = np.array([roles[path] for path in part.paths])
    train, validation, test = (part.select(role == split) for split in SPLITS)
    for split, needed in (("train", train), ("test", test)):
        if not needed.utterances:
            raise UsageError(f"{part.corpora[0]} has no speaker in the {split} split; --folds hears every speaker")
    return Cut(train, validation if validation.utterances else None, test)


def _fold_cuts(part: Part, folds: int, seed: int) -> list[Cut]:
    speakers = len(np.unique(part.speakers))
    if folds > speakers:
        raise UsageError(f"--folds {folds}: {part.corpora[0]} has {speakers} speakers")
    cuts = []
    for fold in speaker_folds(part.utterances, folds, seed):
        held = np.isin(part.speakers, sorted({utterance.speaker for utterance in fold.test}))
        cuts.append(Cut(part.select(~held), None, part.select(held)))
    return cuts


def speaker_counts(wanted: str, rounds: Sequence[Round]) -> list[int | None]:
    """Read ``1,2,all``: on how many target speakers to tune; None is all of them.

    Raises:
        UsageError: it is no such list, or asks for more speakers than there are.
    """
    there = [len(np.unique(each.target.train.speakers)) for each in rounds]
    names = [name.strip() for name in wanted.split(",")]
    for name in names:
        if name != ALL and not (name.isdecimal() and 1 <= int(name) <= min(there)):
            target = rounds[0].target.train.corpora[0]
            raise UsageError(
                f"--target-speakers {name!r} must be {ALL} or 1 to {min(there)}, those of {target} who can train"
            )
    counts: list[int | None] = [*sorted({int(name) for name in names if name != ALL})]
    if ALL in names and {*there} - {*counts}:
        counts.append(None)
    return counts


def some_speakers(part: Part, count: int | None, seed: int) -> Part:
    """Return the utterances of so many speakers, drawn at random; more speakers include the fewer."""
    drawn = np.random.default_rng(seed).permutation(np.unique(part.speakers))[:count]
    return part.select(np.isin(part.speakers, drawn))


def _by_number(speaker: str) -> tuple[int, str]:
    return len(speaker), speaker
