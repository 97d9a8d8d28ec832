"""``affectd-calibrate robustness``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import (
    Data,
    Debug,
    EncoderName,
    EvaluationRecipe,
    Force,
    HeldOutSplit,
    Json,
    Model,
    Threads,
    finished_out,
)
from edge.cli.kit.entry import examples

EXAMPLES = examples(
    "affectd-calibrate robustness edge/bundles/default --data data --recipe configs/default-train.toml --out report",
    "affectd-calibrate robustness runs/default --data data --split validation --clips 60 --out report",
    "affectd-calibrate robustness runs/all --data data --corpus emovo --out report     which is only ever tested on",
)


def robustness(
    model: Model,
    *,
    data: Data,
    out: Annotated[Path, finished_out("robustness.md")],
    recipe: EvaluationRecipe = None,
    split: HeldOutSplit = "test",
    corpus: Annotated[
        list[str] | None,
        typer.Option(
            help='Evaluate on a corpus with role = "test" instead of on a split, as of a model that learned from all '
            "other speakers; repeat for several.",
            metavar="NAME",
            show_default="the split",
        ),
    ] = None,
    clips: Annotated[
        int | None,
        typer.Option(min=1, help="Most utterances of each speaker, drawn evenly over the labels.", show_default="all"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of noise, rooms and babble.")] = 0,
    encoder: EncoderName = None,
    threads: Threads = 2,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure a model in white, pink and babble noise, two rooms, on the phone, and through a low-rate codec.

    And, apart from their mean, with the microphone 30 dB down to 10 dB up, and with 30 to 500 ms behind the voice.
    Twice: on what is spoken in the clean recording, so that only the encoder is judged, and with the segmenter, too,
    on the degraded one. A bundle runs the device's own code. The babble is of training speakers.
    """
    from calibrate.experiments.robustness import measure_robustness
    from calibrate.workspace import Workspace

    report = measure_robustness(
        Workspace(data, threads=threads).open(), model, recipe_path=recipe, split=split, corpora=corpus or (),
        encoder=encoder, clips=clips, seed=seed,
    )  # fmt: skip
    report.write(out)
    report.show(json, out)
