"""``affectd-calibrate household``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import Data, Debug, Force, Json, SplitName, Threads, finished_out
from edge.cli.kit.entry import examples

EXAMPLES = examples("affectd-calibrate household edge/bundles/default --data data --recipe configs/default-train.toml")


def household(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, with a speaker encoder.")],
    *,
    data: Data,
    recipe: Annotated[Path, typer.Option(help="Corpora and splits to evaluate on.")],
    split: SplitName = "test",
    out: Annotated[Path | None, finished_out("household.md", is_optional=True)] = None,
    threads: Threads = 2,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure the whole chain on a bundle: enrol, recognise who speaks, adapt to them, in 20 draws of households."""
    from calibrate.experiments.household import measure_households
    from calibrate.workspace import Workspace

    workspace = Workspace(data, threads=threads).open()
    report = measure_households(workspace, bundle, recipe_path=recipe, split=split)
    report.write(out)
    report.show(json, out)
