"""The work behind ``affectd-export``."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import torch
from rich.console import Console
from rich.table import Table

from calibrate.commands import show_figures
from calibrate.dataset import read_parts
from calibrate.population import population_of
from calibrate.run import load_run
from calibrate.verifier import SpeakerModel
from edge.errors import UsageError, nearest
from export.bundle import Identity, Model, Precision, export_bundle
from export.foreign import adapt_speaker_encoder


def write_bundle(
    run_folder: Path,
    data: Path,
    out: Path,
    name: str | None,
    *,
    version: str,
    precision: str,
    encoder: str | None,
    speakers: Path | None,
    cache: Path,
    threads: int,
) -> None:
    """Export a run; see the command's help."""
    wanted = _precision(precision)
    torch.set_num_threads(threads)
    run = load_run(run_folder, encoder)
    speaker = SpeakerModel.load(speakers) if speakers else None
    parts = read_parts(run.recipe, data)
    test = parts["test"]
    if not test.paths:
        raise UsageError(f"{data}: no test speakers, and an export is checked on them")
    splits = run.recipe.splits.file or "a seeded draw"
    protocol = (
        f"`affectd-export bundle`: test speakers of {splits}, never trained on; what is spoken in each file, "
        f"through the device's code; {wanted}, CPU; {len(run.recipe.labels)} labels; no adaptation."
    )
    population = population_of(run, parts["train"], parts["validation"], run.source(cache))
    model = Model(run, population, speaker)
    written = export_bundle(model, test, out, Identity(name or run.recipe.name, version, wanted), protocol)
    table = Table("check", "figure", "limit", title="checks of the export")
    for check in written.checks:
        table.add_row(check.name, f"{check.figure:.4g}", check.limit)
    Console().print(table)
    show_figures(written.figures, "test speakers")
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"bundle written to {out}, {size / 1e6:.1f} MB")
    if speaker is None:
        print("it recognises nobody: affectd-calibrate verification makes what --speakers takes")


def write_foreign_speaker(model: Path, out: Path, licence: str) -> None:
    """Adapt a published speaker encoder; see the command's help."""
    adapted = adapt_speaker_encoder(model, out, licence)
    table = Table("check", "figure", title=f"{model.name}, {adapted.framework}")
    table.add_row("voiceprint", f"{adapted.dim} values")
    table.add_row("padding error", f"{adapted.padding_error:.2g}")
    table.add_row("3 s of speech, one thread", f"{adapted.milliseconds:.0f} ms")
    Console().print(table)
    print(f"speaker encoder written to {out}, {out.stat().st_size / 1e6:.1f} MB")


def _precision(name: str) -> Precision:
    precisions: dict[str, Precision] = {precision: precision for precision in get_args(Precision)}
    if name not in precisions:
        raise UsageError(f"precision {name!r} is not one of {', '.join(precisions)}{nearest(name, precisions)}")
    return precisions[name]
