"""``affectd-export engines``: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.kit.entry import examples
from edge.cli.kit.options import Config, Set, load
from export.cli.app import Debug, app


@app.command(
    epilog=examples(
        "affectd-export engines bundles/fp16 --config configs/jetson.toml",
        "affectd run --bundle bundles/fp16 --config configs/jetson.toml",
    )
)
def engines(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, exported with --precision fp16.")],
    *,
    provider: Annotated[str, typer.Option(help="What compiles; tensorrt is the only one that does.")] = "tensorrt",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the engines, encoder.engines.",
            metavar="DIR",
            show_default="~/.cache/affectd/engines",
        ),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Also those that exist, after an update of TensorRT or the driver.")
    ] = False,
    config: Config = None,
    set_: Set = None,
    debug: Debug = False,
) -> None:
    """Compile a bundle for this machine's GPU: one TensorRT engine for each bucket, each compared with the CPU.

    Takes minutes, once, on the machine that will run them, with the settings that it will run with.
    """
    from export.tensorrt.build import make_engines

    options = {
        "encoder.bundle": str(bundle),
        "encoder.provider": "tensorrt",
        "encoder.engines": str(out.resolve()) if out else None,
    }
    make_engines(load(config, set_, options).settings.encoder, provider, rebuild)
