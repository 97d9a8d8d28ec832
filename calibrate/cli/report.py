"""``affectd-calibrate report``."""

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
    "affectd-calibrate report runs/default --data data --out report",
    "affectd-calibrate report edge/bundles/default --data data --recipe configs/default-train.toml --out report",
)


def report(
    model: Model,
    *,
    data: Data,
    out: Annotated[Path, finished_out("report.md")],
    split: SplitName = "test",
    recipe: EvaluationRecipe = None,
    encoder: EncoderName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the classification report of a run or a bundle as Markdown, CSV, JSON and a single HTML file.

    Precision, recall, F1 and support of every label, accuracy, macro and weighted averages, the confusion matrix, and
    of a run the curves of its training.
    """
    from calibrate.experiments.classification import report_model
    from calibrate.workspace import Workspace

    found = report_model(
        Workspace(data, cache, threads).open(), model, split=split, recipe_path=recipe, encoder=encoder
    )
    found.write(out)
    found.show(json, out)
