"""``affectd-export thin``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.kit.entry import examples
from export.cli.options import Debug, Force, Threads

EXAMPLES = examples(
    "affectd-export thin configs/default-train.toml --data data --stem 256 --hidden 1792 --out runs/thin",
    "affectd-calibrate train configs/default-train.toml --data data --encoder runs/thin --out runs/mine",
)


def thin(
    recipe: Annotated[
        Path,
        typer.Argument(help="Training recipe: its encoder is thinned, on speech of its corpora.", metavar="RECIPE"),
    ],
    *,
    data: Annotated[Path, typer.Option(help="Folder of the corpora.", metavar="DIR")],
    out: Annotated[Path, typer.Option(help="Folder of the thin encoder.", file_okay=False, metavar="DIR")],
    stem: Annotated[
        int | None, typer.Option(min=8, help="Channels to leave in the front end.", show_default="all of them")
    ] = None,
    hidden: Annotated[
        int | None,
        typer.Option(min=8, help="Channels to leave in each feed-forward layer.", show_default="all of them"),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Hub name or folder of the pretrained encoder, over the recipe's.")
    ] = None,
    clips: Annotated[int, typer.Option(min=8, help="Utterances to fit it to, of every corpus alike.")] = 960,
    seed: Annotated[int, typer.Option(min=0, help="Of how half of them are augmented.")] = 0,
    threads: Threads = 2,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Make a Whisper encoder thinner without training: channels go, and least squares let the others take over.

    Where the recipe merges tokens (encoder.merge), what that costs is made up for in the same way. Half of the
    utterances are augmented as in the recipe; labels are not used. The folder takes the place of the pretrained
    encoder: affectd-calibrate train --encoder DIR.
    """
    import torch
    from rich.console import Console
    from rich.table import Table

    from calibrate.encoders.students import WEIGHTS_NAME
    from calibrate.finished import keep_finished
    from calibrate.recipe import read_recipe
    from export.thin.folder import Wanted, write_thin

    keep_finished(out, force, WEIGHTS_NAME)
    torch.set_num_threads(threads)
    described = read_recipe(recipe)
    found = write_thin(described, data, encoder, Wanted(stem or 0, hidden or 0, clips, seed), out)
    table = Table("layer", "", "means", "deviations")
    for name, rows in found.rows.items():
        for row in rows:
            table.add_row(str(row.layer), name, f"{row.means:.3f}", f"{row.deviations:.3f}")
    print(f"what is pooled, correlation with {found.origin} whole, over {found.clips} other clips:")
    Console().print(table)
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"encoder written to {out}, {size / 1e6:.1f} MB in float32")
