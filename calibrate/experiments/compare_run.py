"""The work behind ``affectd-calibrate compare``: answers of two trained models, or of heads on two encoders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from calibrate.dataset import read_parts, require_speakers
from calibrate.experiments import compare
from calibrate.experiments.retraining import Retrainer
from calibrate.experiments.selection import held_out_folds
from calibrate.recipe import Recipe, read_recipe
from calibrate.run import RUN_NAME
from calibrate.trained import Answers, is_trained, open_trained, protocol_of
from calibrate.workspace import Workspace
from edge.bundle import MANIFEST_NAME
from edge.errors import UsageError


def compare_models(
    a: str,
    b: str,
    data: Path,
    recipe_path: Path | None,
    split: str,
    out: Path | None,
    encoders: tuple[str | None, str | None],
    *,
    folds: int,
    cache: Path,
    threads: int,
    as_json: bool,
) -> None:
    """Compare two runs or bundles, or two encoders; see the command's help."""
    torch.set_num_threads(threads)
    trained = [is_trained(Path(name)) for name in (a, b)]
    if all(trained):
        first, second, protocol, names = _answers(a, b, data, recipe_path, split, encoders, cache, threads)
    elif any(trained):
        raise UsageError(
            f"{a} and {b}: one is trained, the other an encoder; compare two runs or bundles, or two encoders"
        )
    elif recipe_path is None:
        raise UsageError(
            f"{a}: holds neither {MANIFEST_NAME} (a bundle) nor {RUN_NAME} (a run); comparing encoders needs --recipe, "
            "which names the corpora and the head"
        )
    else:
        recipe = read_recipe(recipe_path)
        first, second = (held_out_answers(recipe, data, name, cache, folds) for name in (a, b))
        protocol = (
            f"{folds} folds over the training and validation speakers of {recipe.splits.file or 'a seeded draw'}, each "
            f"heard by a head of recipe {recipe.name} that was trained without them; what is spoken in each file; torch"
        )
        names = (a.rstrip("/").rpartition("/")[2], b.rstrip("/").rpartition("/")[2])
    found, by_speaker = compare.compare(first, second)
    if out is not None:
        compare.write_comparison(out, found, by_speaker, names, protocol)
    if as_json:
        print(json.dumps(compare.as_json(found, by_speaker, names, protocol)))
        return
    table = Table(*compare.COLUMNS, title=f"A: {names[0]}; B: {names[1]}", caption=compare.MEANING)
    for cells in compare.rows(found):
        table.add_row(*cells)
    console = Console()
    console.print(table)
    for name, row in found.items():
        console.print(compare.reading(name, row), highlight=False)
    console.print(f"Protocol: {protocol}.", highlight=False)


def held_out_answers(recipe: Recipe, data: Path, encoder: str, cache: Path, folds: int) -> Answers:
    """Return answers to all training and validation utterances, each by a head trained without their speaker.

    Raises:
        UsageError: the recipe fine-tunes its encoder, or a corpus has fewer speakers than folds.
    """
    if recipe.encoder.finetune:
        raise UsageError(
            "comparing encoders trains heads on frozen ones: encoder.finetune must be 0; compare runs instead"
        )
    parts = read_parts(recipe, data)
    trainer = Retrainer(recipe, encoder, cache, [parts["train"], parts["validation"]])
    whole = trainer.whole
    probabilities = np.empty((len(whole.labels), len(recipe.labels)), np.float32)
    for held in held_out_folds(whole, folds, recipe.seed):
        test = whole.select(held)
        run, source = trainer.train(whole.select(~held), test, recipe.seed)
        probabilities[held] = run.probabilities(test, source)[1]
    return Answers(whole, probabilities)


def _answers(
    a: str,
    b: str,
    data: Path,
    recipe_path: Path | None,
    split: str,
    encoders: tuple[str | None, str | None],
    cache: Path,
    threads: int,
) -> tuple[Answers, Answers, str, tuple[str, str]]:
    workspace = Workspace(data, cache, threads)
    first, second = (
        open_trained(workspace, Path(name), encoder) for name, encoder in zip((a, b), encoders, strict=True)
    )
    if set(first.labels) != set(second.labels):
        labels = " against ".join(", ".join(model.labels) for model in (first, second))
        raise UsageError(f"the models answer with different labels, so their UA cannot be compared: {labels}")
    recipe = first.recipe(recipe_path)
    part = require_speakers(read_parts(recipe, data), split)
    ours, theirs = first.answer(part), second.answer(part)
    columns = [second.labels.index(label) for label in first.labels]
    protocol = protocol_of((first, second), recipe, part, split)
    return ours, Answers(theirs.part, theirs.probabilities[:, columns]), protocol, (first.name, second.name)
