"""The ``affectd-calibrate`` command: corpora, training, evaluation."""
# ruff: noqa: PLC0415  (imports inside the commands, so that --help does not wait for torch)

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.entry import examples, launch, new_app, set_debug

app = new_app(
    "affectd-calibrate",
    "Train and evaluate: from emotional speech corpora to a model that [bold]affectd-export[/bold] bundles.",
    examples(
        "affectd-calibrate corpus ravdess data/ravdess            what is in a folder, and what does not fit",
        "affectd-calibrate train configs/default-train.toml --data data --encoder models/whisper-base",
        "affectd-calibrate evaluate runs/default --data data      figures on the test speakers",
    ),
)

Data = Annotated[Path, typer.Option(help="Folder that the recipe's corpora and splits are relative to.", metavar="DIR")]
EncoderName = Annotated[
    str | None, typer.Option("--encoder", help="Hub name or folder of the pretrained encoder, over the recipe's.")
]
Cache = Annotated[Path, typer.Option(help="Folder for features of the frozen encoder.", file_okay=False, metavar="DIR")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of torch.")]
Debug = Annotated[bool, typer.Option("--debug", callback=set_debug, help="Log details and show tracebacks.")]


@app.callback()
def calibrate() -> None:
    """Options before any command."""


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
    from calibrate.listing import show_corpus

    show_corpus(name, folder, strict, json)


@app.command(
    epilog=examples(
        "affectd-calibrate train configs/default-train.toml --data data",
        "affectd-calibrate train my.toml --data data --encoder models/whisper-base --resume",
        "affectd-calibrate train configs/default-train.toml --data data --without ravdess --without nemo",
    )
)
def train(
    recipe: Annotated[Path, typer.Argument(help="Training recipe in TOML, see configs/default-train.toml.")],
    *,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run.", file_okay=False, metavar="DIR", show_default="runs/<name of the recipe>"
        ),
    ] = None,
    encoder: EncoderName = None,
    without: Annotated[list[str] | None, typer.Option(help="Corpus to leave out. Repeatable.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A file that breaks a corpus's naming is an error.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's checkpoint.")] = False,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    device: Annotated[str, typer.Option(help="torch device: cpu, cuda, cuda:1.")] = "cpu",
    debug: Debug = False,
) -> None:
    """Train a model by a recipe and report on its validation speakers.

    The run folder gets the model, the training log with its picture, and a report with confusion matrices.
    """
    from calibrate.commands import train_recipe

    train_recipe(
        recipe, data, out, encoder, without=without or [], strict=strict, resume=resume, cache=cache, threads=threads,
        device=device,
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
    recipe: Annotated[Path, typer.Argument(help="Training recipe with a frozen encoder.")],
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


def main() -> None:
    """Run the command line and exit with its code."""
    launch(app, "affectd-calibrate")
