"""The work behind ``affectd-calibrate train`` and ``evaluate``."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from calibrate.dataset import read_parts, require_speakers
from calibrate.recipe import read_recipe
from calibrate.speakers import household, verification_report
from calibrate.speakers.verification import HOUSEHOLD
from calibrate.speakers.verification_run import verify_speakers
from edge.bundle import Bundle
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings


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
