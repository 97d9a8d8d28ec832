"""``affectd-calibrate adaptation``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import Cache, Data, Debug, EncoderName, Force, HeldOutSplit, Threads, finished_out
from edge.cli.kit.entry import examples

EXAMPLES = examples("affectd-calibrate adaptation runs/default --data data --out report")


def adaptation(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    *,
    data: Data,
    out: Annotated[Path, finished_out("adaptation.md", help="Folder for the table, the plot and the JSON.")],
    split: HeldOutSplit = "test",
    encoder: EncoderName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Measure what a few enrolment clips of a person are worth: UA against their number and kind, in 20 draws."""
    from calibrate.experiments.adaptation import measure_adaptation
    from calibrate.workspace import Workspace

    report = measure_adaptation(Workspace(data, cache, threads).open(), run, split=split, encoder=encoder)
    report.write(out)
    report.show(out=out)
