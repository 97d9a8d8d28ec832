"""``affectd-calibrate papt``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import Cache, Data, Debug, Device, EncoderName, Force, Json, RecipeFile, Threads
from edge.cli.kit.entry import examples

EXAMPLES = examples(
    "affectd-calibrate papt configs/papt.toml --data data                     then train on what came of it:",
    "affectd-calibrate train configs/default-train.toml --data data --encoder runs/papt/encoder",
    "affectd-calibrate papt configs/papt.toml --data data --speakers none --out runs/tapt",
    "affectd-calibrate papt configs/papt.toml --data data --resume",
    "affectd-calibrate papt configs/hubert-small.toml --data data             a HuBERT from nothing",
    "accelerate launch --multi_gpu -m calibrate papt configs/papt.toml --data data --device cuda",
)


def papt(
    recipe: RecipeFile,
    *,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the encoder.", file_okay=False, metavar="DIR", show_default="runs/<name of the recipe>"
        ),
    ] = None,
    speakers: Annotated[
        str | None,
        typer.Option(
            help="Where a speaker's embedding goes: last, first, prefix; none is TAPT.", show_default="the recipe's"
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=0, help="Of every round.", show_default="the recipe's")] = None,
    encoder: EncoderName = None,
    without: Annotated[list[str] | None, typer.Option(help="Corpus to leave out. Repeatable.")] = None,
    splits: Annotated[
        str | None,
        typer.Option(help="CSV in the data folder; only speakers who train are used.", show_default="the recipe's"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoints.")] = False,
    force: Force = False,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    device: Device = "cpu",
    json: Json = False,
    debug: Debug = False,
) -> None:
    r"""Pre-train an encoder on people's speech, without labels: it learns to fill in what is masked (PAPT).

    By \[pretraining] of a recipe: pseudo-labels by k-means on cepstral coefficients, then on a layer of the encoder;
    HuBERT's masked prediction; an embedding for each speaker, so that the encoder need not explain who speaks. Labels
    are not looked at. The folder gets the encoder, which loads like any pretrained one, the speakers' embeddings, and
    a report on clusters and losses. Killed and resumed it ends with the same numbers.
    """
    from calibrate import processes
    from calibrate.finished import keep_finished
    from calibrate.pretraining.adapted import ADAPTED_NAME
    from calibrate.pretraining.papt import label_of, pretrain_recipe
    from calibrate.pretraining.report import pretraining_report
    from calibrate.recipe import read_recipe
    from calibrate.workspace import Workspace

    workspace = Workspace(data, cache, threads, device).open()
    chosen = read_recipe(recipe).leave_out(without or []).with_splits(splits).with_pretraining(speakers, epochs)
    folder = out or Path("runs") / chosen.name
    keep_finished(folder, force or resume, ADAPTED_NAME)
    pretrained = pretrain_recipe(workspace, chosen, folder, encoder=encoder, resume=resume)
    if processes.is_main():
        report = pretraining_report(chosen, pretrained, label_of(chosen, encoder or chosen.encoder.name))
        report.write(folder)
        report.show(json, folder)
    processes.leave()
