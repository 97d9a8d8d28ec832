"""The trainer: one loop for frozen and fine-tuned encoders, resumable after every epoch, in one or many processes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calibrate import processes
from calibrate.dataset import Part, Rows
from calibrate.metrics import unweighted_accuracy
from calibrate.recipe import ScheduleRecipe
from calibrate.training.checkpoint import Checkpoint, KeptWeights, Stateful
from calibrate.training.heads import Classifier, rows_of
from calibrate.training.loop import CHECKPOINT_NAME, run_rounds
from calibrate.training.objective import Objective
from calibrate.training.schedule import Plateau, parameter_groups, rate_factor
from calibrate.training.sources import FeatureSource


def train_classifier(
    classifier: Classifier,
    source: FeatureSource,
    parts: tuple[Part, Part],
    schedule: ScheduleRecipe,
    folder: Path,
    *,
    seed: int = 0,
    resume: bool = False,
    fit: bool = True,
) -> None:
    """Train a classifier, and the encoder layers its source lets learn, for the schedule's epochs.

    AdamW; batches are drawn so that corpora, and labels within them, weigh the same. ``log.csv`` and
    ``checkpoint.pt`` in ``folder`` grow with every epoch; a resumed run ends with the same numbers.

    Args:
        classifier: trained in place.
        source: of the features.
        parts: training and validation utterances.
        schedule: epochs, batch size, rates.
        folder: of the log and the checkpoint.
        seed: of the draws.
        resume: continue from the checkpoint, if there is one.
        fit: standardise the features anew; False for a classifier that has been trained on a source like this, whose
            parts hold readable files only.
    """
    torch.manual_seed(seed)
    train = parts[0]
    if fit:
        train, features = source.clean(train)
        classifier.fit(features)
    training = _Training(classifier, source, (train, parts[1]), schedule, folder / CHECKPOINT_NAME, seed)
    run_rounds(training, schedule.epochs, folder, unit="epoch", resume=resume)
    training.kept.settle()
    classifier.eval()


class _Training:
    """What changes while a classifier trains; a round is an epoch."""

    columns: Sequence[str] = ("train_loss", "validation_loss", "validation_ua", "learning_rate")

    def __init__(
        self,
        classifier: Classifier,
        source: FeatureSource,
        parts: tuple[Part, Part],
        schedule: ScheduleRecipe,
        checkpoint: Path,
        seed: int,
    ) -> None:
        self.seed = seed
        self.classifier, self.source, self.schedule = classifier, source, schedule
        self.train, self.validation = parts
        self.device = next(classifier.parameters()).device
        names = classifier.speaker.names if classifier.speaker else np.unique(self.train.speakers).tolist()
        self.speakers = rows_of(names, self.train.speakers)
        self.batch_features = source.augmented(self.train)
        self.frozen_features: Tensor | None = None
        if source.learns is None:
            self.validation, self.frozen_features = source.clean(self.validation, spoken_only=True)
        self.objective = Objective(classifier, schedule, len(names)).to(self.device)
        head = [each for each in (*classifier.parameters(), *self.objective.parameters()) if each.requires_grad]
        groups = parameter_groups(head, source.learns, schedule)
        self.batches = math.ceil(len(self.train.labels) / schedule.batch)
        self.plateau = Plateau(schedule.patience, schedule.stop_after)
        factor = rate_factor(schedule, schedule.epochs * self.batches, self.plateau)
        moving = [each for each in classifier.buffers() if each.is_floating_point()]
        self.kept = KeptWeights([*(each for group in groups for each in group["params"]), *moving], schedule)
        self.optimiser = torch.optim.AdamW(groups, weight_decay=schedule.weight_decay)
        self.rates = torch.optim.lr_scheduler.LambdaLR(self.optimiser, factor)
        states: dict[str, Stateful] = {"classifier": classifier, "objective": self.objective}
        if source.learns is not None:
            states["encoder"] = source.learns
        states |= {"optimiser": self.optimiser, "plateau": self.plateau, "kept": self.kept}
        self.checkpoint = Checkpoint(checkpoint, states, self.rates)

    @property
    def ended(self) -> bool:
        """See ``Training``."""
        return self.plateau.ended

    @property
    def shared(self) -> list[Tensor]:
        """See ``Training``."""
        return self.kept.parameters

    def run_round(self, number: int) -> tuple[Sequence[float], str]:
        """Train for an epoch, or until a validation within it says that it is enough."""
        losses = []
        for rows, rng in _draws(self.train, self.schedule.batch, self.batches, (self.seed, number)):
            losses.append(self._step(rows, rng))
            if self.schedule.evaluate_every and self.rates.last_epoch % self.schedule.evaluate_every == 0:
                self.evaluate(noted=True)
                if self.plateau.ended:
                    break
        validation_loss, ua = self.evaluate(noted=not self.schedule.evaluate_every)
        rate = float(self.rates.get_last_lr()[0])
        return (float(np.mean(losses)), validation_loss, ua, rate), f"validation UA {ua:.3f}"

    def evaluate(self, noted: bool) -> tuple[float, float]:
        """Return validation loss and UA of the weights that would be kept; ``noted`` ones steer rates and ending."""
        with self.kept.applied():
            features = self.frozen_features
            if features is None:
                features = self.source.clean(self.validation, spoken_only=True)[1]
            loss, ua = processes.agree(validate(self.classifier, features, self.validation))
            if noted and self.plateau.note(loss):
                self.kept.note_best()
        return loss, ua

    def _step(self, rows: Rows, rng: np.random.Generator) -> float:
        self.classifier.train()
        features = self.batch_features(rows, rng).to(self.device)
        target = torch.from_numpy(self.train.labels[rows]).to(self.device)
        loss: Tensor = self.objective(self.classifier, features, target, self.speakers[rows].to(self.device), rng)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for group in self.optimiser.param_groups:
            processes.average_gradients(group["params"])
            nn.utils.clip_grad_norm_(group["params"], 1.0)
        self.optimiser.step()
        self.rates.step()
        self.kept.update()
        return loss.item()


def validate(classifier: Classifier, features: Tensor, part: Part) -> tuple[float, float]:
    """Return the balanced loss and the mean over corpora of UA for clean features ``float32[n, layers, width]``."""
    classifier.eval()
    with torch.inference_mode():
        device = next(classifier.parameters()).device
        logits = classifier(features.to(device), classifier.rows_of(part.speakers).to(device)).cpu()
    loss = F.cross_entropy(logits, torch.from_numpy(part.labels), reduction="none").numpy() @ part.balanced_weights()
    predicted = logits.argmax(1).numpy()
    ua = [
        unweighted_accuracy(predicted[part.corpora == corpus], part.labels[part.corpora == corpus])
        for corpus in np.unique(part.corpora)
    ]
    return float(loss), float(np.mean(ua))


def _draws(part: Part, batch: int, batches: int, seed: tuple[int, int]) -> Iterator[tuple[Rows, np.random.Generator]]:
    """Yield the rows of each batch, drawn with balanced weights, and the generator for their augmentation."""
    rng = np.random.default_rng(seed)
    weights = part.balanced_weights()
    for _ in range(batches):
        yield rng.choice(len(weights), min(batch, len(weights)), p=weights), rng
