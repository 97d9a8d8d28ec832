"""The options that several commands of ``affectd-export`` share."""

from __future__ import annotations

from typing import Annotated

import typer

from edge.cli.kit.entry import set_debug

EncoderName = Annotated[
    str | None,
    typer.Option("--encoder", help="Hub name or folder of the pretrained encoder, over the run's."),
]
Threads = Annotated[int, typer.Option(min=1, help="Threads of torch and onnxruntime.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is finished there.")]
Debug = Annotated[bool, typer.Option("--debug", callback=set_debug, help="Show tracebacks.")]
