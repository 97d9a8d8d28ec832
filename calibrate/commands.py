"""The work behind ``affectd-calibrate train`` and ``evaluate``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from calibrate.dataset import Part, read_parts
from calibrate.evaluate import evaluate_bundle, evaluate_run
from calibrate.experiments.answers import inhabited, split_named
from calibrate.experiments.crossvalidation import cross_validate
from calibrate.metrics import Figures
from calibrate.recipe import read_recipe
from calibrate.report import draw_training, summary, write_report
from calibrate.run import FROZEN_NAME, RUN_NAME, Run, build_run, load_run, train_run
from calibrate.speakers import household, verification_report
from calibrate.speakers.adaptation import Gain, evaluate_adaptation
from calibrate.speakers.verification import HOUSEHOLD
from calibrate.speakers.verification_run import verify_speakers
from calibrate.splits import SPLITS
from calibrate.training import processes
from edge.bundle import MANIFEST_NAME, Bundle
from edge.errors import UsageError
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings


def train_recipe(
    recipe_path: Path,
    data: Path,
    out: Path | None,
    encoder: str | None,
    *,
    without: Sequence[str],
    strict: bool,
    resume: bool,
    cache: Path,
    threads: int,
    device: str,
    finetune: int | None = None,
    head: str | None = None,
) -> None:
    """Train by a recipe; see the command's help."""
    here = processes.join(cpu=device.startswith("cpu")) or processes.torch_device(device)
    torch.set_num_threads(threads)
    recipe = read_recipe(recipe_path, head).leave_out(without)
    if finetune is not None:
        recipe = recipe.with_finetune(finetune)
    folder = out or Path("runs") / (recipe.name if head is None else f"{recipe.name}-{Path(head).stem}")
    parts = read_parts(recipe, data, strict=strict)
    for split in SPLITS[:2]:
        inhabited(parts, split)
    run = build_run(recipe, encoder or recipe.encoder.name, np.unique(parts["train"].speakers).tolist())
    run.to(here)
    train_run(run, parts, folder, cache, resume)
    if recipe.encoder.finetune and recipe.schedule.epochs:
        before = load_run(folder / FROZEN_NAME, run.encoder_name)
        _report_training(before, parts["validation"], folder / FROZEN_NAME, cache)
    _report_training(run, parts["validation"], folder, cache)
    processes.leave()


def _report_training(run: Run, validation: Part, folder: Path, cache: Path) -> None:
    figures = evaluate_run(run, validation, cache)
    if not processes.is_main():
        return
    draw_training(folder / "training.png", folder / "log.csv")
    splits = run.recipe.splits.file or "a seeded draw"
    heard = f"what is spoken in each file, torch{run.recipe.head.stranger}"
    protocol = f"validation speakers of {splits}, never trained on; {heard}"
    write_report(folder / "validation", figures, run.recipe.labels, protocol)
    stage = "validation speakers" if folder.name != FROZEN_NAME else "validation speakers, before fine-tuning"
    show_figures(figures, f"{run.recipe.name}: {stage}")
    print(f"run written to {folder}")


def evaluate_model(
    model: Path,
    data: Path,
    split: str,
    recipe_path: Path | None,
    out: Path | None,
    encoder: str | None,
    *,
    cache: Path,
    threads: int,
    as_json: bool,
) -> None:
    """Evaluate a run or a bundle; see the command's help."""
    torch.set_num_threads(threads)
    part_name = split_named(split)
    if (model / MANIFEST_NAME).is_file():
        if recipe_path is None:
            raise UsageError("a bundle is evaluated with --recipe, which names the corpora and the splits")
        recipe = read_recipe(recipe_path)
        recognizer = Recognizer(Bundle.load(model), EncoderSettings(threads=threads))
        recognizer.load()
        recipe = recipe.model_copy(update={"labels": recognizer.bundle.manifest.labels})
        part = inhabited(read_parts(recipe, data), part_name)
        figures = evaluate_bundle(recognizer, part)
        seen = "" if split == "train" else ", never trained on if its training kept to this split"
        precision, provider = recognizer.bundle.manifest.encoder.precision, recognizer.encoder.provider
        what = f"bundle {model.name}, {precision}, {provider}"
    elif (model / RUN_NAME).is_file():
        run = load_run(model, encoder)
        recipe = read_recipe(recipe_path) if recipe_path else run.recipe
        recipe = recipe.model_copy(update={"labels": run.recipe.labels})
        part = inhabited(read_parts(recipe, data), part_name)
        figures = evaluate_run(run, part, cache)
        speakers = set(part.speakers.tolist())
        known = len(speakers.intersection(run.speakers))
        seen = f", {known} of {len(speakers)} trained on" if known else ", never trained on"
        what = f"run {model.name}, torch{run.recipe.head.stranger}"
    else:
        raise UsageError(f"{model}: holds neither {MANIFEST_NAME} (a bundle) nor {RUN_NAME} (a run)")
    protocol = f"{split} speakers of {recipe.splits.file or 'a seeded draw'}{seen}; what is spoken in each file; {what}"
    if out is not None:
        write_report(out, figures, recipe.labels, protocol)
    if as_json:
        print(json.dumps({"protocol": protocol, "corpora": {name: summary(row) for name, row in figures.items()}}))
    else:
        show_figures(figures, protocol)


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
    part = inhabited(read_parts(recipe, data), split)
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


def show_figures(corpora: Mapping[str, Figures], title: str) -> None:
    """Print the headline figures as a table."""
    table = Table("corpus", "clips", "speakers", "UA", "WA", "F1", "ECE", "worst 10 %", title=title)
    for name, row in corpora.items():
        shares = (row.ua, row.wa, row.macro_f1, row.ece, row.worst_decile)
        table.add_row(name, str(row.utterances), str(row.speakers), *(f"{share:.3f}" for share in shares))
    Console().print(table)
