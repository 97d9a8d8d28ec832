"""The work behind ``affectd-export``."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import torch
from rich.console import Console
from rich.table import Table

from calibrate.commands import show_figures
from calibrate.dataset import read_parts
from calibrate.run import load_run
from edge.errors import UsageError, nearest
from export.bundle import Identity, Precision, export_bundle


def write_bundle(
    run_folder: Path,
    data: Path,
    out: Path,
    name: str | None,
    *,
    version: str,
    precision: str,
    encoder: str | None,
    threads: int,
) -> None:
    """Export a run; see the command's help."""
    wanted = _precision(precision)
    torch.set_num_threads(threads)
    run = load_run(run_folder, encoder)
    test = read_parts(run.recipe, data)["test"]
    if not test.paths:
        raise UsageError(f"{data}: no test speakers, and an export is checked on them")
    splits = run.recipe.splits.file or "a seeded draw"
    protocol = (
        f"`affectd-export bundle`: test speakers of {splits}, never trained on; whole files through the device's code; "
        f"{wanted}, CPU; {len(run.recipe.labels)} labels; no adaptation."
    )
    written = export_bundle(run, test, out, Identity(name or run.recipe.name, version, wanted), protocol)
    table = Table("check", "figure", "limit", title="checks of the export")
    for check in written.checks:
        table.add_row(check.name, f"{check.figure:.4g}", check.limit)
    Console().print(table)
    show_figures(written.figures, "test speakers")
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"bundle written to {out}, {size / 1e6:.1f} MB")


def _precision(name: str) -> Precision:
    precisions: dict[str, Precision] = {precision: precision for precision in get_args(Precision)}
    if name not in precisions:
        raise UsageError(f"precision {name!r} is not one of {', '.join(precisions)}{nearest(name, precisions)}")
    return precisions[name]
