"""Confidence of a trained model: fitted on validation speakers, measured on test speakers."""

from __future__ import annotations

from pathlib import Path

from calibrate.dataset import read_parts, require_speakers
from calibrate.experiments.confidence.calibration import calibrate
from calibrate.experiments.confidence.report import calibration_report
from calibrate.report import Report
from calibrate.trained import open_trained, protocol_of
from calibrate.workspace import Workspace


def measure_confidence(
    workspace: Workspace, folder: Path, *, recipe_path: Path | None, encoder: str | None, wanted: float
) -> Report:
    """Measure how far the confidence of a run or a bundle can be trusted, and find a review threshold.

    Args:
        workspace: data and cache.
        folder: of the run or bundle.
        recipe_path: its corpora and splits are used; None: those of the run.
        encoder: replaces where a run's encoder is loaded from.
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
