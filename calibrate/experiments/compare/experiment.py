"""Answers of two trained models, or of heads on two encoders, to the same utterances."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from calibrate.dataset import read_parts, require_speakers
from calibrate.experiments.compare.comparison import compare
from calibrate.experiments.compare.report import comparison_report
from calibrate.experiments.retraining import Retrainer
from calibrate.experiments.selection import held_out_folds
from calibrate.recipe import Recipe, read_recipe
from calibrate.report import Report
from calibrate.run import RUN_NAME
from calibrate.trained import Answers, is_trained, open_trained, protocol_of
from calibrate.workspace import Workspace
from edge.bundle import MANIFEST_NAME
from edge.errors import UsageError

BothAnswers = tuple[Answers, Answers, tuple[str, str], str]
"""Of A and of B, their names, and the protocol."""


def compare_models(
    workspace: Workspace,
    a: str,
    b: str,
    *,
    recipe_path: Path | None,
    split: str,
    encoders: tuple[str | None, str | None],
    folds: int,
) -> Report:
    """Compare two runs or bundles, or two encoders, with a paired significance test over speakers.

    Args:
        workspace: data and cache.
        a: folder of a run or bundle, or hub name or folder of an encoder.
        b: the same of what it is compared with.
        recipe_path: its corpora and splits are used, of encoders its head, too; None: those of the run.
        split: that trained models are evaluated on.
        encoders: replace where the runs' encoders are loaded from.
        folds: of encoders, each speaker being held out once.
    """
    trained = [is_trained(Path(name)) for name in (a, b)]
    if all(trained):
        first, second, names, protocol = _of_models(workspace, a, b, recipe_path, split, encoders)
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
        first, second, names, protocol = _of_encoders(workspace, a, b, read_recipe(recipe_path), folds)
    return comparison_report(*compare(first, second), names, protocol)


def _of_models(
    workspace: Workspace,
    a: str,
    b: str,
    recipe_path: Path | None,
    split: str,
    encoders: tuple[str | None, str | None],
) -> BothAnswers:
    first, second = (
        open_trained(workspace, Path(name), encoder) for name, encoder in zip((a, b), encoders, strict=True)
    )
    if set(first.labels) != set(second.labels):
        labels = " against ".join(", ".join(model.labels) for model in (first, second))
        raise UsageError(f"the models answer with different labels, so their UA cannot be compared: {labels}")
    recipe = first.recipe(recipe_path)
    part = require_speakers(read_parts(recipe, workspace.data), split)
    ours, theirs = first.answer(part), second.answer(part)
    columns = [second.labels.index(label) for label in first.labels]
    protocol = protocol_of((first, second), recipe, part, split)
    return ours, Answers(theirs.part, theirs.probabilities[:, columns]), (first.name, second.name), protocol


def _of_encoders(workspace: Workspace, a: str, b: str, recipe: Recipe, folds: int) -> BothAnswers:
    first, second = (held_out_answers(workspace, recipe, name, folds) for name in (a, b))
    protocol = (
        f"{folds} folds over the training and validation speakers of {recipe.splits.origin}, each heard by a head of "
        f"recipe {recipe.name} that was trained without them; what is spoken in each file; torch"
    )
    return first, second, (a.rstrip("/").rpartition("/")[2], b.rstrip("/").rpartition("/")[2]), protocol


def held_out_answers(workspace: Workspace, recipe: Recipe, encoder: str, folds: int) -> Answers:
    """Return answers to all training and validation utterances, each by a head trained without their speaker.

    Raises:
        UsageError: the recipe fine-tunes its encoder, or a corpus has fewer speakers than folds.
    """
    if recipe.encoder.finetune:
        raise UsageError(
            "comparing encoders trains heads on frozen ones: encoder.finetune must be 0; compare runs instead"
        )
    parts = read_parts(recipe, workspace.data)
    trainer = Retrainer(recipe, encoder, workspace.cache, [parts["train"], parts["validation"]])
    whole = trainer.whole
    probabilities = np.empty((len(whole.labels), len(recipe.labels)), np.float32)
    for held in held_out_folds(whole, folds, recipe.seed):
        test = whole.select(held)
        run, source = trainer.train(whole.select(~held), test, recipe.seed)
        probabilities[held] = run.probabilities(test, source)[1]
    return Answers(whole, probabilities)
