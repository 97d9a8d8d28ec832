"""``affectd-calibrate evaluate``."""

from pathlib import Path
from typing import Annotated

from calibrate.cli.options import (
    Cache,
    Data,
    Debug,
    EncoderName,
    EvaluationRecipe,
    Force,
    Json,
    Model,
    SplitName,
    Threads,
    finished_out,
)
from edge.cli.kit.entry import examples

EXAMPLES = examples(
    "affectd-calibrate evaluate runs/default --data data",
    "affectd-calibrate evaluate edge/bundles/default --data data --recipe configs/default-train.toml",
)


def evaluate(
    model: Model,
    *,
    data: Data,
    split: SplitName = "test",
    recipe: EvaluationRecipe = None,
    out: Annotated[Path | None, finished_out("report.md", is_optional=True)] = None,
    encoder: EncoderName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Evaluate a run or a bundle on speakers it never trained on. A bundle runs the device's own code, int8 and all."""
    from calibrate.evaluate import evaluate_model
    from calibrate.report import figures_report
    from calibrate.workspace import Workspace

    found = evaluate_model(Workspace(data, cache, threads).open(), model, split, recipe, encoder)
    report = figures_report(found.figures, found.labels, found.protocol, values=found.values)
    report.write(out)
    report.show(json, out)
