"""``affectd-calibrate adaptation | crossvalidate | verification | household``: their options."""
# ruff: noqa: PLC0415  (imports inside the commands, so that --help does not wait for torch)

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.app import Cache, Data, Debug, EncoderName, Threads, app
from edge.cli.kit.entry import examples


@app.command(epilog=examples("affectd-calibrate adaptation runs/default --data data --out report"))
def adaptation(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    *,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the table, the plot and the JSON.", metavar="DIR")],
    split: Annotated[str, typer.Option(help="validation or test.")] = "test",
    encoder: EncoderName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    debug: Debug = False,
) -> None:
    """Measure what a few enrolment clips of a person are worth: UA against their number and kind, in 20 draws."""
    from calibrate.commands import measure_adaptation

    measure_adaptation(run, data, out, split, encoder, cache=cache, threads=threads)


@app.command(epilog=examples("affectd-calibrate crossvalidate configs/default-train.toml --data data --out report"))
def crossvalidate(
    recipe: Annotated[Path, typer.Argument(help="Training recipe; a fine-tuned encoder learns anew for every fold.")],
    *,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the table, the plot and the JSON.", metavar="DIR")],
    folds: Annotated[int, typer.Option(min=2, help="Each speaker is held out once.")] = 5,
    encoder: EncoderName = None,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    debug: Debug = False,
) -> None:
    """Measure a recipe, without and with enrolment, on speakers held out in turn: choose by these, not by the test.

    Only training and validation speakers are read. The report is that of the adaptation command.
    """
    from calibrate.commands import validate_recipe

    validate_recipe(recipe, data, out, encoder, folds=folds, cache=cache, threads=threads)


@app.command(
    epilog=examples(
        "affectd-calibrate verification configs/default-train.toml --data data --out verifier",
        "affectd-calibrate verification configs/default-train.toml --data data --out verifier --encoder speaker.onnx",
    )
)
def verification(
    recipe: Annotated[Path, typer.Argument(help="Training recipe: its corpora and splits are used.")],
    *,
    data: Data,
    out: Annotated[
        Path, typer.Option(help="Folder for the report and the verifier.", file_okay=False, metavar="DIR")
    ],
    encoder: Annotated[
        Path | None,
        typer.Option(
            help="ONNX speaker encoder of your own, waveform and lengths to voiceprint (affectd-export speaker makes "
            "one of a WeSpeaker or 3D-Speaker export).",
            dir_okay=False, exists=True, metavar="FILE", show_default="GE2E and the spectrum",
        ),
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Random draws of held-out speakers.")] = 20,
    cache: Annotated[Path, typer.Option(help="Folder for voiceprints.", file_okay=False)] = Path("cache"),
    threads: Threads = 2,
    json: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Measure how well speakers are told apart, and fit what a bundle needs to recognise them.

    The figures are on speakers held out from all fitting, of all corpora of the recipe. The verifier in the same folder
    is then fitted on the recipe's train and validation speakers, never on its test speakers.
    """
    from calibrate.commands import measure_verification

    measure_verification(recipe, data, out, encoder, draws=draws, cache=cache, threads=threads, as_json=json)


@app.command(
    epilog=examples("affectd-calibrate household edge/bundles/default --data data --recipe configs/default-train.toml")
)
def household(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, with a speaker encoder.")],
    *,
    data: Data,
    recipe: Annotated[Path, typer.Option(help="Corpora and splits to evaluate on.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the report.", file_okay=False, metavar="DIR", show_default="none is written"),
    ] = None,
    threads: Threads = 2,
    json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
    debug: Debug = False,
) -> None:
    """Measure the whole chain on a bundle: enrol, recognise who speaks, adapt to them, in 20 draws of households."""
    from calibrate.commands import measure_households

    measure_households(bundle, data, recipe, split, out, threads=threads, as_json=json)
