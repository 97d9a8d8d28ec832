"""Distillation: a small encoder learns to imitate a trained run, on augmented speech that needs no labels."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from calibrate.dataset import Part, Rows
from calibrate.encoders.students import save_student
from calibrate.progress import progress_bar
from calibrate.run import Run
from calibrate.training.augment import augment
from calibrate.training.temperature import fit_temperature
from edge.audio import SAMPLE_RATE_HZ
from edge.errors import ModelError
from edge.files import new_file
from export.distil.imitation import LOSSES, Imitation, Scale, losses
from export.distil.student_recipe import DistilRecipe
from export.distil.teacher import Example, Rendering, View, batches_of, chatter, overlaid, view_of
from export.distil.validation import Validation

LOG_COLUMNS = ("epoch", "loss", *LOSSES, "validation_cosine", "validation_ua")
ENCODER_NAME = "encoder"
MOST_VOICES = 6
"""Behind an utterance, as many as in the babble that robustness is measured with."""


def distil(
    teacher: Run,
    parts: tuple[Part, Part],
    recipe: DistilRecipe,
    folder: Path,
    cache: Path,
    *,
    start: str = "",
    resume: bool = False,
) -> Run:
    """Train a student and write its run; ``log.csv`` and ``checkpoint.pt`` in the folder grow with every epoch.

    Args:
        teacher: a trained run with a dense head, or a logistic one, whose temperatures the student takes over.
        parts: training and validation utterances; the labels of the first weigh by the recipe.
        recipe: student, losses, schedule.
        folder: of the run; the encoder goes to ``encoder`` in it.
        cache: folder of the teacher's answers.
        start: where the encoder that the student starts from is loaded from, over the recipe's.
        resume: go on from the checkpoint, if there is one.

    Returns:
        The student's encoder and embedding with the teacher's heads, as it was written.

    Raises:
        ModelError: the student cannot imitate this teacher, or the checkpoint is of another recipe.
    """
    _check_imitable(teacher)
    train, validation = parts
    torch.manual_seed(recipe.seed)
    student = Training(Imitation(teacher, recipe, start), recipe, folder / "checkpoint.pt")
    apart = frames_a_token(teacher, student.imitation)
    rendering = Rendering(
        recipe.of_views(teacher.recipe.augmentation),
        recipe.speed,
        recipe.mixed,
        teacher.recipe.encoder.max_s,
    )
    views = [view_of(teacher, train.paths, rendering, view, apart, cache) for view in range(recipe.views)]
    validate = Validation(teacher, validation)
    folder.mkdir(parents=True, exist_ok=True)
    _train(student, views, train, validate, folder / "log.csv", student.load() if resume else 0)
    best = student.best()
    save_student(best.encoder.encoder, recipe.student, folder / ENCODER_NAME, _label(recipe, teacher))
    run = best.as_run(teacher, recipe, str(folder / ENCODER_NAME))
    run.temperature = teacher.temperature
    if teacher.recipe.head.kind == "dense":
        readable, features = run.source(cache).clean(validation, spoken_only=True)
        run.temperature = fit_temperature(run.logits(features), readable)
    run.save(folder)
    return run


class Training:
    """A student with its optimiser, the running mean of its weights, and the best that this mean has been.

    A small student learns the training speakers by heart in the end, so the best epoch on validation speakers is kept.
    """

    def __init__(self, imitation: Imitation, recipe: DistilRecipe, checkpoint: Path) -> None:
        self.imitation, self.recipe, self.checkpoint = imitation, recipe, checkpoint
        learned = [parameter for parameter in imitation.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(learned, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        mean = get_ema_multi_avg_fn(recipe.averaging)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(imitation, multi_avg_fn=mean)
        self._best = deepcopy(imitation)
        self.augmentation = recipe.augmentation if recipe.augmentation.copies else None
        self.pool = ThreadPoolExecutor(torch.get_num_threads())

    def kept(self) -> Imitation:
        """Return the student with the mean weights."""
        return cast(Imitation, self.average.module)

    def note_best(self) -> None:
        """Remember the mean weights as the best so far."""
        self._best.load_state_dict(self.kept().state_dict())

    def best(self) -> Imitation:
        """Return the student with the best mean weights."""
        return self._best.eval()

    def epoch(self, number: int, views: Sequence[View], part: Part, scale: Scale) -> list[float]:
        """Train for an epoch, each utterance in a view drawn at random; returns the mean loss and its parts."""
        recipe = self.recipe
        rng = np.random.default_rng([recipe.seed, number])
        torch.manual_seed(int(rng.integers(2**31)))
        self.imitation.train()
        found = []
        weights = torch.tensor(recipe.weights)
        batches = list(_batches(views, part, recipe.batch_s, rng))
        for place, (rows, drawn) in enumerate(batches):
            rate = _warmup_cosine((number + place / len(batches)) / recipe.epochs, recipe.warmup)
            for group in self.optimiser.param_groups:
                group["lr"] = recipe.learning_rate * rate
            seeds = rng.integers(2**63, size=len(rows))
            chosen = [views[view] for view in drawn]
            examples = list(self.pool.map(self._example, chosen, rows, seeds))
            each = losses(self.imitation, examples, torch.from_numpy(part.labels[rows]), scale)
            loss = each @ weights
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.imitation.parameters(), 1.0)
            self.optimiser.step()
            self.average.update_parameters(self.imitation)
            found.append([loss.item(), *each.tolist()])
        return [float(value) for value in np.mean(found, axis=0)]

    def _example(self, view: View, row: int, seed: int) -> Example:
        example = Example.of(view, row)
        if self.augmentation is None:
            return example
        rng, waveform, recipe = np.random.default_rng(seed), example.waveform, self.recipe.augmentation
        if recipe.voices_probability and rng.random() < recipe.voices_probability:
            others = chatter(view, int(rng.integers(1, MOST_VOICES + 1)), len(waveform), rng)
            waveform = overlaid(waveform, others, rng.uniform(*recipe.voices_db))
        return replace(example, waveform=augment(waveform, self.augmentation, rng))

    def save(self, epochs: int) -> None:
        """Write the state after this many epochs, as a whole."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        with new_file(self.checkpoint) as new:
            torch.save(state | {"epochs": epochs}, new)

    def load(self) -> int:
        """Restore the state and return the epochs it holds; 0 when there is no checkpoint."""
        if not self.checkpoint.is_file():
            return 0
        try:
            state = torch.load(self.checkpoint, weights_only=True)
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
        except (OSError, RuntimeError, ValueError, KeyError, EOFError) as error:
            raise ModelError(f"{self.checkpoint}: is no checkpoint of this recipe; distil without --resume") from error
        return int(state["epochs"])

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {"model": self.imitation, "average": self.average, "best": self._best, "optimiser": self.optimiser}


