"""``affectd-export speaker``: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.kit.entry import examples
from export.cli.app import Debug, app


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
    debug: Debug = False,
) -> None:
    """Adapt a published speaker encoder (CAM++, ERes2Net, ECAPA, ResNet): front end inside, waveform to voiceprint.

    It has no input for lengths, so every utterance of a batch runs by itself and unpadded, which costs no accuracy but
    some speed in batches. Its calibration comes from affectd-calibrate verification --encoder.
    """
    from export.commands import write_foreign_speaker

    write_foreign_speaker(model, out, licence)
