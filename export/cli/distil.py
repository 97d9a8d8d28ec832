"""``affectd-export distil``: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.kit.entry import examples
from export.cli.app import Cache, Debug, Threads, app


@app.command(
    epilog=examples(
        "affectd-export distil runs/teacher configs/distil-nano.toml --data data --out runs/nano",
        "affectd-export distil runs/teacher configs/distil-nano.toml --data data --unlabelled speech --out runs/more",
    )
)
def distil(
    run: Annotated[Path, typer.Argument(help="The teacher: folder that affectd-calibrate train wrote.")],
    recipe: Annotated[Path, typer.Argument(help="Student, losses and schedule in TOML, see configs/distil-*.toml.")],
    *,
    data: Annotated[Path, typer.Option(help="Folder of the corpora that the teacher trained on.", metavar="DIR")],
    out: Annotated[Path, typer.Option(help="Folder of the student's run.", file_okay=False, metavar="DIR")],
    unlabelled: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of more speech, without labels. Repeatable.", file_okay=False, metavar="DIR"),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Hub name or folder of the teacher's pretrained encoder, over the run's.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Hub name or folder of the encoder that the student starts from, over the recipe's."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the student's checkpoint.")] = False,
    cache: Cache = Path("cache"),
    threads: Threads = 2,
    debug: Debug = False,
) -> None:
    """Train a small encoder to hear as a trained run does, and write it as a run, with that run's own heads.

    Its folder "encoder" can also take the place of a pretrained encoder: affectd-calibrate train --encoder DIR/encoder.
    """
    from export.distil.command import distil_run

    distil_run(
        run, recipe, data, out, unlabelled or [], encoder, start, resume=resume, cache=cache, threads=threads
    )  # fmt: skip
