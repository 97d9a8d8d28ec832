"""``affectd-export check``: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.kit.entry import examples
from export.cli.app import Debug, Threads, app

TEACHER = "HuBERT-large shape"


@app.command(
    epilog=examples(
        "affectd-export check bundles/mine",
        "affectd-export check bundles/mine --data data --recipe configs/default-train.toml --against bundles/float",
        "affectd-export check bundles/nano --max-mb 2 --run runs/nano --data data --latency --least-ratio 600",
    )
)
def check(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the corpora, for figures on the test speakers.", metavar="DIR", show_default="none"
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="Recipe that names corpora and splits.", metavar="TOML", dir_okay=False, show_default="that of --run"
        ),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Float bundle of the same run, to compare with.", metavar="DIR")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run itself, to compare with instead: slower.", metavar="DIR")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Hub name or folder of the pretrained encoder, over the run's.")
    ] = None,
    max_mb: Annotated[float, typer.Option(min=0, help="Most megabytes of the bundle.", metavar="MB")] = 20.0,
    latency: Annotated[bool, typer.Option("--latency", help="Time it against a pretrained encoder's shape.")] = False,
    teacher: Annotated[str, typer.Option(help="That shape; its weights are random.")] = TEACHER,
    least_ratio: Annotated[float, typer.Option(min=0, help="Least times that the bundle must be faster.")] = 1.0,
    cache: Annotated[Path, typer.Option(help="Folder for features of the run's encoder.", metavar="DIR")] = Path(
        "cache"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    threads: Threads = 2,
    debug: Debug = False,
) -> None:
    """Verify a finished bundle: files, graph, parity, padding, batches, figures, latency. A failure is exit code 3.

    Without data, embeddings are compared on the example conversation. What cannot be checked says why.
    """
    from export.commands import check_bundle

    check_bundle(
        bundle, data, recipe, against=against, run=run, encoder=encoder, max_mb=max_mb,
        teacher=teacher if latency else None, least_ratio=least_ratio, cache=cache, as_json=as_json, threads=threads,
    )  # fmt: skip
