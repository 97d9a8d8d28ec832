"""The ``affectd-calibrate`` command, and the options that its commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.kit.entry import examples, new_app, set_debug

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
HeadName = Annotated[
    str | None,
    typer.Option(
        "--head",
        help="Head, schedule and augmentation of configs/heads, or of a file like these, over the "
        "recipe's: base, personal, mfcc, deep, wav2vec, …",
        metavar="NAME",
        show_default="the recipe's",
    ),
]
Cache = Annotated[Path, typer.Option(help="Folder for features of the frozen encoder.", file_okay=False, metavar="DIR")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of torch.")]
Debug = Annotated[bool, typer.Option("--debug", callback=set_debug, help="Log details and show tracebacks.")]


@app.callback()
def calibrate() -> None:
    """Options before any command."""
