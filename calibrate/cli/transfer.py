"""``affectd-calibrate transfer``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import Cache, Data, Debug, EncoderName, Force, Json, RecipeFile, Threads, finished_out
from edge.cli.kit.entry import examples

EXAMPLES = examples(
    "affectd-calibrate transfer configs/default-train.toml --source ravdess --target nemo --data data --out report",
    "affectd-calibrate transfer configs/default-train.toml --source ravdess --target nemo --data data --out report "
    "--target-speakers 1,2,4,all --folds 7",
    "affectd-calibrate transfer esd.toml --source esd:0011-0020 --target esd:0001-0010 --data data --out report",
)


def transfer(
    recipe: RecipeFile,
    *,
    source: Annotated[
        str, typer.Option(help="Corpus of the recipe, or a range of its speakers: CORPUS:FIRST-LAST.", metavar="CORPUS")
    ],
    target: Annotated[str, typer.Option(help="The same of what is transferred to.", metavar="CORPUS")],
    data: Data,
    out: Annotated[Path, finished_out("transfer.md")],
    target_speakers: Annotated[
        str, typer.Option(help="How many of the target's speakers to train on: numbers, separated by commas, or all.")
    ] = "all",
    folds: Annotated[
        int | None,
        typer.Option(
            min=2, help="Evaluate on every speaker, in folds, when test speakers are few.",
            show_default="the recipe's fixed split",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of target speakers and of the training.")] = 3,
    encoder: EncoderName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Measure transfer from one corpus to another, of another language for instance, on unseen speakers of both.

    Four ways: trained on the source only (zero-shot), on the target only, on the source and then fine-tuned on the
    target, and on both jointly; and what each costs on the source. With --folds the fixed test speakers take part as
    well: such figures are for understanding, not for choosing by.
    """
    from calibrate.experiments.transfer import measure_transfer
    from calibrate.workspace import Workspace

    report = measure_transfer(
        Workspace(data, cache, threads).open(), recipe, source=source, target=target, target_speakers=target_speakers,
        folds=folds, seeds=seeds, encoder=encoder,
    )  # fmt: skip
    report.write(out)
    report.show(json, out)
