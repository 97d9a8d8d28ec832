"""The work behind ``affectd-export``."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, get_args

import torch
from rich.console import Console
from rich.table import Table

from calibrate.dataset import Part, read_parts
from calibrate.recipe import read_recipe
from calibrate.report import figures_report
from calibrate.run import Run, load_run
from calibrate.speakers.factor_model import population_of
from calibrate.speakers.verifier import SpeakerModel
from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.bundle import Bundle
from edge.errors import ModelError, UsageError, nearest
from export.bundle.check import Check, failures
from export.bundle.examine import Evidence, Race, Reference, examine, read_manifest
from export.bundle.write import PARITY_UTTERANCES, Identity, Model, export_bundle
from export.graph.parity import some_speech
from export.graph.precision import Precision, Quantisation
from export.measure.peers import SHAPES
from export.measure.plan import CONVERSATION
from export.speaker.foreign import adapt_speaker_encoder

Choice = TypeVar("Choice", bound=str)


def write_bundle(
    run_folder: Path,
    data: Path,
    out: Path,
    name: str | None,
    *,
    version: str,
    precision: str,
    quantisation: str,
    encoder: str | None,
    speakers: Path | None,
    max_mb: float | None,
    cache: Path,
    threads: int,
) -> None:
    """Export a run; see the command's help."""
    wanted = _one_of("precision", precision, get_args(Precision))
    way = None if quantisation == "auto" else _one_of("quantisation", quantisation, get_args(Quantisation), "auto")
    torch.set_num_threads(threads)
    run = load_run(run_folder, encoder)
    speaker = SpeakerModel.load(speakers) if speakers else None
    parts = read_parts(run.recipe, data)
    if not parts["test"].paths:
        raise UsageError(f"{data}: no test speakers, and an export is checked on them")
    splits = run.recipe.splits.file or "a seeded draw"
    protocol = (
        f"`affectd-export bundle`: test speakers of {splits}, never trained on; what is spoken in each file, "
        f"through the device's code; {wanted}, CPU; {len(run.recipe.labels)} labels; no adaptation."
    )
    population = population_of(run, parts["train"], parts["validation"], run.source(cache))
    model = Model(run, population, speaker)
    identity = Identity(name or run.recipe.name, version, wanted, way)
    written = export_bundle(model, parts, out, identity, protocol, max_mb)
    _show_checks(written.checks, "checks of the export")
    for trial in written.trials:
        print(f"{trial.quantisation} int8: mean cosine {trial.cosine:.4f}, {trial.latency_ms:.1f} ms for 3 s")
    figures_report(written.figures, run.recipe.labels, protocol, "test speakers").show()
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"bundle written to {out}, {size / 1e6:.1f} MB")
    if speaker is None:
        print("it recognises nobody: affectd-calibrate verification makes what --speakers takes")


def check_bundle(
    folder: Path,
    data: Path | None,
    recipe_path: Path | None,
    *,
    against: Path | None,
    run: Path | None,
    encoder: str | None,
    max_mb: float,
    teacher: str | None,
    least_ratio: float,
    cache: Path,
    as_json: bool,
    threads: int,
) -> None:
    """Verify a finished bundle; see the command's help."""
    race = Race(_one_of("teacher", teacher, tuple(SHAPES)), least_ratio) if teacher else None
    if against and run:
        raise UsageError("a bundle is compared either --against a float bundle or with its --run")
    torch.set_num_threads(threads)
    trained = load_run(run, encoder) if run else None
    test = _test_part(folder, data, recipe_path, trained) if data else None
    reference = None
    if trained:
        reference = Reference.of_run(trained, cache)
    elif against:
        reference = Reference.of_bundle(Bundle.load(against), threads)
    speech = some_speech(test, PARITY_UTTERANCES) if test else _conversation()
    checks = examine(folder, Evidence(speech, test, reference, race), max_mb, threads)
    failed = failures(checks)
    if as_json:
        rows = [check.as_json() for check in checks]
        print(json.dumps({"bundle": str(folder), "passed": not failed, "checks": rows}, indent=2))
    else:
        _show_checks(checks, f"checks of {folder}")
    if failed:
        raise ModelError(f"{folder}: {failed}")


def write_foreign_speaker(model: Path, out: Path, licence: str) -> None:
    """Adapt a published speaker encoder; see the command's help."""
    adapted = adapt_speaker_encoder(model, out, licence)
    table = Table("check", "figure", title=f"{model.name}, {adapted.framework}")
    table.add_row("voiceprint", f"{adapted.dim} values")
    table.add_row("padding error", f"{adapted.padding_error:.2g}")
    table.add_row("3 s of speech, one thread", f"{adapted.milliseconds:.0f} ms")
    Console().print(table)
    print(f"speaker encoder written to {out}, {out.stat().st_size / 1e6:.1f} MB")


def _test_part(folder: Path, data: Path, recipe_path: Path | None, run: Run | None) -> Part:
    recipe = read_recipe(recipe_path) if recipe_path else run.recipe if run else None
    if recipe is None:
        raise UsageError("with --data goes --recipe, which names the corpora and the splits, or --run, which has one")
    manifest = read_manifest(folder)
    if manifest:
        recipe = recipe.model_copy(update={"labels": manifest.labels})
    test = read_parts(recipe, data)["test"]
    if not test.paths:
        raise UsageError(f"{data}: no test speakers")
    return test


def _conversation() -> list[Waveform]:
    """Return the turns of the example conversation."""
    if not CONVERSATION.is_file():
        raise UsageError(f"{CONVERSATION}: is not there, so --data is needed for speech to compare embeddings on")
    samples = read_audio(CONVERSATION)
    with CONVERSATION.with_suffix(".csv").open(newline="") as file:
        spans_s = [(float(row["start_s"]), float(row["end_s"])) for row in csv.DictReader(file)]
    return [samples[round(start * SAMPLE_RATE_HZ) : round(end * SAMPLE_RATE_HZ)] for start, end in spans_s]


def _show_checks(checks: Sequence[Check], title: str) -> None:
    table = Table("check", "figure", "limit", "", title=title)
    for check in checks:
        verdict = {True: "ok", False: "[bold red]FAILED[/bold red]", None: ""}[check.passed]
        table.add_row(check.name, str(check), check.limit, verdict)
    Console().print(table)


def _one_of(what: str, name: str, allowed: Sequence[Choice], *others: str) -> Choice:
    for each in allowed:
        if each == name:
            return each
    names: list[str] = [*allowed, *others]
    raise UsageError(f"{what} {name!r} is not one of {', '.join(names)}{nearest(name, names)}")