def _train(
    student: Training, views: Sequence[View], part: Part, validate: Validation, log_path: Path, done: int
) -> None:
    """Train the epochs that are left, and log and keep each."""
    log, scale = _read_log(log_path, done), Scale.of(views[0])
    cosine, epochs = LOG_COLUMNS.index("validation_cosine"), student.recipe.epochs
    with progress_bar() as progress:
        task = progress.add_task("distilling", total=epochs, completed=done)
        for epoch in range(done, epochs):
            figures = [*student.epoch(epoch, views, part, scale), *validate(student.kept())]
            log.append((str(epoch + 1), *(f"{figure:.4f}" for figure in figures)))
            with log_path.open("w", newline="") as file:
                csv.writer(file).writerows(log)
            if float(log[-1][cosine]) >= max(float(row[cosine]) for row in log[1:]):
                student.note_best()
            student.save(epoch + 1)
            progress.update(task, advance=1, description=f"distilling, validation UA {figures[-1]:.3f}")


def _check_imitable(teacher: Run) -> None:
    head = teacher.recipe.head
    if head.kind not in ("dense", "logistic") or head.speaker != "none":
        found = head.kind + ("" if head.speaker == "none" else " and told who speaks")
        raise ModelError(f"distillation imitates a dense or logistic head (head.kind); this run's is {found}")


def frames_a_token(teacher: Run, imitation: Imitation) -> float:
    """Return how many of the teacher's frames one of the student's tokens stands for, which need not be whole.

    Raises:
        ModelError: fewer than one.
    """
    mine, theirs = imitation.encoder.samples_a_token, teacher.encoder.samples_a_token
    if mine < theirs:
        raise ModelError(f"the student has a token every {mine} samples, and the teacher none but every {theirs}")
    return mine / theirs


def _label(recipe: DistilRecipe, teacher: Run) -> str:
    """Return what model cards call the student's encoder."""
    shape = recipe.student
    if shape.kind == "compact":
        return f"compact encoder taught by {teacher.encoder_label}"
    origin = recipe.start.rstrip("/").rpartition("/")[2] or teacher.encoder_label
    every_ms = 1_000 * shape.hop * shape.stride * (2 if shape.merge else 1) // SAMPLE_RATE_HZ
    return f"{origin} with a token every {every_ms} ms, taught by {teacher.encoder_label}"


def _batches(
    views: Sequence[View], part: Part, batch_s: float, rng: np.random.Generator
) -> Iterator[tuple[Rows, Rows]]:
    """Draw as many utterances as there are, corpora and labels alike, and a view of each, in batches of like length.

    Yields rows and the numbers of their views.
    """
    rows = rng.choice(len(part.labels), len(part.labels), p=part.balanced_weights())
    drawn = rng.integers(len(views), size=len(rows))
    samples = np.stack([view.samples for view in views])[drawn, rows]
    batches = batches_of(samples, np.argsort(samples * rng.uniform(0.9, 1.1, len(rows))), batch_s)
    for place in rng.permutation(len(batches)):
        yield rows[batches[place]], drawn[batches[place]]


def _warmup_cosine(done: float, warmup: float) -> float:
    """Return the share of the full learning rate after a share of the training: a rise, then a cosine."""
    if done < warmup:
        return (done + 1e-3) / warmup
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def _read_log(path: Path, done: int) -> list[tuple[str, ...]]:
    """Return the header and the rows of the epochs done."""
    rows = list(csv.reader(path.read_text().splitlines()))[1 : done + 1] if done and path.is_file() else []
    return [LOG_COLUMNS, *(tuple(row) for row in rows)]
