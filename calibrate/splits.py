"""Speaker-disjoint splits and folds. A split is a mapping of speaker to part, so no speaker can be in two."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Literal, get_args

from calibrate.corpora.base import Utterance, read_rows
from edge.errors import UsageError, nearest

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class Fold:
    """One round of cross-validation: no speaker of ``test`` is in ``train``."""

    train: list[Utterance]
    test: list[Utterance]


def read_splits(table: Path) -> dict[str, Split]:
    """Read speaker → part from a CSV with the columns ``corpus,speaker,split``; speakers become ``corpus-speaker``.

    Raises:
        UsageError: a part is not train, validation or test, or a speaker is in two of them.
    """
    names: dict[str, Split] = {split: split for split in SPLITS}
    splits: dict[str, Split] = {}
    for row in read_rows(table, ("corpus", "speaker", "split")):
        speaker, split = f"{row['corpus']}-{row['speaker']}", names.get(row["split"])
        if split is None:
            close = nearest(row["split"], SPLITS)
            raise UsageError(f"{table}: {speaker}: split {row['split']!r} is not one of {', '.join(SPLITS)}{close}")
        if splits.setdefault(speaker, split) != split:
            raise UsageError(f"{table}: {speaker} is in {splits[speaker]} and in {split}; a speaker has one split")
    return splits


def split_by_speaker(utterances: Iterable[Utterance], splits: Mapping[str, Split]) -> dict[Split, list[Utterance]]:
    """Sort utterances into their speakers' parts, keeping their order.

    Raises:
        UsageError: a speaker has no part.
    """
    parts: dict[Split, list[Utterance]] = {split: [] for split in SPLITS}
    missing: dict[str, None] = {}
    for utterance in utterances:
        split = splits.get(utterance.speaker)
        if split is None:
            missing[utterance.speaker] = None
        else:
            parts[split].append(utterance)
    if missing:
        raise UsageError(f"no split is given for {', '.join(missing)}{nearest(next(iter(missing)), splits)}")
    return parts


def make_splits(
    utterances: Iterable[Utterance], fractions: tuple[float, float, float] = (0.7, 0.15, 0.15), seed: int = 0
) -> dict[str, Split]:
    """Draw speaker → part with these fractions of the *speakers* in train, validation and test.

    Every part with a fraction above 0 gets at least one speaker, and its genders in the proportions of the whole.

    Raises:
        UsageError: the fractions are negative or do not sum to 1, or there are fewer speakers than parts.
    """
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UsageError(f"fractions {fractions} must not be negative and must sum to 1")
    speakers = _mixed_speakers(utterances, seed)
    counts = [int(fraction > 0) for fraction in fractions]
    if len(speakers) < sum(counts):
        raise UsageError(f"{len(speakers)} speakers cannot be split into {sum(counts)} parts that share none")
    for _ in range(len(speakers) - sum(counts)):
        short = [fraction * len(speakers) - count for fraction, count in zip(fractions, counts, strict=True)]
        counts[short.index(max(short))] += 1
    groups = _cut(speakers, counts)
    return {speaker: split for split, group in zip(SPLITS, groups, strict=True) for speaker in group}


def speaker_folds(utterances: Sequence[Utterance], k: int, seed: int = 0) -> list[Fold]:
    """Draw ``k`` folds of equally many test speakers (give or take one), genders in the proportions of the whole.

    Raises:
        UsageError: ``k`` is below 2 or above the number of speakers.
    """
    speakers = _mixed_speakers(utterances, seed)
    if not 2 <= k <= len(speakers):
        raise UsageError(f"{k} folds are not possible: from 2 to {len(speakers)}, the number of speakers")
    counts = [len(speakers) // k + (fold < len(speakers) % k) for fold in range(k)]
    return folds_of(utterances, _cut(speakers, counts))


def folds_of(utterances: Sequence[Utterance], groups: Iterable[Collection[str]]) -> list[Fold]:
    """Make one fold of each published group of test speakers; everyone else trains."""
    return [
        Fold(
            train=[utterance for utterance in utterances if utterance.speaker not in group],
            test=[utterance for utterance in utterances if utterance.speaker in group],
        )
        for group in groups
    ]


def _mixed_speakers(utterances: Iterable[Utterance], seed: int) -> list[str]:
    """Shuffle the speakers within each gender and spread the genders evenly, so that any stretch is balanced."""
    genders = {utterance.speaker: utterance.gender or "" for utterance in utterances}
    shuffled = sorted(genders)
    random.Random(seed).shuffle(shuffled)
    place: dict[str, float] = {}
    for gender in sorted(set(genders.values())):
        speakers = [speaker for speaker in shuffled if genders[speaker] == gender]
        place |= {speaker: (index + 0.5) / len(speakers) for index, speaker in enumerate(speakers)}
    return sorted(shuffled, key=place.__getitem__)


def _cut(speakers: list[str], counts: Sequence[int]) -> list[list[str]]:
    return [speakers[start:end] for start, end in pairwise(accumulate(counts, initial=0))]
