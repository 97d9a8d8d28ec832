"""``affectd-calibrate sweep``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import (
    Cache,
    Data,
    Debug,
    EncoderName,
    Force,
    HeadName,
    Json,
    RecipeFile,
    Threads,
    finished_out,
)
from edge.cli.kit.entry import examples

EXAMPLES = examples(
    "affectd-calibrate sweep crema-d.toml --data data --head base --split random --out sweep "
    "--rate 3e-4 --rate 1.1e-3 --rate 3e-3 --batch 50 --batch 150 --batch 450",
    "affectd-calibrate sweep configs/default-train.toml --data data --corpus ravdess --seeds 5 --out sweep",
)


def sweep(
    recipe: RecipeFile,
    *,
    data: Data,
    out: Annotated[Path, finished_out("sweep.md")],
    rate: Annotated[
        list[float] | None, typer.Option(min=1e-9, help="Learning rate. Repeatable.", show_default="the recipe's")
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Utterances a step. Repeatable.", show_default="the recipe's")
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            help="speaker (the recipe's split, to choose by) or random (everyone on all sides, the recipe's test "
            "speakers too: to compare with others)."
        ),
    ] = "speaker",
    corpus: Annotated[
        str | None, typer.Option(help="The one to train and test on.", show_default="all of the recipe")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each, and draws of --split random.")] = 1,
    head: HeadName = None,
    encoder: EncoderName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a recipe's head over a grid of learning rates and batch sizes: table, training curves, heat map.

    Mean and best validation UA of the last ten epochs, and what the test came to; the choice is made by validation
    alone. Each training is kept, so that a sweep that was stopped goes on where it was.
    """
    from calibrate.experiments.sweep import measure_sweep
    from calibrate.workspace import Workspace

    report = measure_sweep(
        Workspace(data, cache, threads).open(), recipe, out, rates=rate or [], batches=batch or [], split=split,
        corpus=corpus, seeds=seeds, head=head, encoder=encoder,
    )  # fmt: skip
    report.write(out)
    report.show(json, out)
