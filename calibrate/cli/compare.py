"""``affectd-calibrate compare``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import (
    Cache,
    Data,
    Debug,
    EncoderName,
    EvaluationRecipe,
    Force,
    Json,
    SplitName,
    Threads,
    finished_out,
)
from edge.cli.kit.entry import examples

EXAMPLES = examples(
    "affectd-calibrate compare runs/default runs/mine --data data --out report",
    "affectd-calibrate compare runs/mine bundles/mine --data data --recipe configs/default-train.toml",
    "affectd-calibrate compare facebook/wav2vec2-large-xlsr-53 jonatasgrosman/wav2vec2-large-xlsr-53-english "
    "--data data --recipe configs/default-train.toml --folds 10",
)


def compare(
    a: Annotated[str, typer.Argument(help="Run folder, bundle folder, or hub name or folder of an encoder.")],
    b: Annotated[str, typer.Argument(help="The same of what it is compared with.")],
    *,
    data: Data,
    recipe: EvaluationRecipe = None,
    split: SplitName = "test",
    out: Annotated[Path | None, finished_out("comparison.md", is_optional=True)] = None,
    encoder: EncoderName = None,
    encoder_b: Annotated[
        str | None, typer.Option(help="Where B's encoder is loaded from.", show_default="as --encoder")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Of encoders: each speaker is held out once.")] = 5,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare two models on the same utterances, with a paired significance test over speakers.

    Runs and bundles answer to the test speakers. Encoders get a head each by the recipe, cross-validated over its
    training and validation speakers, so that choosing one leaves the test speakers unread.
    """
    from calibrate.experiments.compare import compare_models
    from calibrate.workspace import Workspace

    report = compare_models(
        Workspace(data, cache, threads).open(), a, b, recipe_path=recipe, split=split,
        encoders=(encoder, encoder_b or encoder), folds=folds,
    )  # fmt: skip
    report.write(out)
    report.show(json, out)
