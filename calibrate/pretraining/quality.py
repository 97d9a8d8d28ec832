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
"""That an utterance is divided into, since its words come at about the same time whoever says them."""


class Quality(Record):
    """How good clusters are as targets.

    The shares of information are I(y; cluster) / H(y), as HuBERT's phone-normalised mutual information (Hsu et al.
    2021, section IV-C): the part of the uncertainty about ``y`` that a frame's cluster removes, 0 to 1; of speaker,
    emotion and content within each corpus. Of few frames they are too high: I by about (clusters - 1) *
    (values of y - 1) / (2 * frames) nats.
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
    content: float
    """Sentence and tenth of the utterance, in the place of phones; of sentences that several people say."""


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
    clusters = np.concatenate(rows)
    lengths = [len(row) for row in rows]
    tenths = np.concatenate([np.arange(length) * PARTS // max(length, 1) for length in lengths])

    def over_frames(values: Sequence[str]) -> Integers:
        return np.repeat(np.unique(values, return_inverse=True)[1], lengths)

    corpora = over_frames([each.corpus for each in utterances])
    content = over_frames([f"{each.sentence}" for each in utterances]) * PARTS + tenths
    shared = np.repeat(_said_by_several(utterances), lengths)
    use = np.bincount(clusters, minlength=targets.classes)
    return Quality(
        used=float((use > 0).mean()),
        perplexity=float(np.exp(_entropy(use)) / targets.classes),
        corpus=_share_known(corpora, clusters, np.zeros_like(corpora)),
        speaker=_share_known(over_frames([each.speaker for each in utterances]), clusters, corpora),
        emotion=_share_known(over_frames([each.emotion for each in utterances]), clusters, corpora),
        content=_share_known(content[shared], clusters[shared], corpora[shared]),
    )


def _said_by_several(utterances: Sequence[Utterance]) -> npt.NDArray[np.bool_]:
    """Return of which utterances the sentence is said by others too, ``bool[utterances]``."""
    speakers: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    for each in utterances:
        speakers[each.corpus, each.sentence].add(each.speaker)
    return np.array(
        [each.sentence is not None and len(speakers[each.corpus, each.sentence]) > 1 for each in utterances]
    )


def _share_known(values: Integers, clusters: Integers, groups: Integers) -> float:
    """Return I(values; clusters | groups) / H(values | groups), 0 where there is nothing to know; ``int64[frames]``."""
    information = uncertainty = 0.0
    for group in np.unique(groups):
        inside = groups == group
        found, codes = np.unique(values[inside], return_inverse=True)
        width = int(clusters.max()) + 1
        cells = np.bincount(codes * width + clusters[inside], minlength=len(found) * width).reshape(-1, width)
        information += inside.sum() * mutual_info_score(None, None, contingency=cells)
        uncertainty += inside.sum() * _entropy(cells.sum(axis=1))
    return float(information / uncertainty) if uncertainty else 0.0


def _entropy(counts: Integers) -> float:
    """Return the entropy in nats of ``int64[n]`` counts."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
