"""``affectd-calibrate train``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import Cache, Data, Debug, Device, EncoderName, Force, HeadName, RecipeFile, Strict, Threads
from edge.cli.kit.entry import examples

EXAMPLES = examples(
    "affectd-calibrate train configs/default-train.toml --data data",
    "affectd-calibrate train my.toml --data data --encoder models/whisper-base --resume",
    "affectd-calibrate train configs/default-train.toml --data data --without ravdess --without nemo",
    "affectd-calibrate train configs/default-train.toml --data data --head base",
    "affectd-calibrate train configs/default-train.toml --data data --finetune 2 --out runs/finetuned",
    "accelerate launch --multi_gpu -m calibrate train configs/finetune.toml --data data --device cuda",
)


def train(
    recipe: RecipeFile,
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
    strict: Strict = False,
    splits: Annotated[
        str | None,
        typer.Option(
            help="CSV in the data folder that says who trains, validates and tests.", show_default="the recipe's"
        ),
    ] = None,
    finetune: Annotated[
        int | None,
        typer.Option(min=0, help="Last encoder layers to train after the head.", show_default="the recipe's"),
    ] = None,
    merge: Annotated[
        bool | None,
        typer.Option(help="Whether pairs of the encoder's tokens become one.", show_default="the recipe's"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's checkpoint.")] = False,
    force: Force = False,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    device: Device = "cpu",
    debug: Debug = False,
) -> None:
    r"""Train a model by a recipe and report on its validation speakers.

    By --finetune, or by encoder.finetune in the recipe, the encoder learns too, once the head has learned: see
    \[finetune] in configs/finetune.toml. The frozen run lies beside it, in frozen/.

    By --head another head takes the place of the recipe's, with its own schedule. The splits share no speaker, so a
    head that takes the speaker as an input is validated on strangers: in folds --split random it knows everyone.

    By \[[values]] in the recipe the model estimates arousal, valence, dominance or intensity beside its labels: as the
    corpora annotate them, or, with origin = "circumplex", derived from labels by Russell's circle, which is a
    demonstration. See configs/values-train.toml.

    The run folder gets the model, the training log with its picture, and a report with confusion matrices.
    """
    from calibrate.finished import keep_finished
    from calibrate.recipe import read_recipe
    from calibrate.run import RUN_NAME
    from calibrate.train import train_recipe
    from calibrate.workspace import Workspace

    workspace = Workspace(data, cache, threads, device).open()
    chosen = read_recipe(recipe, head).leave_out(without or []).with_splits(splits)
    if finetune is not None:
        chosen = chosen.with_finetune(finetune)
    if merge is not None:
        chosen = chosen.with_merge(merge)
    folder = out or Path("runs") / (chosen.name if head is None else f"{chosen.name}-{Path(head).stem}")
    keep_finished(folder, force or resume, RUN_NAME)
    train_recipe(workspace, chosen, folder, encoder=encoder, strict=strict, resume=resume)
