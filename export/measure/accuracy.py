"""Accuracy on one speaker-disjoint split, and its price: the bundle against openSMILE's functionals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from calibrate.dataset import Part
from calibrate.evaluate import evaluate_bundle
from calibrate.splits import Split
from edge.analyze import whole_file_waveform
from edge.audio import Waveform
from edge.recognizer import Recognizer
from export.bundle.check import opened
from export.measure import opensmile
from export.measure.opensmile import train_and_test, train_and_test_each
from export.measure.plan import Plan, label
from export.measure.report import Section, Table, Target
from export.rounds import RoundTimes, alternate, digits, limited

TIMED_CLIPS = 60
TIMED_ROUNDS = 3
POINTS = 15
RIVAL = "openSMILE ComParE"
NOTES = """\
UA is the mean recall over the labels of a corpus, on the fixed test speakers, who are in no training data. All
systems get the same samples, what is spoken in each file as the device cuts it. The bundle answers any of its
labels and does not know which corpus a clip is from. Nor does the SVM: linear, standardised on the training
speakers, corpora and labels weighing the same as in the bundle's training, C raised tenfold from 1e-6 until the mean
UA of the validation speakers gains no more. "SVM of the corpus" is trained on one corpus alone and knows it, which
the bundle is not.

Times are from samples to probabilities (bundle) or functionals (openSMILE), one thread, over the same {clips} test
clips of {low:.1f} to {high:.1f} s, which all systems get in turn, {rounds} times each."""

Uas = Mapping[str, float]


def measure(plan: Plan) -> Section:
    """Evaluate and time all systems on the test speakers of ``plan.data``."""
    parts = plan.parts()
    recognizers = {label(bundle): opened(bundle, 1) for bundle in plan.bundles}
    found: dict[str, Uas] = {
        name: {corpus: row.ua for corpus, row in evaluate_bundle(recognizer, parts["test"]).items()}
        for name, recognizer in recognizers.items()
    }
    penalties: dict[str, object] = {}
    for name in opensmile.FEATURE_SETS:
        _compare(name, plan, parts, found, penalties)
    waveforms = [whole_file_waveform(clip) for clip in plan.some(parts["test"].paths, TIMED_CLIPS)]
    times = _times(recognizers, waveforms)
    lengths_s = [len(waveform) / 16_000 for waveform in waveforms]
    notes = NOTES.format(clips=len(waveforms), rounds=TIMED_ROUNDS, low=min(lengths_s), high=max(lengths_s))
    figures = {
        "ua": found,
        "penalty": penalties,
        "per_clip": {name: timing.as_json() for name, timing in times.items()},
    }
    targets = _targets(next(iter(recognizers)), found, times)
    return Section("Accuracy, and its price", notes, [_table(parts["test"], found, times)], figures, targets)


def _compare(
    name: str, plan: Plan, parts: Mapping[Split, Part], found: dict[str, Uas], penalties: dict[str, object]
) -> None:
    functionals = opensmile.Functionals(opensmile.FEATURE_SETS[name])
    features = {split: functionals.table(part.paths, plan.cache) for split, part in parts.items()}
    one, each = train_and_test(parts, features), train_and_test_each(parts, features)
    found[f"{name}, SVM"] = one.ua
    found[f"{name}, SVM of the corpus"] = {corpus: result.ua[corpus] for corpus, result in each.items()}
    penalties[name] = {"all": one.penalty} | {corpus: result.penalty for corpus, result in each.items()}


def _times(recognizers: Mapping[str, Recognizer], waveforms: list[Waveform]) -> dict[str, RoundTimes]:
    """Return milliseconds per clip, one thread."""
    systems: dict[str, Callable[[Waveform], object]] = {
        name: lambda waveform, recognizer=recognizer: recognizer.probabilities([waveform])  # type: ignore[misc]
        for name, recognizer in recognizers.items()
    }
    systems |= {name: opensmile.Functionals(feature_set) for name, feature_set in opensmile.FEATURE_SETS.items()}
    values: dict[str, list[float]] = {name: [] for name in systems}
    with limited(1):
        for waveform in waveforms:
            turn = alternate({name: partial(system, waveform) for name, system in systems.items()}, TIMED_ROUNDS)
            for name, timing in turn.items():
                values[name].append(timing.median_ms)
    return {name: RoundTimes(tuple(medians)) for name, medians in values.items()}


def _table(test: Part, found: Mapping[str, Uas], times: Mapping[str, RoundTimes]) -> Table:
    corpora = list(dict.fromkeys(test.corpora.tolist()))
    header = ("system", *(f"{corpus}, n {(test.corpora == corpus).sum()}" for corpus in corpora), "mean", "ms a clip")
    rows = []
    for name, uas in found.items():
        shares = (*(uas[corpus] for corpus in corpora), _mean(uas))
        timed = next((str(timing) for system, timing in times.items() if name.startswith(system)), "")
        rows.append((name, *(f"{share:.3f}" for share in shares), timed))
    return Table("UA on the test speakers", header, rows)


def _targets(ours: str, found: Mapping[str, Uas], times: Mapping[str, RoundTimes]) -> list[Target]:
    rival = found[f"{RIVAL}, SVM"]
    gains = {corpus: 100 * (ua - rival[corpus]) for corpus, ua in found[ours].items()}
    gain = 100 * (_mean(found[ours]) - _mean(rival))
    each = ", ".join(f"{corpus} {points:+.1f}" for corpus, points in gains.items())
    own, other = times[ours].median_ms, times[RIVAL].median_ms
    return [
        Target(
            f"{ours}: faster than {RIVAL} functionals on the same clips, one thread",
            f"{digits(own)} ms against {digits(other)} ms a clip",
            own < other,
        ),
        Target(
            f"{ours}: mean UA at least {POINTS} points above {RIVAL} with an SVM on the same split",
            f"{gain:+.1f} ({each})",
            gain >= POINTS,
        ),
    ]


def _mean(uas: Uas) -> float:
    return float(np.mean(list(uas.values())))
