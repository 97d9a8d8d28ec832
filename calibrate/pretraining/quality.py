"""What clusters of frames stand for: how evenly they are used, and how much they tell of what is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from sklearn.metrics import mutual_info_score

from calibrate.corpora import Utterance
from edge.arrays import Integers
from edge.records import Record

PARTS = 10
"""That an utterance is divided into, since a sentence's words come at about the same time whoever says them."""


class Quality(Record):
    """How good clusters are as targets.

    The shares are I(y; cluster) / H(y), as HuBERT's phone-normalised mutual information (Hsu et al. 2021, section
    IV-C): the part of the uncertainty about ``y`` that a frame's cluster removes. Speaker, emotion and sentence are
    taken within each corpus and adjusted for chance (Vinh et al. 2010): (I - I0) / (H - I0), where I0 is I after ``y``
    was dealt out anew among the utterances; so 0 is chance, or less, whatever the numbers of clusters and of frames.
    """

    used: float
    """Share of the clusters that hold any frame."""
    perplexity: float
    """exp(entropy of the clusters' use, in nats) / clusters: 1 when all hold as many frames."""
    corpus: float
    """Of which corpus a frame is, 0 with one corpus: high for clusters of rooms and languages."""
    speaker: float
    """Who speaks."""
    emotion: float
    """The label, as the corpus calls it."""
    sentence: float
    """Which of the sentences that several people say, given the tenth of the utterance: in the place of phones."""
    tenth: float
    """Which tenth of the utterance: with little about the sentence, the clusters are of time, not of sound."""


class FrameClasses(Protocol):
    """The cluster of every frame of a list of utterances."""

    @property
    def classes(self) -> int:
        """Number of clusters."""

    def of(self, row: int) -> Integers:
        """Return ``int64[frames]`` of an utterance."""


def measure(targets: FrameClasses, utterances: Sequence[Utterance]) -> Quality:
    """Return the quality of targets, of which row ``n`` belongs to utterance ``n``."""
    rows = [targets.of(row) for row in range(len(utterances))]
    lengths = [len(row) for row in rows]
    clusters = np.concatenate(rows)
    tenths = np.concatenate([np.arange(length) * PARTS // max(length, 1) for length in lengths])
    corpora = _codes([each.corpus for each in utterances])
    dealt = _within(corpora)

    def adjusted(values: Sequence[str | None], inside: npt.NDArray[np.bool_], given: Integers) -> float:
        codes, kept = _codes([f"{value}" for value in values]), np.repeat(inside, lengths)
        given = (np.repeat(corpora, lengths) * PARTS + given)[kept]
        known, total = _information(np.repeat(codes, lengths)[kept], clusters[kept], given)
        chance, _ = _information(np.repeat(codes[dealt], lengths)[kept], clusters[kept], given)
        return max(0.0, known - chance) / (total - chance) if total - chance > 1e-9 else 0.0

    def plain(values: Integers) -> float:
        known, total = _information(values, clusters, np.zeros_like(values))
        return known / total if total else 0.0

    everywhere, use = np.ones(len(utterances), np.bool_), np.bincount(clusters, minlength=targets.classes)
    return Quality(
        used=float((use > 0).mean()),
        perplexity=float(np.exp(_entropy(use)) / targets.classes),
        corpus=plain(np.repeat(corpora, lengths)),
        speaker=adjusted([each.speaker for each in utterances], everywhere, np.zeros_like(tenths)),
        emotion=adjusted([each.emotion for each in utterances], everywhere, np.zeros_like(tenths)),
        sentence=adjusted([each.sentence for each in utterances], _said_by_several(utterances), tenths),
        tenth=plain(tenths),
    )


def _codes(values: Sequence[str]) -> Integers:
    return np.unique(values, return_inverse=True)[1]


def _within(groups: Integers) -> Integers:
    """Return a random order of rows, ``int64[rows]``, that leaves each in a place of its group."""
    random = np.random.default_rng(0)
    order = np.empty_like(groups)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        order[rows] = random.permutation(rows)
    return order


def _said_by_several(utterances: Sequence[Utterance]) -> npt.NDArray[np.bool_]:
    """Return of which utterances the sentence is said by others too, ``bool[utterances]``."""
    speakers: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    for each in utterances:
        speakers[each.corpus, each.sentence].add(each.speaker)
    return np.array(
        [each.sentence is not None and len(speakers[each.corpus, each.sentence]) > 1 for each in utterances]
    )


def _information(values: Integers, clusters: Integers, given: Integers) -> tuple[float, float]:
    """Return I(values; clusters | given) and H(values | given) in nats, all ``int64[frames]``."""
    information = uncertainty = 0.0
    for group in np.unique(given):
        inside = given == group
        found, codes = np.unique(values[inside], return_inverse=True)
        width = int(clusters.max()) + 1
        cells = np.bincount(codes * width + clusters[inside], minlength=len(found) * width).reshape(-1, width)
        share = inside.sum() / len(given)
        information += share * float(mutual_info_score(None, None, contingency=cells))
        uncertainty += share * _entropy(cells.sum(axis=1))
    return information, uncertainty


def _entropy(counts: Integers) -> float:
    """Return the entropy in nats of ``int64[n]`` counts."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
