"""``affectd-export engines``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.kit.entry import examples
from edge.cli.kit.options import Config, Set, load
from export.cli.options import Debug

EXAMPLES = examples(
    "affectd-export engines bundles/fp16 --config configs/jetson.toml",
    "affectd run --bundle bundles/fp16 --config configs/jetson.toml",
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
    from edge.bundle import Bundle
    from edge.errors import UsageError, nearest
    from edge.tensorrt import Engines
    from export.engines import build_engines, duration

    options = {
        "encoder.bundle": str(bundle),
        "encoder.provider": "tensorrt",
        "encoder.engines": str(out.resolve()) if out else None,
    }
    settings = load(config, set_, options).settings.encoder
    if provider != "tensorrt":
        raise UsageError(f"provider {provider!r} has no engines; tensorrt has{nearest(provider, ['tensorrt'])}")
    loaded = Bundle.load(settings.bundle_folder)
    built = build_engines(loaded, settings, rebuild, lambda line: print(line, flush=True))
    fresh = [each for each in built if each.seconds]
    folder = Engines.of(loaded.encoder_path, settings).folder
    took = duration(sum(each.seconds for each in fresh))
    print(f"{len(fresh)} engines built in {took}, {len(built) - len(fresh)} were there: {folder}")
    if settings.engines:
        print(f"affectd run --provider tensorrt --set encoder.engines={settings.engines} takes them from there")
