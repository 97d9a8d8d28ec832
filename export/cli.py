"""The ``affectd-export`` command: from a trained run to a bundle."""
# ruff: noqa: PLC0415  (imports inside the commands, so that --help does not wait for torch)

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.entry import examples, launch, new_app, set_debug

app = new_app(
    "affectd-export",
    "Turn a trained run into a bundle that [bold]affectd[/bold] runs: ONNX graph, int8, checks, model card.",
    examples("affectd-export bundle runs/default --data data --out bundles/mine"),
)


@app.callback()
def export() -> None:
    """Options before any command."""


@app.command(
    epilog=examples(
        "affectd-export bundle runs/default --data data --out bundles/mine",
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
    precision: Annotated[str, typer.Option(help="int8 (CPU) or fp32.")] = "int8",
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
    cache: Annotated[Path, typer.Option(help="Folder for features of the frozen encoder.", metavar="DIR")] = Path(
        "cache"
    ),
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch and onnxruntime.")] = 2,
    debug: Annotated[bool, typer.Option("--debug", callback=set_debug, help="Show tracebacks.")] = False,
) -> None:
    """Export a run: torch to ONNX to int8, compared on the test speakers; a failed check writes nothing."""
    from export.commands import write_bundle

    write_bundle(
        run, data, out, name, version=version, precision=precision, encoder=encoder, speakers=speakers, cache=cache,
        threads=threads,
    )  # fmt: skip


@app.command(
    epilog=examples(
        "affectd-export speaker campplus.onnx --out speaker.onnx --licence Apache-2.0",
        "affectd-calibrate verification configs/default-train.toml --data data --out verifier --encoder speaker.onnx",
    )
)
def speaker(
    model: Annotated[Path, typer.Argument(help="ONNX file of WeSpeaker or 3D-Speaker, with sherpa-onnx's metadata.")],
    *,
    out: Annotated[Path, typer.Option(help="ONNX file to write.", dir_okay=False, metavar="FILE")],
    licence: Annotated[
        str, typer.Option(help="Licence of the weights, for the model card.", show_default="that in the metadata")
    ] = "",
    debug: Annotated[bool, typer.Option("--debug", callback=set_debug, help="Show tracebacks.")] = False,
) -> None:
    """Adapt a published speaker encoder (CAM++, ERes2Net, ECAPA, ResNet): front end inside, waveform to voiceprint.

    It has no input for lengths, so every utterance of a batch runs by itself and unpadded, which costs no accuracy but
    some speed in batches. Its calibration comes from affectd-calibrate verification --encoder.
    """
    from export.commands import write_foreign_speaker

    write_foreign_speaker(model, out, licence)


def main() -> None:
    """Run the command line and exit with its code."""
    launch(app, "affectd-export")
