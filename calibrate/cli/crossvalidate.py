"""``affectd-calibrate crossvalidate``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import Cache, Data, Debug, EncoderName, Force, Threads, finished_out
from edge.cli.kit.entry import examples

EXAMPLES = examples("affectd-calibrate crossvalidate configs/default-train.toml --data data --out report")


def crossvalidate(
    recipe: Annotated[Path, typer.Argument(help="Training recipe; a fine-tuned encoder learns anew for every fold.")],
    *,
    data: Data,
    out: Annotated[Path, finished_out("adaptation.md", help="Folder for the table, the plot and the JSON.")],
    folds: Annotated[int, typer.Option(min=2, help="Each speaker is held out once.")] = 5,
    encoder: EncoderName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Measure a recipe, without and with enrolment, on speakers held out in turn: choose by these, not by the test.

    Only training and validation speakers are read. The report is that of the adaptation command.
    """
    from calibrate.experiments.crossvalidation import cross_validate
    from calibrate.workspace import Workspace

    report = cross_validate(Workspace(data, cache, threads).open(), recipe, folds=folds, encoder=encoder)
    report.write(out)
    report.show(out=out)
