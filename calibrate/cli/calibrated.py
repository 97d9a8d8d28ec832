"""``affectd-calibrate calibrated``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import (
    Cache,
    Data,
    Debug,
    EncoderName,
    EvaluationRecipe,
    Force,
    Json,
    Model,
    Threads,
    finished_out,
)
from edge.cli.kit.entry import examples

EXAMPLES = examples(
    "affectd-calibrate calibrated runs/default --data data --out report --accuracy 0.9",
    "affectd-calibrate calibrated bundles/mine --data data --recipe configs/default-train.toml --out report",
)


def calibrated(
    model: Model,
    *,
    data: Data,
    out: Annotated[Path, finished_out("calibration.md")],
    accuracy: Annotated[float, typer.Option(min=0, max=1, help="Wanted of the answers that nobody reviews.")] = 0.8,
    recipe: EvaluationRecipe = None,
    encoder: EncoderName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure confidence, and find the review threshold that reaches a wanted accuracy.

    Temperature, reliability diagram, expected calibration error and the coverage-accuracy curve; fitted on validation
    speakers, reported on test speakers. Prints the line for the settings.
    """
    from calibrate.experiments.confidence import measure_confidence
    from calibrate.workspace import Workspace

    workspace = Workspace(data, cache, threads).open()
    report = measure_confidence(workspace, model, recipe_path=recipe, encoder=encoder, wanted=accuracy)
    report.write(out)
    report.show(json, out)
