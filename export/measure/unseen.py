"""Accuracy on corpora left out: openSMILE with an SVM of the other corpora, beside what ours were measured at."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from calibrate.bootstrap import Estimate, Tally
from calibrate.dataset import Part, Rows, is_halved, read_whole
from calibrate.metrics import unweighted_accuracy
from calibrate.recipe import read_recipe
from calibrate.splits import half_of
from edge.errors import UsageError
from export.measure.opensmile import FEATURE_SETS, PENALTIES, Functionals, linear_machine
from export.measure.plan import Plan
from export.measure.report import Section, Table

OURS = Path("docs/models/generalise/generalisation.json")
"""What ``affectd-calibrate generalise`` wrote of the recipe."""
RIVAL = "openSMILE ComParE"
DRAWS = 1_000
MEAN = "mean"
NOTES = """\
Each corpus is answered by models that learnt from the others alone; EMOVO is never learnt from. UA is the mean recall
over the labels that the corpus has, answers restricted to them as far as the others taught them (what they did not
teach is never right), in brackets 95 % intervals over its speakers; every utterance alone, in no room, of what is
spoken in its file. Ours is the recipe of the default bundle, read from `{ours}`, which
`affectd-calibrate generalise` measured. The SVM learns from the same utterances, everyday speech as neutral included,
with the recipe's weights, linear and standardised on them; C is raised tenfold from 1e-6 until the mean UA on the
corpora that it learns from, each left out in turn, gains no more."""


@dataclass(frozen=True)
class Machine:
    """A linear machine that answers only some labels, if that is wanted."""

    scaler: StandardScaler
    svm: LinearSVC

    def predict(self, features: npt.NDArray[np.float32], allowed: Rows) -> Rows:
        """Return the label of ``float32[n, features]`` that scores most among ``allowed``, ``int64[n]``."""
        scores = self.svm.decision_function(self.scaler.transform(features))
        if scores.ndim == 1:
            scores = np.stack([-scores, scores], axis=1)
        known = np.isin(self.svm.classes_, allowed)
        best: Rows = self.svm.classes_[known][scores[:, known].argmax(axis=1)]
        return best


class Corpora:
    """Utterances of several corpora with their features, and machines trained on choices of the corpora.

    Args:
        part: every utterance that may be trained or tested on.
        features: ``float32[utterances, features]``.
    """

    def __init__(self, part: Part, features: npt.NDArray[np.float32]) -> None:
        self.part, self.features = part, features
        self._corpora = part.corpora
        self._allowed = _may_train(part)
        names = dict.fromkeys(self._corpora.tolist())
        self.tested = [name for name in names if len(np.unique(part.labels[self._corpora == name])) > 1]
        """Corpora of several labels; the others are everyday speech, which every machine is trained on."""
        self.names = frozenset(name for name in self.tested if self._allowed[self._corpora == name].any())
        """Those of them that may be trained on."""
        self._everyday = [name for name in names if name not in self.tested]
        self._machines: dict[tuple[frozenset[str], float], Machine] = {}

    def allowed(self, corpus: str, names: Collection[str]) -> Rows:
        """Return the labels of a corpus that some corpora teach."""
        present = self.part.labels[self._corpora == corpus]
        taught = self.part.labels[self._training(names)]
        return np.intersect1d(present, taught)

    def answer(self, corpus: str, names: frozenset[str], penalty: float) -> tuple[Part, Rows]:
        """Return the utterances of a corpus, and what a machine trained on others answers."""
        rows = self._corpora == corpus
        machine = self._machine(names, penalty)
        return self.part.select(rows), machine.predict(self.features[rows], self.allowed(corpus, names))

    def penalty(self, names: frozenset[str]) -> float:
        """Return the C that does best on these corpora, each left out in turn.

        Raises:
            UsageError: there is one corpus only.
        """
        if len(names) < 2:
            raise UsageError("leaving out a corpus and choosing C takes three corpora of several labels that train")
        best = (-1.0, PENALTIES[0])
        for penalty in PENALTIES:
            found = [self.answer(name, names - {name}, penalty) for name in sorted(names)]
            score = float(np.mean([unweighted_accuracy(predicted, part.labels) for part, predicted in found]))
            if score <= best[0]:
                break
            best = score, penalty
        return best[1]

    def _machine(self, names: frozenset[str], penalty: float) -> Machine:
        if (names, penalty) not in self._machines:
            rows = self._training(names)
            part, features = self.part.select(rows), self.features[rows]
            scaler = StandardScaler().fit(features)
            weights = part.balanced_weights() * len(part.labels)
            svm = linear_machine(penalty).fit(scaler.transform(features), part.labels, sample_weight=weights)
            self._machines[names, penalty] = Machine(scaler, svm)
        return self._machines[names, penalty]

    def _training(self, names: Collection[str]) -> npt.NDArray[np.bool_]:
        return self._allowed & np.isin(self._corpora, [*names, *self._everyday])


def measure(plan: Plan) -> Section:
    """Leave out each corpus in turn."""
    if plan.data is None:
        raise UsageError("without --data there are no corpora")
    parts = read_whole(read_recipe(plan.recipe), plan.data)
    whole = Part(
        [utterance for part in parts for utterance in part.utterances],
        np.concatenate([part.labels for part in parts]),
        parts[0].origins,
    )
    functionals = Functionals(FEATURE_SETS[RIVAL])
    corpora = Corpora(whole, functionals.table(whole.paths, plan.cache))
    rival, penalties = leave_out(corpora)
    ours = read_ours(OURS)
    counts = {corpus: int((whole.corpora == corpus).sum()) for corpus in corpora.tested}
    figures = {
        "ours": ours,
        RIVAL: {corpus: estimate.values() for corpus, estimate in rival.items()},
        "penalty": penalties,
        "utterances": counts,
    }
    notes = NOTES.format(ours=OURS)
    return Section("Accuracy on corpora left out", notes, [_table(ours, rival, counts)], figures)


def leave_out(corpora: Corpora) -> tuple[dict[str, Estimate], dict[str, float]]:
    """Return UA by corpus and their mean, and the C that was chosen without each corpus."""
    found, penalties = {}, {}
    for seed, corpus in enumerate(corpora.tested):
        names = corpora.names - {corpus}
        penalties[corpus] = corpora.penalty(names)
        part, predicted = corpora.answer(corpus, names, penalties[corpus])
        tally = Tally.of(predicted == part.labels, part.labels, part.speakers)
        found[corpus] = Estimate(tally.ua, tally.draws(DRAWS, seed))
    return found | {MEAN: Estimate.mean(list(found.values()))}, penalties


def read_ours(path: Path) -> dict[str, dict[str, Any]]:
    """Return UA of ours by corpus and their mean, each with its interval, of utterances alone."""
    record = json.loads(path.read_text(encoding="utf-8"))
    return {row["corpus"]: row["without"]["ua"] for row in record["left_out"] if row["as"] == "files"}


def _may_train(part: Part) -> npt.NDArray[np.bool_]:
    origins = [part.origins[utterance.corpus] for utterance in part.utterances]
    only_tested = [
        origin.role == "test" or (is_halved(origin) and half_of(utterance.speaker) == "test")
        for origin, utterance in zip(origins, part.utterances, strict=True)
    ]
    return ~np.array(only_tested, bool)


def _table(ours: Mapping[str, Any], rival: Mapping[str, Estimate], counts: Mapping[str, int]) -> Table:
    columns = [*counts, MEAN]
    header = ("system", *(f"{corpus}, n {count}" for corpus, count in counts.items()), MEAN)
    theirs = {corpus: estimate.values() for corpus, estimate in rival.items()}
    rows = [
        (name, *(_cell(values[corpus]) if corpus in values else "" for corpus in columns))
        for name, values in (("ours, the recipe of default", ours), (f"{RIVAL}, SVM", theirs))
    ]
    gains = (
        f"{100 * (ours[corpus]['value'] - theirs[corpus]['value']):+.1f}" if corpus in ours else ""
        for corpus in columns
    )
    return Table("UA on corpora left out", header, [*rows, ("ours, points above", *gains)])


def _cell(estimate: Mapping[str, Any]) -> str:
    interval = estimate["interval"]
    return f"{estimate['value']:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")
