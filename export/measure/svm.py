"""The classical recogniser: standardised functionals and a linear support vector machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from calibrate.dataset import Part, Rows
from calibrate.metrics import unweighted_accuracy
from calibrate.splits import Split

PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Tried in this order until the validation speakers gain no more; every step takes several times longer."""

Features = Mapping[Split, npt.NDArray[np.float32]]
"""``float32[utterances, features]`` of each part."""


@dataclass(frozen=True)
class Result:
    """What the best machine does with the test speakers."""

    ua: dict[str, float]
    """Corpus to unweighted accuracy."""
    penalty: float
    """Its C."""


def train_and_test(parts: Mapping[Split, Part], features: Features) -> Result:
    """Train on the training speakers, choose C on the validation speakers, and test on the test speakers.

    Every corpus weighs the same, and every label within its corpus.
    """
    scaler = StandardScaler().fit(features["train"])
    scaled = {split: scaler.transform(table) for split, table in features.items()}
    weights = parts["train"].balanced_weights() * len(parts["train"].labels)
    best: tuple[float, float, LinearSVC] | None = None
    for penalty in PENALTIES:
        machine = LinearSVC(C=penalty, dual="auto", tol=1e-3, random_state=0, max_iter=2_000)
        machine.fit(scaled["train"], parts["train"].labels, sample_weight=weights)
        found = by_corpus(parts["validation"], machine.predict(scaled["validation"]))
        score = float(np.mean(list(found.values())))
        if best and score <= best[0]:
            break
        best = score, penalty, machine
    assert best
    _, penalty, machine = best
    return Result(by_corpus(parts["test"], machine.predict(scaled["test"])), penalty)


def train_and_test_each(parts: Mapping[Split, Part], features: Features) -> dict[str, Result]:
    """Do the same with a machine for each corpus, which is told the corpus."""
    results = {}
    for corpus in dict.fromkeys(parts["test"].corpora.tolist()):
        rows = {split: part.corpora == corpus for split, part in parts.items()}
        mine = {split: part.select(rows[split]) for split, part in parts.items()}
        results[corpus] = train_and_test(mine, {split: features[split][rows[split]] for split in rows})
    return results


def by_corpus(part: Part, predicted: Rows) -> dict[str, float]:
    """Return the UA of each corpus of a part."""
    corpora = part.corpora
    return {
        str(corpus): unweighted_accuracy(predicted[corpora == corpus], part.labels[corpora == corpus])
        for corpus in dict.fromkeys(corpora.tolist())
    }
