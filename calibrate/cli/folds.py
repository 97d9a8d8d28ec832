"""``affectd-calibrate folds``."""

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
    "affectd-calibrate folds configs/default-train.toml --data data --corpus ravdess --split emobox --labels all "
    "--out report",
    "affectd-calibrate folds crema-d.toml --data data --split emosuperb --out report",
    "affectd-calibrate folds crema-d.toml --data data --split random --head personal --out report",
)


def folds(
    recipe: RecipeFile,
    *,
    data: Data,
    out: Annotated[Path, finished_out("folds.md")],
    split: Annotated[
        str,
        typer.Option(
            help="emobox (its rule), emosuperb (CREMA-D's five blocks), speaker (balanced genders), loso (one speaker "
            "a fold), random (the same speakers on all sides)."
        ),
    ] = "speaker",
    corpus: Annotated[
        str | None, typer.Option(help="Corpus that is split.", show_default="the only one of the recipe")
    ] = None,
    training: Annotated[
        str, typer.Option(help="alone (on that corpus), joint (along with the others), both.")
    ] = "both",
    labels: Annotated[
        str, typer.Option(help="recipe, all (that the corpus has), or names separated by commas.")
    ] = "recipe",
    k: Annotated[int, typer.Option("--folds", min=2, help="Of --split speaker.")] = 5,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the folds and of the training.")] = 1,
    encoder: EncoderName = None,
    head: HeadName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a recipe for every fold of a published protocol on one corpus: UA over the folds, and who was held out.

    Every speaker of the corpus takes part, the fixed test speakers too: these figures are for comparison with others,
    not for choosing by; that is what crossvalidate is for.
    """
    from calibrate.experiments.folds import measure_folds
    from calibrate.workspace import Workspace

    report = measure_folds(
        Workspace(data, cache, threads).open(), recipe, split=split, corpus=corpus, training=training, labels=labels,
        folds=k, seeds=seeds, encoder=encoder, head=head,
    )  # fmt: skip
    report.write(out)
    report.show(json, out)
