"""The work behind ``affectd-calibrate train`` and ``evaluate``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from calibrate.dataset import read_parts, require_speakers
from calibrate.experiments.crossvalidation import cross_validate
from calibrate.recipe import read_recipe
from calibrate.speakers import household, verification_report
from calibrate.speakers.adaptation import Gain, evaluate_adaptation
from calibrate.speakers.verification import HOUSEHOLD
from calibrate.speakers.verification_run import verify_speakers
from calibrate.splits import split_named
from edge.bundle import Bundle
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings


def measure_adaptation(
    run: Path, data: Path, out: Path, split: str, encoder: str | None, *, cache: Path, threads: int
) -> None:
    """Measure adaptation; see the command's help."""
    torch.set_num_threads(threads)
    show_gains(evaluate_adaptation(run, data, out, split=split_named(split), encoder=encoder, cache=cache), out)


def validate_recipe(
    recipe_path: Path, data: Path, out: Path, encoder: str | None, *, folds: int, cache: Path, threads: int
) -> None:
    """Cross-validate a recipe; see the command's help."""
    torch.set_num_threads(threads)
    show_gains(cross_validate(read_recipe(recipe_path), data, out, encoder, cache, folds), out)


def show_gains(gains: Sequence[Gain], out: Path) -> None:
    """Print UA by enrolment clips as a table."""
    counts = sorted({gain.clips for gain in gains})
    table = Table("corpus", "enrolment", *map(str, counts), title="UA by enrolment clips")
    rows: dict[tuple[str, str], list[str]] = {}
    for gain in sorted(gains, key=lambda gain: gain.clips):
        rows.setdefault((gain.corpus, gain.condition), []).append(f"{gain.ua['profile']:.3f}")
    for (corpus, condition), cells in rows.items():
        table.add_row(corpus, condition, *cells)
    Console().print(table)
    print(f"report written to {out}")


def measure_verification(
    recipe_path: Path,
    data: Path,
    out: Path,
    encoder: Path | None,
    *,
    draws: int,
    cache: Path,
    threads: int,
    as_json: bool,
) -> None:
    """Measure who speaks and fit the verifier; see the command's help."""
    torch.set_num_threads(threads)
    protocol, figures = verify_speakers(recipe_path, data, out, encoder, draws=draws, cache=cache, threads=threads)
    if as_json:
        print(json.dumps(verification_report.as_json(figures, protocol)))
        return
    corpora = verification_report.corpora_of(figures)
    errors = Table("equal error rate, 4 clips", *corpora)
    for row in verification_report.error_rows(figures):
        errors.add_row(*row)
    title = f"household of {HOUSEHOLD}, conversations"
    talks = Table(*verification_report.CONVERSATIONS, title=title, caption=verification_report.MEANING)
    for row in verification_report.conversation_rows(figures):
        talks.add_row(*row)
    Console().print(errors, talks)
    print(f"report and verifier written to {out}")


def measure_households(
    folder: Path, data: Path, recipe_path: Path, split: str, out: Path | None, *, threads: int, as_json: bool
) -> None:
    """Measure a bundle end to end; see the command's help."""
    torch.set_num_threads(threads)
    recognizer = Recognizer(Bundle.load(folder), EncoderSettings(threads=threads))
    recognizer.load(voiceprints=True)
    bundle = recognizer.bundle
    recipe = read_recipe(recipe_path).model_copy(update={"labels": bundle.manifest.labels})
    part = require_speakers(read_parts(recipe, data), split)
    found = household.evaluate_households(bundle, part, household.encode_part(recognizer, part))
    protocol = f"{split} speakers of {recipe.splits.file or 'a seeded draw'}; {household.PROTOCOL}"
    if out is not None:
        household.write_households(out, found, protocol)
    if as_json:
        print(json.dumps(household.as_json(found, protocol)))
        return
    table = Table(*household.COLUMNS, title="Households", caption="kept: of the gain that everyone's own profile gives")
    for row in household.rows(found):
        table.add_row(*row)
    Console().print(table)
