"""``affectd-export speaker``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.kit.entry import examples
from export.cli.options import Debug, Force

EXAMPLES = examples(
    "affectd-export speaker campplus.onnx --out speaker.onnx --licence Apache-2.0",
    "affectd-export speaker campplus.onnx --out speaker.onnx --licence Apache-2.0 --speech recordings",
    "affectd-calibrate verification configs/default-train.toml --data data --out verifier --encoder speaker.onnx",
)


def speaker(
    model: Annotated[Path, typer.Argument(help="ONNX file of WeSpeaker or 3D-Speaker, with sherpa-onnx's metadata.")],
    *,
    out: Annotated[Path, typer.Option(help="ONNX file to write.", dir_okay=False, metavar="FILE")],
    licence: Annotated[
        str, typer.Option(help="Licence of the weights, for the model card.", show_default="that in the metadata")
    ] = "",
    speech: Annotated[
        Path | None,
        typer.Option(
            help="Folder of recordings: half of them set the ranges of int8, the others check it.",
            exists=True, file_okay=False, metavar="DIR", show_default="float32",
        ),
    ] = None,
    force: Force = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Adapt a published speaker encoder (CAM++, ERes2Net, ECAPA, ResNet): front end inside, waveform to voiceprint.

    It has no input for lengths, so every utterance of a batch runs by itself and unpadded, which costs no accuracy but
    some speed in batches. Its calibration comes from affectd-calibrate verification --encoder.
    """
    from rich.console import Console
    from rich.table import Table

    from calibrate.finished import keep_finished
    from export.speaker.foreign import adapt_speaker_encoder
    from export.speaker.speech import speech_of_folder

    keep_finished(out, force)
    adapted = adapt_speaker_encoder(model, out, licence, speech_of_folder(speech) if speech else ())
    table = Table("check", "figure", title=f"{model.name}, {adapted.framework}")
    table.add_row("voiceprint", f"{adapted.dim} values")
    table.add_row("precision", adapted.precision)
    if adapted.precision == "int8":
        table.add_row("least cosine to float32", f"{adapted.cosine:.4f}")
    table.add_row("padding error", f"{adapted.padding_error:.2g}")
    table.add_row("3 s of speech, one thread", f"{adapted.milliseconds:.0f} ms")
    Console().print(table)
    print(f"speaker encoder written to {out}, {out.stat().st_size / 1e6:.1f} MB")
