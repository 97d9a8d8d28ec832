"""The report on confidence, and the work behind ``affectd-calibrate calibrated``."""

from __future__ import annotations

import json
import math
from pathlib import Path

import matplotlib as mpl
import torch

from calibrate.dataset import read_parts, require_speakers
from calibrate.experiments.confidence import (
    TEMPERATURES,
    Calibration,
    Confidences,
    OperatingPoint,
    calibrate,
    coverage_curve,
    operating_point,
)
from calibrate.trained import open_trained, protocol_of
from calibrate.workspace import Workspace
from edge.settings import DecisionSettings

mpl.use("Agg")
from matplotlib import pyplot as plt

MEANING = "every corpus weighs the same, and every label within it"


def calibrate_model(
    folder: Path,
    data: Path,
    recipe_path: Path | None,
    out: Path,
    encoder: str | None,
    *,
    wanted: float,
    cache: Path,
    threads: int,
    as_json: bool,
) -> None:
    """Calibrate a run or bundle and write the report to ``out``; see the command's help."""
    torch.set_num_threads(threads)
    model = open_trained(Workspace(data, cache, threads), folder, encoder)
    recipe = model.recipe(recipe_path)
    parts = read_parts(recipe, data)
    validation, test = (require_speakers(parts, split) for split in ("validation", "test"))
    found = calibrate(model.answer(validation), model.answer(test), model.temperature, wanted)
    fitted_on = len(set(validation.speakers.tolist()))
    protocol = (
        f"fitted on the {fitted_on} validation speakers, reported on {protocol_of([model], recipe, test, 'test')}"
    )
    write_calibration(out, found, protocol)
    if as_json:
        print(json.dumps(as_values(found, protocol)))
    else:
        print(markdown(found, protocol), end="")
        print(f"\nreport written to {out / 'calibration.md'}")


def write_calibration(out: Path, found: Calibration, protocol: str) -> None:
    """Write ``calibration.md``, ``calibration.json``, ``reliability.png`` and ``coverage.png`` to ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    pictures = "\n![reliability](reliability.png)\n\n![coverage and accuracy](coverage.png)\n"
    (out / "calibration.md").write_text(markdown(found, protocol) + pictures, encoding="utf-8")
    described = json.dumps(as_values(found, protocol), indent=1)
    (out / "calibration.json").write_text(described + "\n", encoding="utf-8")
    draw_reliability(out / "reliability.png", found)
    draw_coverage(out / "coverage.png", found)


def markdown(found: Calibration, protocol: str) -> str:
    """Return the report as Markdown, without its pictures."""
    lines = [f"Protocol: {protocol}.", ""]
    lines.append(
        f"Temperature: {found.temperature:.3f} as shipped, "
        f"{found.fitted_temperature:.3f} fitted on the validation speakers."
    )
    lines += ["", f"| expected calibration error | {' | '.join(TEMPERATURES)} |", "|---|---|---|---|"]
    cells = found.corpus_error | {f"together, {MEANING}": {name: row.error for name, row in found.reliability.items()}}
    lines += [
        f"| {name} | {' | '.join(f'{row[temperature]:.3f}' for temperature in TEMPERATURES)} |"
        for name, row in cells.items()
    ]
    lines += [
        "",
        "| review threshold | validation: coverage | accuracy | test: coverage | accuracy |",
        "|---|---|---|---|---|",
    ]
    default = DecisionSettings().review_threshold
    thresholds = {"none": 0.0, f"{default} (default)": default}
    if found.threshold is not None:
        thresholds[f"{found.threshold} (for {found.wanted:.0%})"] = found.threshold
    for name, threshold in thresholds.items():
        points = [operating_point(answers, threshold) for answers in (found.validation, found.test)]
        lines.append(f"| {name} | {' | '.join(_point(point) for point in points)} |")
    return "\n".join([*lines, "", *advice(found)]) + "\n"


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
        "",
        f"In the settings, for {found.wanted:.0%} right without review ({MEANING}; people who are not enrolled):",
        "",
        "    [decision]",
        f"    review_threshold = {found.threshold}",
    ]


def as_values(found: Calibration, protocol: str) -> dict[str, object]:
    """Return the report as JSON values, the curves included."""
    described: dict[str, object] = {
        "protocol": protocol,
        "temperature": round(found.temperature, 4),
        "fitted_temperature": round(found.fitted_temperature, 4),
        "ece": {name: round(row.error, 4) for name, row in found.reliability.items()},
        "corpora": {
            name: {temperature: round(error, 4) for temperature, error in row.items()}
            for name, row in found.corpus_error.items()
        },
        "wanted_accuracy": found.wanted,
        "review_threshold": found.threshold,
    }
    for name, answers in (("validation", found.validation), ("test", found.test)):
        curve = [[round(float(value), 4) for value in values] for values in coverage_curve(answers)]
        named = dict(zip(("threshold", "coverage", "accuracy"), curve, strict=True))
        described[name] = {"at_threshold": _values(answers, found.threshold), "curve": named}
    if found.threshold is not None:
        described["test_accuracy_interval"] = [_rounded(bound) for bound in found.interval()]
    return described


def draw_reliability(path: Path, found: Calibration) -> None:
    """Draw accuracy against confidence, a panel a temperature; the area of a point is its share of the utterances."""
    picture, places = plt.subplots(1, 3, figsize=(12, 4), layout="constrained", sharey=True)
    for axes, (name, row) in zip(places, found.reliability.items(), strict=True):
        axes.plot((0, 1), (0, 1), color="0.6", linewidth=1)
        axes.plot(row.confidence, row.accuracy, color="C0", linewidth=1)
        axes.scatter(row.confidence, row.accuracy, s=600 * row.mass, color="C0", alpha=0.7)
        axes.set_title(f"{name}: ECE {row.error:.3f}")
        axes.set_xlabel("confidence")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
    places[0].set_ylabel("accuracy, test speakers")
    picture.savefig(path, dpi=120)
    plt.close(picture)


def draw_coverage(path: Path, found: Calibration) -> None:
    """Draw accuracy against coverage, and both at the review threshold."""
    picture, axes = plt.subplots(figsize=(5.5, 4), layout="constrained")
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
    axes.legend()
    picture.savefig(path, dpi=120)
    plt.close(picture)


def _point(point: OperatingPoint) -> str:
    return f"{point.coverage:.1%} | " + ("-" if math.isnan(point.accuracy) else f"{point.accuracy:.1%}")


def _values(answers: Confidences, threshold: float | None) -> dict[str, float | None] | None:
    if threshold is None:
        return None
    point = operating_point(answers, threshold)
    return {"coverage": _rounded(point.coverage), "accuracy": _rounded(point.accuracy)}


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
