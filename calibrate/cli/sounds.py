"""``affectd-calibrate sounds``."""

from pathlib import Path
from typing import Annotated

import typer

from calibrate.cli.options import Debug, Force, Json, SplitName, Threads, finished_out
from edge.cli.kit.entry import examples

EXAMPLES = examples(
    "affectd-calibrate sounds edge/bundles/default sounds/",
    "affectd-calibrate sounds bundles/mine sounds/ --data data --recipe mine.toml      and on real speech",
)


def sounds(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, whose recipe had [sounds].")],
    folders: Annotated[list[Path], typer.Argument(help="Recordings without speech; a folder is a kind of sound.")],
    *,
    data: Annotated[
        Path, typer.Option(help="Folder that the recipe's corpora and splits are relative to.", metavar="DIR")
    ] = Path("data"),
    recipe: Annotated[
        Path | None, typer.Option(help="Corpora and splits of real speech.", show_default="no speech is tested")
    ] = None,
    split: SplitName = "test",
    out: Annotated[Path | None, finished_out("sounds.md", is_optional=True)] = None,
    threads: Threads = 2,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure what a bundle makes of coughs, dogs and doors, and how much real speech it takes for such."""
    from calibrate.experiments.sounds import measure_sounds
    from calibrate.workspace import Workspace

    report = measure_sounds(Workspace(data, threads=threads).open(), bundle, folders, recipe_path=recipe, split=split)
    report.write(out)
    report.show(json, out)
