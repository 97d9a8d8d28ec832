"""Train a model by a recipe: the work behind ``affectd-calibrate train``."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from calibrate import processes
from calibrate.corpora import require_trainable
from calibrate.dataset import Part, read_parts, require_labels, require_speakers
from calibrate.evaluate import by_corpus, values_by_corpus
from calibrate.left_out import fit_left_out_temperature
from calibrate.progress import stage
from calibrate.recipe import Recipe
from calibrate.report import figures_report, training_picture
from calibrate.run import FROZEN_NAME, Run, build_run, load_run
from calibrate.splits import SPLITS, Split
from calibrate.trained import answer_by
from calibrate.training.clip_mfcc import clip_mfcc
from calibrate.training.convergence import find_undertrained
from calibrate.training.readout import fit_readout
from calibrate.training.regression import Examples, fit_logistic
from calibrate.training.sources import LiveFeatures
from calibrate.training.temperature import fit_temperature
from calibrate.training.trainer import train_classifier
from calibrate.workspace import Workspace
from edge.bundle import CorpusRecord

logger = logging.getLogger(__name__)


def train_recipe(
    workspace: Workspace,
    recipe: Recipe,
    folder: Path,
    *,
    encoder: str | None = None,
    strict: bool = False,
    resume: bool = False,
) -> None:
    """Train by a recipe, and report on the validation speakers.

    Args:
        workspace: data, cache and device.
        recipe: as it is trained, any head and any change laid over it.
        folder: of the run.
        encoder: replaces where the pretrained encoder is loaded from.
        strict: a file that breaks its corpus's naming is an error, not a warning.
        resume: go on from the checkpoint, if there is one.

    Raises:
        UsageError: the device does not work here, or nobody is left to train on or to validate on.
    """
    device = processes.join(workspace)
    parts = read_parts(recipe, workspace.data, strict=strict)
    for split in SPLITS[: 1 if recipe.head.kind == "logistic" else 2]:
        require_speakers(parts, split)
    run = build_run(recipe, encoder or recipe.encoder.name, np.unique(parts["train"].speakers).tolist())
    run.to(device)
    train_run(run, parts, folder, workspace.cache, resume)
    if recipe.encoder.finetune and recipe.schedule.epochs:
        before = load_run(folder / FROZEN_NAME, run.encoder_name)
        _report_training(before, parts["validation"], folder / FROZEN_NAME, workspace.cache)
    if parts["validation"].paths:
        _report_training(run, parts["validation"], folder, workspace.cache)
    elif processes.is_main():
        figures = f"evaluate {folder}" if parts["test"].paths else "generalise"
        print(f"run written to {folder}; nobody is left to validate on: affectd-calibrate {figures} has the figures")
    processes.leave()


def _report_training(run: Run, validation: Part, folder: Path, cache: Path) -> None:
    answers = answer_by(run, validation, run.source(cache))
    figures = by_corpus(answers.part, answers.probabilities, run.recipe.labels)
    values = values_by_corpus(answers, run.recipe.labels, run.recipe.values)
    if not processes.is_main():
        return
    if run.recipe.head.kind != "logistic":
        training_picture(folder / "log.csv").write(folder)
    splits = run.recipe.splits.origin
    model = f"torch{run.recipe.head.stranger}"
    protocol = f"validation speakers of {splits}, never trained on; what is spoken in each file, {model}"
    stage = "validation speakers" if folder.name != FROZEN_NAME else "validation speakers, before fine-tuning"
    report = figures_report(figures, run.recipe.labels, protocol, f"{run.recipe.name}: {stage}", values)
    report.write(folder / "validation")
    report.show()
    print(f"run written to {folder}")


def train_run(run: Run, parts: dict[Split, Part], folder: Path, cache: Path, resume: bool = False) -> None:
    """Train a run in place, scale its temperature, and save it to ``folder``.

    The validation speakers set the temperature, for a logistic head the corpora left out in turn.

    Where the encoder is to learn, the head learns first, on the frozen encoder, as a run of its own in
    ``folder/frozen``: a head that knows nothing would distort the encoder (Kumar et al. 2022).

    Raises:
        UsageError: a recording may only be evaluated on, or there is one label only.
    """
    train, validation = parts["train"], parts["validation"]
    require_trainable([*train.paths, *validation.paths])
    require_labels(train, run.recipe.labels)
    folder.mkdir(parents=True, exist_ok=True)
    recipe, seed = run.recipe, run.recipe.seed
    if recipe.head.speaker == "mfcc":
        run.measure_speakers(train, clip_mfcc(train.paths, cache, recipe.head.speaker_dim))
    if recipe.encoder.finetune:
        if recipe.schedule.epochs:
            frozen = replace(run, recipe=recipe.with_finetune(0))
            train_run(frozen, parts, folder / FROZEN_NAME, cache, resume)
        finetune_run(run, (train, validation), folder, seed=seed, resume=resume)
    elif recipe.head.kind == "logistic":
        examples = Examples.read(run.source(cache), train, recipe)
        with stage("fitting the head"):
            fit_logistic(run.classifier, examples, recipe)
        with stage("calibrating it, on what is left out in turn"):
            fit_left_out_temperature(run, examples)
    else:
        source = run.source(cache)
        train_classifier(run.classifier, source, (train, validation), recipe.schedule, folder, seed=seed, resume=resume)
        spoken = source.clean(validation, spoken_only=True)
        lacking = find_undertrained(run.classifier, recipe, source.clean(train), spoken)
        if lacking and processes.is_main():
            logger.warning("%s; raise schedule.epochs (%d) or schedule.learning_rate", lacking, recipe.schedule.epochs)
    if recipe.head.kind != "logistic":
        readable, features = run.source(cache).clean(validation, spoken_only=True)
        run.temperature = fit_temperature(run.logits(features, readable), readable)
    if recipe.values:
        if recipe.head.kind != "logistic":
            examples = Examples(*run.source(cache).clean(train, spoken_only=True))
        fit_values(run, examples)
    run.corpora = [
        CorpusRecord(
            name=name,
            licence=corpus.licence,
            licence_verified=corpus.licence_verified,
            speakers=len(np.unique(train.speakers[train.corpora == name])),
            utterances=int((train.corpora == name).sum()),
        )
        for name, corpus in train.origins.items()
        if (train.corpora == name).any()
    ]
    run.speakers = np.unique(train.speakers).tolist()
    if processes.is_main():
        run.save(folder)
    processes.meet()


def fit_values(run: Run, examples: Examples) -> None:
    """Fit the values of a run's recipe on embeddings of what is spoken, once its head has learned.

    Raises:
        UsageError: no example has a value, or all have the same.
    """
    with stage("fitting the values"):
        embeddings = [run.embed(each) for each in (examples.features, *examples.copies)]
        run.readout = fit_readout(embeddings, examples.part, run.recipe)


def finetune_run(run: Run, parts: tuple[Part, Part], folder: Path, *, seed: int = 0, resume: bool = False) -> None:
    """Let the last layers of a run's encoder learn together with its head, by ``[finetune]`` of its recipe.

    Args:
        run: its head has learned on the encoder as it is, unless the recipe leaves that out.
        parts: training and validation utterances.
        folder: of the log and the checkpoint.
        seed: of the draws.
        resume: continue from the checkpoint, if there is one.
    """
    torch.manual_seed(seed)
    source = LiveFeatures(run.encoder, run.recipe)
    readable = (source.readable(parts[0]), source.readable(parts[1], spoken_only=True))
    fit = not run.recipe.schedule.epochs
    train_classifier(run.classifier, source, readable, run.recipe.finetune, folder, seed=seed, resume=resume, fit=fit)
    source.finish()
