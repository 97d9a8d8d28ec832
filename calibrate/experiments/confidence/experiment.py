"""Confidence of a trained model: fitted on validation speakers, measured on test speakers."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from calibrate.dataset import read_parts, require_speakers
from calibrate.experiments.confidence.calibration import (
    TEMPERATURES,
    Calibration,
    Confidences,
    calibrate,
    coverage_curve,
    operating_point,
)
from calibrate.report import Note, Picture, Report, Table, legend_below, rounded
from calibrate.trained import open_trained, protocol_of
from calibrate.workspace import Workspace
from edge.settings import DecisionSettings

MEANING = "every corpus weighs the same, and every label within it"


def measure_confidence(
    workspace: Workspace, folder: Path, *, recipe_path: Path | None, encoder: str | None, wanted: float
) -> Report:
    """Measure how far the confidence of a run or a bundle can be trusted, and find a review threshold.

    Args:
        wanted: accuracy of the answers that nobody reviews.
    """
    model = open_trained(workspace, folder, encoder)
    recipe = model.recipe(recipe_path)
    parts = read_parts(recipe, workspace.data)
    validation, test = (require_speakers(parts, split) for split in ("validation", "test"))
    found = calibrate(model.answer(validation), model.answer(test), model.temperature, wanted)
    fitted_on = len(set(validation.speakers.tolist()))
    reported_on = protocol_of([model], recipe, test, "test")
    return calibration_report(found, f"fitted on the {fitted_on} validation speakers, reported on {reported_on}")


def calibration_report(found: Calibration, protocol: str) -> Report:
    """Return the report that is ``calibration.md``, ``.json``, ``reliability.png`` and ``coverage.png``."""
    errors = found.corpus_error | {f"together, {MEANING}": {name: row.error for name, row in found.reliability.items()}}
    temperatures = (
        f"Temperature: {found.temperature:.3f} as shipped, "
        f"{found.fitted_temperature:.3f} fitted on the validation speakers."
    )
    return Report(
        ("calibration.md", "calibration.json"),
        "Confidence",
        protocol,
        content_of(found),
        [
            Note(temperatures),
            Table(
                ("expected calibration error", *TEMPERATURES),
                [(name, *(row[temperature] for temperature in TEMPERATURES)) for name, row in errors.items()],
            ),
            _thresholds(found),
            *(Note(text) for text in advice(found)),
            Note(f"Protocol: {protocol}.", medium="terminal"),
            Picture("reliability.png", "reliability", partial(_draw_reliability, found=found), (12, 4)),
            Picture("coverage.png", "coverage and accuracy", partial(_draw_coverage, found=found), (5.5, 4)),
        ],
        closing="report written to {out}/calibration.md",
    )


def _thresholds(found: Calibration) -> Table:
    """Return coverage and accuracy of both sets of speakers, without a threshold, at the default and at that found."""
    default = DecisionSettings().review_threshold
    thresholds = {"none": 0.0, f"{default} (default)": default}
    if found.threshold is not None:
        thresholds[f"{found.threshold} (for {found.wanted:.0%})"] = found.threshold
    rows = []
    for name, threshold in thresholds.items():
        points = [operating_point(answers, threshold) for answers in (found.validation, found.test)]
        shares = [share for point in points for share in (point.coverage, point.accuracy)]
        rows.append([name, *("-" if math.isnan(share) else f"{share:.1%}" for share in shares)])
    columns = ("review threshold", "validation: coverage", "accuracy", "test: coverage", "accuracy")
    return Table(columns, rows)


def advice(found: Calibration) -> list[str]:
    """Return what to put into the settings, or why nothing."""
    if found.threshold is None:
        thresholds, coverages, accuracies = coverage_curve(found.validation)
        best = int(accuracies.argmax())
        return [
            f"No threshold reaches an accuracy of {found.wanted:.0%} on the validation speakers; the most is "
            f"{accuracies[best]:.1%}, from a confidence of {thresholds[best]:.3f} on, "
            f"with a coverage of {coverages[best]:.1%}."
        ]
    low, high = found.interval()
    return [
        f"Accuracy of the answers above it on the test speakers: 95 % interval {low:.1%} to {high:.1%}, over speakers.",
        f"In the settings, for {found.wanted:.0%} right without review ({MEANING}; people who are not enrolled):\n\n"
        f"    [decision]\n    review_threshold = {found.threshold}",
    ]


def content_of(found: Calibration) -> dict[str, object]:
    """Return the report as JSON values, the curves included."""
    described: dict[str, object] = {
        "temperature": found.temperature,
        "fitted_temperature": found.fitted_temperature,
        "ece": {name: row.error for name, row in found.reliability.items()},
        "corpora": found.corpus_error,
        "wanted_accuracy": found.wanted,
        "review_threshold": found.threshold,
    }
    for name, answers in (("validation", found.validation), ("test", found.test)):
        curve = zip(("threshold", "coverage", "accuracy"), coverage_curve(answers), strict=True)
        described[name] = {
            "at_threshold": _at(answers, found.threshold),
            "curve": {of: values.tolist() for of, values in curve},
        }
    if found.threshold is not None:
        described["test_accuracy_interval"] = [_known(bound) for bound in found.interval()]
    return rounded(described) | {"wanted_accuracy": found.wanted, "review_threshold": found.threshold}


def _at(answers: Confidences, threshold: float | None) -> dict[str, float | None] | None:
    if threshold is None:
        return None
    point = operating_point(answers, threshold)
    return {"coverage": _known(point.coverage), "accuracy": _known(point.accuracy)}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _draw_reliability(figure: Figure, found: Calibration) -> None:
    """Draw accuracy against confidence, a panel a temperature; the area of a point is its share of the utterances."""
    panels = figure.subplots(1, 3, sharey=True)
    for axes, (name, row) in zip(panels, found.reliability.items(), strict=True):
        axes.plot((0, 1), (0, 1), color="0.6", linewidth=1)
        axes.plot(row.confidence, row.accuracy, color="C0", linewidth=1)
        axes.scatter(row.confidence, row.accuracy, s=600 * row.mass, color="C0", alpha=0.7)
        axes.set_title(f"{name}: ECE {row.error:.3f}")
        axes.set_xlabel("confidence")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
    panels[0].set_ylabel("accuracy, test speakers")


def _draw_coverage(figure: Figure, found: Calibration) -> None:
    """Draw accuracy against coverage, and both at the review threshold."""
    axes = figure.subplots()
    for index, (name, answers) in enumerate((("validation", found.validation), ("test", found.test))):
        _, coverages, accuracies = coverage_curve(answers)
        axes.plot(coverages, accuracies, color=f"C{index}", label=f"{name} speakers")
        if found.threshold is not None:
            point = operating_point(answers, found.threshold)
            axes.plot(point.coverage, point.accuracy, color=f"C{index}", marker="o")
    axes.axhline(found.wanted, color="0.6", linewidth=1, linestyle=":")
    axes.set_title("no threshold reaches it" if found.threshold is None else f"review_threshold = {found.threshold}")
    axes.set_xlabel("coverage: share answered without review")
    axes.set_ylabel("accuracy of these")
    legend_below(figure, [axes])
