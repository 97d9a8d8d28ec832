"""Speaker-disjoint splits and folds. A split is a mapping of speaker to part, so no speaker can be in two."""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Literal, get_args

from calibrate.corpora.base import Utterance, read_rows
from edge.errors import UsageError, nearest, one_of

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Protocol = Literal["random", "speaker", "emobox", "emosuperb", "loso"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
RANDOM_FRACTIONS = (0.6, 0.2, 0.2)
EMOBOX_SPEAKERS = 4
"""Speakers of a test fold of EmoBox."""
EMOBOX_SHARE = 0.25
"""Of the utterances that EmoBox tests on where speakers are not balanced."""
EMOBOX_OFFICIAL = ("emodb", "msp-podcast")
"""Corpora that EmoBox splits as their makers do."""
EMOSUPERB_CORPUS = "crema-d"
EMOSUPERB_BLOCKS = ((1001, 1018), (1019, 1036), (1037, 1054), (1055, 1072), (1073, 1091))
"""First and last actor of each block of CREMA-D."""


def split_named(name: str) -> Split:
    """Return the split of this name.

    Raises:
        UsageError: there is none.
    """
    return one_of("split", name, SPLITS)


@dataclass(frozen=True)
class Fold:
    """One round of cross-validation."""

    train: list[Utterance]
    test: list[Utterance]
    validation: list[Utterance] = field(default_factory=list)
    """Empty where the protocol has none."""

    @property
    def shared_speakers(self) -> set[str]:
        """Speakers of the test who are also trained on; none, except where a protocol disregards speakers."""
        return {utterance.speaker for utterance in self.test} & {utterance.speaker for utterance in self.train}


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


def half_of(speaker: str) -> Split:
    """Return whether someone of a halved corpus is ever trained on; depends on nothing but the name."""
    return "test" if zlib.crc32(speaker.encode()) % 2 else "train"


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


def protocol_folds(utterances: Sequence[Utterance], protocol: Protocol, k: int = 5, seed: int = 0) -> list[Fold]:
    """Split one corpus as a published protocol does.

    ``random``: one fold of 60, 20 and 20 % of each speaker's utterances (report A): the same speakers on all sides.
    ``speaker``: ``k`` folds of unseen speakers with balanced genders. ``loso``: a fold a speaker. ``emosuperb``: the
    five blocks of CREMA-D's actors (Wu et al. 2024). ``emobox``: see :func:`emobox_folds`.

    Raises:
        UsageError: the corpus has too few speakers, or the protocol has no folds for it.
    """
    if protocol == "random":
        return [_random_fold(utterances, seed)]
    if protocol == "speaker":
        return speaker_folds(utterances, k, seed)
    if protocol == "emobox":
        return emobox_folds(utterances, seed)
    if protocol == "emosuperb":
        return _emosuperb_folds(utterances)
    return folds_of(utterances, [{speaker} for speaker in _speakers(utterances)])


def emobox_folds(utterances: Sequence[Utterance], seed: int = 0) -> list[Fold]:
    """Split one corpus by the rules of EmoBox (Ma et al. 2024); its own draws are not reproduced.

    More than six speakers: folds of four, or a few more where four do not divide them, drawn at random. Four to six: a
    fold a speaker. Fewer, or speakers who do not show every emotion equally often: one fold with a quarter of each
    emotion's utterances, whoever speaks.

    Raises:
        UsageError: EmoBox follows the corpus's own partition, which is not known here.
    """
    official = {utterance.corpus for utterance in utterances}.intersection(EMOBOX_OFFICIAL)
    if official:
        raise UsageError(f"EmoBox splits {', '.join(official)} as its makers do, which is not known here")
    speakers = _speakers(utterances)
    if len(speakers) < EMOBOX_SPEAKERS or not _is_balanced(utterances):
        return [_stratified_fold(utterances, EMOBOX_SHARE, seed)]
    if len(speakers) <= 6:
        return folds_of(utterances, [{speaker} for speaker in speakers])
    random.Random(seed).shuffle(speakers)
    count = len(speakers) // EMOBOX_SPEAKERS
    return folds_of(utterances, [set(speakers[fold::count]) for fold in range(count)])


def _emosuperb_folds(utterances: Sequence[Utterance]) -> list[Fold]:
    corpora = {utterance.corpus for utterance in utterances}
    if corpora != {EMOSUPERB_CORPUS}:
        raise UsageError(f"emosuperb has folds for {EMOSUPERB_CORPUS}, not for {', '.join(sorted(corpora))}")
    blocks = [{f"{EMOSUPERB_CORPUS}-{actor}" for actor in range(first, last + 1)} for first, last in EMOSUPERB_BLOCKS]
    folds = [fold for fold in folds_of(utterances, blocks) if fold.test]
    if len(folds) < 2:
        raise UsageError("emosuperb needs actors of at least two of its blocks: " + _blocks())
    return folds


def _blocks() -> str:
    return ", ".join(f"{first} to {last}" for first, last in EMOSUPERB_BLOCKS)


def _random_fold(utterances: Sequence[Utterance], seed: int) -> Fold:
    """Cut each speaker's shuffled utterances, so that everyone is on all sides."""
    rng = random.Random(seed)
    parts: list[list[int]] = [[], [], []]
    for speaker in _speakers(utterances):
        rows = [row for row, utterance in enumerate(utterances) if utterance.speaker == speaker]
        rng.shuffle(rows)
        ends = [round(len(rows) * share) for share in accumulate(RANDOM_FRACTIONS, initial=0.0)]
        for part, (start, end) in zip(parts, pairwise(ends), strict=True):
            part.extend(rows[start:end])
    train, validation, test = ([utterances[row] for row in sorted(part)] for part in parts)
    return Fold(train, test, validation)


def _stratified_fold(utterances: Sequence[Utterance], share: float, seed: int) -> Fold:
    rng = random.Random(seed)
    test: set[int] = set()
    for emotion in sorted({utterance.emotion for utterance in utterances}):
        rows = [row for row, utterance in enumerate(utterances) if utterance.emotion == emotion]
        test.update(rng.sample(rows, int(len(rows) * share)))
    return Fold(
        train=[utterance for row, utterance in enumerate(utterances) if row not in test],
        test=[utterances[row] for row in sorted(test)],
    )


def _is_balanced(utterances: Sequence[Utterance]) -> bool:
    """Say whether all speakers show each emotion equally often; a recording may be missing here and there."""
    counts = Counter((utterance.emotion, utterance.speaker) for utterance in utterances)
    speakers = _speakers(utterances)
    for emotion in {utterance.emotion for utterance in utterances}:
        shown = [counts[emotion, speaker] for speaker in speakers]
        if max(shown) - min(shown) > max(1, max(shown) // 10):
            return False
    return True


def _speakers(utterances: Iterable[Utterance]) -> list[str]:
    return sorted({utterance.speaker for utterance in utterances})


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
