"""Values of speakers left out, shifted to what similar training speakers lead to expect."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from calibrate.bootstrap import Agreement, Estimate, concordance_and_correlation, drawn_counts
from calibrate.dataset import Part, Rows
from calibrate.experiments.enrolment import room_of
from calibrate.experiments.pldc.skew import MOST_ENROLLED
from calibrate.metrics import ENOUGH_CLIPS
from calibrate.recipe import ValueRecipe
from calibrate.streams import DeviceModel
from calibrate.value_targets import value_targets
from edge.adapt import VoiceProfile
from edge.arrays import Doubles, Matrix
from edge.value_shift import PersonalShift, ValueShift, ValueStatistics

Evaluation = Literal["transductive", "enrolled"]
EVALUATIONS: tuple[Evaluation, ...] = get_args(Evaluation)
DRAWS = 2_000
"""Of speakers, for an interval."""
SHIFTS = {
    "full": ValueShift(),
    "mu": ValueShift("mu"),
    "sigma": ValueShift("sigma"),
    "full, pooled": ValueShift(pooling="pooled"),
    "full, everyone": ValueShift(speakers=1_000_000),
    "full, shrunk": ValueShift(shrinkage=12.0),
    "mu, shrunk": ValueShift("mu", shrinkage=12.0),
    "full, gate .3": ValueShift(least_likeness=0.3),
}
"""What was tried."""
SHIFT_MEANING = {
    "none": "values as they are estimated, in the room, with the speaker's voice profile",
    "full": "mean and deviation become the averages of the 15 most similar training speakers' (the paper)",
    "mu": "the mean alone",
    "sigma": "the deviation alone",
    "full, pooled": "become mean and deviation of all their annotations together (the authors' code)",
    "full, everyone": "become the averages of all training speakers",
    "full, shrunk": "go clips / (clips + 12) of the way",
    "mu, shrunk": "the mean alone, as far",
    "full, gate .3": "only where the mean cosine of the 15 is .3 or more",
    "true": "full, to the mean and deviation of the speaker's own annotations, which nobody knows",
}
CHANGES = tuple(SHIFT_MEANING)


@dataclass(frozen=True)
class ValueCase:
    """What values are evaluated in."""

    setting: str
    evaluation: Evaluation
    value: str
    corpus: str


@dataclass
class Estimated:
    """What was estimated of one value, by change, and what is true: an array a speaker and draw."""

    true: list[Doubles] = field(default_factory=list)
    speakers: list[str] = field(default_factory=list)
    by_change: dict[str, list[Doubles]] = field(default_factory=lambda: defaultdict(list))

    def concordances(self, change: str) -> tuple[Estimate, Estimate | None]:
        """Return O-CCC, of all clips, and A-CCC, the mean of speakers with ``ENOUGH_CLIPS``; None without these."""
        names = np.repeat(self.speakers, [len(each) for each in self.true])
        sums = Agreement.of(np.concatenate(self.by_change[change]), np.concatenate(self.true), names).sums
        overall = concordance_and_correlation(sums.sum(axis=0, keepdims=True))[0]
        counts = drawn_counts(len(sums), DRAWS)
        drawn = concordance_and_correlation(counts @ sums)[0] if len(sums) > 1 else None
        return Estimate(float(overall[0]), drawn), self._average(sums)

    def _average(self, sums: Doubles) -> Estimate | None:
        varies = sums[:, 4] / sums[:, 0] - (sums[:, 2] / sums[:, 0]) ** 2 > 1e-9
        enough = varies & (sums[:, 0] >= ENOUGH_CLIPS)
        own = concordance_and_correlation(sums[enough])[0]
        if not len(own):
            return None
        drawn = drawn_counts(len(own), DRAWS) @ own / len(own) if len(own) > 1 else None
        return Estimate(float(own.mean()), drawn)


EstimatedValues = dict[ValueCase, Estimated]


def estimate_part(
    found: EstimatedValues,
    setting: str,
    model: DeviceModel,
    part: Part,
    embeddings: Matrix,
    values: tuple[ValueRecipe, ...],
    seeds: int,
) -> None:
    """Estimate the values of every speaker of a part, with every change, and add them to ``found``.

    Args:
        found: what was estimated before.
        setting: how the model came about.
        model: never trained on anybody of the part.
        part: utterances of one corpus.
        embeddings: theirs, ``float32[n, dim]``.
        values: of the recipe; those that the model does not estimate, and nobody of the part has, are left out.
        seeds: draws of an enrolment.
    """
    readout = model.head.values
    if readout is None:
        return
    values = tuple(value for value in values if value.name in readout.names)
    targets = value_targets(part, model.population.labels, values)
    for seed in range(seeds):
        room = room_of(model, embeddings, seed)
        for speaker in np.unique(part.speakers).tolist():
            rows = np.flatnonzero(part.speakers == speaker)
            for evaluation, learnt, tested in _splits(rows, seed, speaker):
                changed = change_values(model, embeddings[learnt], embeddings[tested], targets[tested], room)
                for column, value in enumerate(values):
                    known = ~np.isnan(targets[tested, column])
                    if known.any():
                        case = ValueCase(setting, evaluation, value.name, str(part.corpora[0]))
                        estimated = found.setdefault(case, Estimated())
                        estimated.speakers.append(speaker)
                        estimated.true.append(targets[tested, column][known])
                        for change, shifted in changed.items():
                            estimated.by_change[change].append(shifted[known, column].astype(np.float64))


def _splits(rows: Rows, seed: int, speaker: str) -> Iterator[tuple[Evaluation, Rows, Rows]]:
    """Yield what statistics come from, and what is tested: the same rows, or random others."""
    if not seed:
        yield "transductive", rows, rows
    order = np.random.default_rng([seed, zlib.crc32(speaker.encode())]).permutation(rows)
    count = min(MOST_ENROLLED, len(rows) // 2)
    if count:
        yield "enrolled", order[:count], order[count:]


def change_values(
    model: DeviceModel, learnt: Matrix, tested: Matrix, targets: Doubles, room: Matrix
) -> dict[str, Matrix]:
    """Return values of a speaker's test clips after every change, ``float32[tested, values]`` each.

    Args:
        model: with a read-out.
        learnt: ``float32[clips, dim]``, that the speaker's profile and statistics come from.
        tested: ``float32[tested, dim]``.
        targets: ``float64[tested, values]``, for the change by what is true.
        room: offset ``float32[dim]``.
    """
    readout, population = model.head.values, model.population
    assert readout is not None
    profile = VoiceProfile.estimate(population, model.head, learnt, room=room)
    assert profile.values is not None
    offset = profile.offset(room)
    estimates = readout.estimate(tested - offset)
    found = {"none": estimates}
    for name, shift in SHIFTS.items():
        personal = PersonalShift.of(shift, population, readout, profile.values, offset)
        assert personal is not None
        found[name] = personal.apply(estimates)
    true = _true_statistics(targets, estimates)
    found["true"] = ValueShift().apply(estimates, profile.values, true, bounds=readout.bounds)
    return found


def _true_statistics(targets: Doubles, estimates: Matrix) -> ValueStatistics:
    """Return those of the annotations; of a value that has none, those of what was estimated."""
    known = np.where(np.isnan(targets).all(axis=0), estimates, targets)
    mean, deviation = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
    return replace(ValueStatistics.of(estimates), mean=mean.astype(np.float32), deviation=deviation.astype(np.float32))
