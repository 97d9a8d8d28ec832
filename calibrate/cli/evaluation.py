"""``affectd-calibrate robustness | generalise | folds``: their options."""
# ruff: noqa: PLC0415  (imports inside the commands, so that --help does not wait for torch)

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.app import Cache, Data, Debug, EncoderName, HeadName, Threads, app
from edge.cli.kit.entry import examples

RecipeFile = Annotated[Path, typer.Argument(help="Training recipe in TOML, see configs/default-train.toml.")]
Out = Annotated[Path, typer.Option(help="Folder for the report.", file_okay=False, metavar="DIR")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of tables.")]


@app.command(
    epilog=examples(
        "affectd-calibrate robustness edge/bundles/default --data data --recipe configs/default-train.toml "
        "--out report",
        "affectd-calibrate robustness runs/default --data data --split validation --clips 60 --out report",
    )
)
def robustness(
    model: Annotated[Path, typer.Argument(help="Run folder, or bundle folder.")],
    *,
    data: Data,
    out: Out,
    recipe: Annotated[
        Path | None, typer.Option(help="Corpora and splits to evaluate on.", show_default="those of the run")
    ] = None,
    split: Annotated[str, typer.Option(help="validation or test.")] = "test",
    clips: Annotated[
        int | None,
        typer.Option(min=1, help="Most utterances of each speaker, drawn evenly over the labels.", show_default="all"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of noise, rooms and babble.")] = 0,
    encoder: EncoderName = None,
    threads: Threads = 2,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure a model in white, pink and babble noise, two rooms, on the phone, and through a low-rate codec.

    Twice: on what is spoken in the clean recording, so that only the encoder is judged, and with the segmenter, too,
    hearing the degraded one. A bundle runs the device's own code. Babble is made of training speakers.
    """
    from calibrate.experiments.robustness import measure_robustness

    measure_robustness(
        model, data, out, recipe=recipe, split=split, encoder=encoder, clips=clips, seed=seed, threads=threads,
        json_only=json,
    )  # fmt: skip


@app.command(epilog=examples("affectd-calibrate generalise configs/default-train.toml --data data --out report"))
def generalise(
    recipe: RecipeFile,
    *,
    data: Data,
    out: Out,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each kind.")] = 3,
    encoder: EncoderName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train on all corpora of a recipe but one, and hear that one, every way.

    Choose a recipe by the speakers who are not in the fixed test part; those who are have columns of their own.
    """
    from calibrate.experiments.generalisation import measure_generalisation

    measure_generalisation(
        recipe, data, out, encoder=encoder, seeds=seeds, cache=cache, threads=threads, json_only=json
    )


@app.command(
    epilog=examples(
        "affectd-calibrate folds configs/default-train.toml --data data --corpus ravdess --split emobox --labels all "
        "--out report",
        "affectd-calibrate folds crema-d.toml --data data --split emosuperb --out report",
        "affectd-calibrate folds crema-d.toml --data data --split random --head personal --out report",
    )
)
def folds(
    recipe: RecipeFile,
    *,
    data: Data,
    out: Out,
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
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a recipe for every fold of a published protocol on one corpus: UA over the folds, and who was held out.

    Every speaker of the corpus takes part, the fixed test speakers too: these figures are for comparison with others,
    not for choosing by; that is what crossvalidate is for.
    """
    from calibrate.experiments.protocols import measure_protocol

    measure_protocol(
        recipe, data, out, split=split, corpus=corpus, training=training, labels=labels, folds=k, seeds=seeds,
        encoder=encoder, cache=cache, threads=threads, json_only=json, head=head,
    )  # fmt: skip
