"""``affectd-calibrate generalise``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import Cache, Data, Debug, EncoderName, Force, Json, RecipeFile, Threads, finished_out
from edge.cli.kit.entry import examples

EXAMPLES = examples(
    "affectd-calibrate generalise configs/default-train.toml --data data --out report",
    "affectd-calibrate generalise my.toml --data data --out report --quick           while a recipe is in the making",
    "affectd-calibrate generalise configs/default-train.toml --data data --without emovo --out report",
)


def generalise(
    recipe: RecipeFile,
    *,
    data: Data,
    out: Annotated[Path, finished_out("generalisation.md")],
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each model.")] = 3,
    streams: Annotated[int, typer.Option(min=1, help="Streams of each kind, and of each label raised.")] = 5,
    folds: Annotated[int, typer.Option(min=2, help="Over the speakers; each is held out once.")] = 5,
    quick: Annotated[bool, typer.Option("--quick", help="One training and one stream of each kind.")] = False,
    without: Annotated[
        list[str] | None, typer.Option(help="Corpus of the recipe that takes no part. Repeatable.")
    ] = None,
    encoder: EncoderName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    r"""Measure a recipe on corpora and speakers left out, as files and as streams: choose recipes by this.

    Each corpus is left out in turn; those with role = "test" are never trained on. Every speaker takes part: splits
    are not read. Streams are evaluated without and with the room, with the emotions in balance and with one in excess.
    Corpora of one label, such as LibriSpeech, are everyday speech. Folds over all speakers come along.
    """
    from calibrate.experiments.generalisation import Effort, measure_generalisation
    from calibrate.workspace import Workspace

    effort = Effort(seeds, streams, folds)
    report = measure_generalisation(
        Workspace(data, cache, threads).open(), recipe, effort=effort.quick() if quick else effort,
        without=without or [], encoder=encoder,
    )  # fmt: skip
    report.write(out)
    report.show(json, out)
