"""``affectd-calibrate corpus | train | evaluate``: their options."""
# ruff: noqa: PLC0415  (imports inside the commands, so that --help does not wait for torch)

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.app import Cache, Data, Debug, EncoderName, HeadName, Threads, app
from edge.cli.kit.entry import examples


@app.command(epilog=examples("affectd-calibrate corpus crema-d CREMA-D/AudioWAV --strict"))
def corpus(
    name: Annotated[str, typer.Argument(help="Reader: ravdess, nemo, banglaser, crema-d, esd, emodb, …, csv.")],
    folder: Annotated[Path, typer.Argument(help="Where the corpus lies.")],
    *,
    strict: Annotated[bool, typer.Option("--strict", help="A file that breaks the naming is an error.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
    debug: Debug = False,
) -> None:
    """List what a corpus folder holds: utterances per label and speaker, and each file that does not fit, with why."""
    from calibrate.corpora.listing import show_corpus

    show_corpus(name, folder, strict, json)


@app.command(
    epilog=examples(
        "affectd-calibrate train configs/default-train.toml --data data",
        "affectd-calibrate train my.toml --data data --encoder models/whisper-base --resume",
        "affectd-calibrate train configs/default-train.toml --data data --without ravdess --without nemo",
        "affectd-calibrate train configs/default-train.toml --data data --head base",
        "affectd-calibrate train configs/default-train.toml --data data --finetune 2 --out runs/finetuned",
        "accelerate launch --multi_gpu -m calibrate train configs/finetune.toml --data data --device cuda",
    )
)
def train(
    recipe: Annotated[Path, typer.Argument(help="Training recipe in TOML, see configs/default-train.toml.")],
    *,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run.", file_okay=False, metavar="DIR", show_default="runs/<name of the recipe>-<head>"
        ),
    ] = None,
    encoder: EncoderName = None,
    head: HeadName = None,
    without: Annotated[list[str] | None, typer.Option(help="Corpus to leave out. Repeatable.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A file that breaks a corpus's naming is an error.")] = False,
    finetune: Annotated[
        int | None,
        typer.Option(min=0, help="Last encoder layers to train after the head.", show_default="the recipe's"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's checkpoint.")] = False,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    device: Annotated[
        str, typer.Option(help="torch device: cpu, cuda, cuda:1; many processes on cuda take one GPU each.")
    ] = "cpu",
    debug: Debug = False,
) -> None:
    r"""Train a model by a recipe and report on its validation speakers.

    By --finetune, or by encoder.finetune in the recipe, the encoder learns too, once the head has learned: see
    \[finetune] in configs/finetune.toml. The frozen run lies beside it, in frozen/.

    By --head another head takes the place of the recipe's, with its own schedule. The splits share no speaker, so a
    head that is told who speaks is validated on strangers: in folds --split random it knows everyone.

    The run folder gets the model, the training log with its picture, and a report with confusion matrices.
    """
    from calibrate.commands import train_recipe

    train_recipe(
        recipe, data, out, encoder, without=without or [], strict=strict, resume=resume, cache=cache, threads=threads,
        device=device, finetune=finetune, head=head,
    )  # fmt: skip


@app.command(
    epilog=examples(
        "affectd-calibrate evaluate runs/default --data data",
        "affectd-calibrate evaluate edge/bundles/default --data data --recipe configs/default-train.toml",
    )
)
def evaluate(
    model: Annotated[Path, typer.Argument(help="Run folder, or bundle folder.")],
    *,
    data: Data,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    recipe: Annotated[
        Path | None, typer.Option(help="Corpora and splits to evaluate on.", show_default="those of the run")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the report.", file_okay=False, metavar="DIR", show_default="none is written"),
    ] = None,
    encoder: EncoderName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
    debug: Debug = False,
) -> None:
    """Evaluate a run or a bundle on speakers it never trained on. A bundle runs the device's own code, int8 and all."""
    from calibrate.commands import evaluate_model

    evaluate_model(model, data, split, recipe, out, encoder, cache=cache, threads=threads, as_json=json)
