"""``affectd-export bundle``: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.kit.entry import examples
from export.cli.app import Debug, Threads, app


@app.command(
    epilog=examples(
        "affectd-export bundle runs/default --data data --out bundles/mine",
        "affectd-export bundle runs/nano --data data --out bundles/nano --max-mb 2       recognises nobody",
        "affectd run --bundle bundles/mine",
    )
)
def bundle(
    run: Annotated[Path, typer.Argument(help="Folder that affectd-calibrate train wrote.")],
    *,
    data: Annotated[Path, typer.Option(help="Folder of the corpora, for checks and figures.", metavar="DIR")],
    out: Annotated[Path, typer.Option(help="Bundle folder, replaced when all checks pass.", metavar="DIR")],
    name: Annotated[str | None, typer.Option(help="Name of the bundle.", show_default="the recipe's name")] = None,
    version: Annotated[str, typer.Option(help="Version of the bundle.")] = "1",
    precision: Annotated[str, typer.Option(help="int8 (CPU), fp16 (GPU) or fp32.")] = "int8",
    quantisation: Annotated[
        str,
        typer.Option(
            help="How int8 gets the ranges of activations: dynamic (every run), static (calibrated on training speech) "
            "or auto (the better of both, measured on validation speech)."
        ),
    ] = "auto",
    encoder: Annotated[
        str | None, typer.Option(help="Hub name or folder of the pretrained encoder, over the run's.")
    ] = None,
    speakers: Annotated[
        Path | None,
        typer.Option(
            help="Folder that affectd-calibrate verification wrote: who speaks.",
            metavar="DIR",
            show_default="the bundle recognises nobody",
        ),
    ] = None,
    max_mb: Annotated[
        float | None, typer.Option(min=0, help="Refuse a larger bundle.", metavar="MB", show_default="any size")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder for features of the frozen encoder.", metavar="DIR")] = Path(
        "cache"
    ),
    threads: Threads = 2,
    debug: Debug = False,
) -> None:
    """Export a run: torch to ONNX to int8 or fp16, compared on the test speakers; a failed check writes nothing."""
    from export.commands import write_bundle

    write_bundle(
        run, data, out, name, version=version, precision=precision, quantisation=quantisation, encoder=encoder,
        speakers=speakers, max_mb=max_mb, cache=cache, threads=threads,
    )  # fmt: skip
