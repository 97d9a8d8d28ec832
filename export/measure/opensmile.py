"""openSMILE's functionals (Eyben et al. 2013), the classical features, and a linear support vector machine on them.

The package is an extra, ``bench``; openSMILE's licence is for research and private use only.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from calibrate.cache import cached_arrays
from calibrate.dataset import Part, Rows
from calibrate.metrics import ua_by
from calibrate.progress import progress_bar
from calibrate.splits import Split
from edge.analyze import whole_file_waveform
from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform

FEATURE_SETS = {"openSMILE eGeMAPS": "eGeMAPSv02", "openSMILE ComParE": "ComParE_2016"}
"""Name in tables to name in openSMILE."""


PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Tried in this order until the validation speakers gain no more; every step takes several times longer."""

Features = Mapping[Split, npt.NDArray[np.float32]]
"""``float32[utterances, features]`` of each part."""


def installed() -> bool:
    """Return whether the package is there."""
    return importlib.util.find_spec("opensmile") is not None


class Functionals:
    """Utterance-level features of one feature set."""

    def __init__(self, feature_set: str) -> None:
        import opensmile  # noqa: PLC0415 - an extra

        self.name = f"{feature_set}-{opensmile.__version__}"
        self._smile = opensmile.Smile(opensmile.FeatureSet[feature_set], opensmile.FeatureLevel.Functionals)

    def __call__(self, waveform: Waveform) -> Matrix:
        """Return ``float32[features]`` of ``float32[samples]`` at 16 kHz; what is undefined in silence is zero."""
        # The call without pandas around it, which costs milliseconds.
        features = np.asarray(self._smile(waveform, SAMPLE_RATE_HZ), np.float32).reshape(-1)
        return np.nan_to_num(features)

    def table(self, paths: Sequence[Path], cache: Path) -> npt.NDArray[np.float32]:
        """Return ``float32[clips, features]`` of what is spoken in each, kept in a file of its own under ``cache``."""
        with progress_bar() as progress:
            tracked = progress.track(paths, description=self.name)
            return np.stack([self._cached(whole_file_waveform(path), cache) for path in tracked])

    def _cached(self, waveform: Waveform, cache: Path) -> Matrix:
        described = [self.name, hashlib.sha256(waveform.tobytes()).hexdigest()]
        kept = cached_arrays(cache, "opensmile", described, lambda: {"features": self(waveform)})
        return np.asarray(kept["features"])


@dataclass(frozen=True)
class Result:
    """What the best machine does with the test speakers."""

    ua: dict[str, float]
    """Corpus to unweighted accuracy."""
    penalty: float
    """Its C."""


def linear_machine(penalty: float) -> LinearSVC:
    """Return a linear support vector machine with this C, not yet trained."""
    return LinearSVC(C=penalty, dual="auto", tol=1e-3, random_state=0, max_iter=2_000)


def train_and_test(parts: Mapping[Split, Part], features: Features) -> Result:
    """Train on the training speakers, choose C on the validation speakers, and test on the test speakers.

    Every corpus weighs the same, and every label within its corpus.
    """
    scaler = StandardScaler().fit(features["train"])
    scaled = {split: scaler.transform(table) for split, table in features.items()}
    weights = parts["train"].balanced_weights() * len(parts["train"].labels)
    best: tuple[float, float, LinearSVC] | None = None
    for penalty in PENALTIES:
        machine = linear_machine(penalty)
        machine.fit(scaled["train"], parts["train"].labels, sample_weight=weights)
        found = _ua(parts["validation"], machine.predict(scaled["validation"]))
        score = float(np.mean(list(found.values())))
        if best and score <= best[0]:
            break
        best = score, penalty, machine
    assert best
    _, penalty, machine = best
    return Result(_ua(parts["test"], machine.predict(scaled["test"])), penalty)


def train_and_test_each(parts: Mapping[Split, Part], features: Features) -> dict[str, Result]:
    """Do the same with a machine for each corpus, which thereby knows the corpus."""
    results = {}
    for corpus in dict.fromkeys(parts["test"].corpora.tolist()):
        rows = {split: part.corpora == corpus for split, part in parts.items()}
        mine = {split: part.select(rows[split]) for split, part in parts.items()}
        results[corpus] = train_and_test(mine, {split: features[split][rows[split]] for split in rows})
    return results


def _ua(part: Part, predicted: Rows) -> dict[str, float]:
    return ua_by(part.corpora, predicted, part.labels)
