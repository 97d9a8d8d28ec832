"""``affectd-calibrate strangers``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import Cache, Data, Debug, EncoderName, Force, Json, RecipeFile, Threads, finished_out
from edge.cli.kit.entry import examples

EXAMPLES = examples(
    "affectd-calibrate strangers configs/default-train.toml --data data --out report",
    "affectd-calibrate strangers crema-d.toml --data data --head modern --folds 3 --out report",
)


def strangers(
    recipe: RecipeFile,
    *,
    data: Data,
    out: Annotated[Path, finished_out("strangers.md")],
    head: Annotated[str, typer.Option(help="Head of configs/heads that takes the speaker in three ways.")] = "base",
    folds: Annotated[int, typer.Option(min=2, help="Of the speakers; each is held out once.")] = 5,
    encoder: EncoderName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure what it is worth for strangers that a head takes the speaker as an input, against enrolment.

    The same head without that input, with a learned vector, and with the mean MFCC, cross-validated over the training
    and validation speakers. A stranger's input is the mean of all, that of the training speaker with the nearest MFCC,
    or the own MFCC; enrolment is that of the device. All have the same eight clips.
    """
    from calibrate.experiments.strangers import measure_strangers
    from calibrate.workspace import Workspace

    workspace = Workspace(data, cache, threads).open()
    report = measure_strangers(workspace, recipe, head=head, folds=folds, encoder=encoder)
    report.write(out)
    report.show(json, out)
