"""The ``affectd-export`` command, and the options that its commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.kit.entry import examples, new_app, set_debug

app = new_app(
    "affectd-export",
    "Turn a trained run into a bundle that [bold]affectd[/bold] runs: ONNX graph, int8, checks, model card.",
    examples("affectd-export bundle runs/default --data data --out bundles/mine"),
)


Threads = Annotated[int, typer.Option(min=1, help="Threads of torch and onnxruntime.")]
Cache = Annotated[Path, typer.Option(help="Folder for what encoders said, kept for the next time.", metavar="DIR")]
Debug = Annotated[bool, typer.Option("--debug", callback=set_debug, help="Show tracebacks.")]


@app.callback()
def export() -> None:
    """Options before any command."""
