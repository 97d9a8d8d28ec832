"""The trainer: one loop for frozen and fine-tuned encoders, resumable after every epoch."""

from __future__ import annotations

import csv
import math
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calibrate.dataset import Part, Rows
from calibrate.heads import Classifier
from calibrate.metrics import unweighted_accuracy
from calibrate.progress import progress_bar
from calibrate.recipe import ScheduleRecipe
from calibrate.sources import FeatureSource
from edge.errors import ModelError

LOG_COLUMNS = ("epoch", "train_loss", "validation_loss", "validation_ua", "learning_rate")
SPEAKERS_A_BATCH = 4
"""Of each corpus, where a head for regulars learns along."""


def train_classifier(
    classifier: Classifier,
    source: FeatureSource,
    parts: tuple[Part, Part],
    schedule: ScheduleRecipe,
    folder: Path,
    *,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Train a classifier, and the encoder layers its source lets learn, for the schedule's epochs.

    AdamW with warm-up and cosine decay; batches are drawn so that corpora, and labels within them, weigh the same.
    Where a head for regulars learns along, a batch holds few speakers of each corpus, so that each shows an offset.
    ``log.csv`` and ``checkpoint.pt`` in ``folder`` grow with every epoch; a resumed run ends with the same numbers.

    Args:
        classifier: trained in place.
        source: of the features.
        parts: training and validation utterances.
        schedule: epochs, batch size, rates.
        folder: of the log and the checkpoint.
        seed: of the draws.
        resume: continue from the checkpoint, if there is one.
    """
    torch.manual_seed(seed)
    device = next(classifier.parameters()).device
    train, features = source.clean(parts[0])
    classifier.fit(features)
    speakers = torch.from_numpy(np.unique(train.speakers, return_inverse=True)[1])
    gather = SPEAKERS_A_BATCH if classifier.regulars is not None else None
    batch_features = source.augmented(train)
    batches = math.ceil(len(train.labels) / schedule.batch)
    optimiser = torch.optim.AdamW(_parameter_groups(classifier, source, schedule), weight_decay=schedule.weight_decay)
    rates = torch.optim.lr_scheduler.LambdaLR(optimiser, _warmup_cosine(schedule, schedule.epochs * batches))
    checkpoint = Checkpoint(folder / "checkpoint.pt", classifier, source.learns, optimiser, rates)
    done = checkpoint.load() if resume else 0
    validation = parts[1] if source.learns is not None else source.clean(parts[1], spoken_only=True)[0]
    with progress_bar() as progress, _open_log(folder / "log.csv", done) as file:
        log = csv.writer(file)
        task = progress.add_task("training", total=schedule.epochs, completed=done)
        for epoch in range(done, schedule.epochs):
            classifier.train()
            losses = []
            for rows, rng in _draws(train, schedule.batch, batches, (seed, epoch), gather):
                strangers, regulars = classifier.both(batch_features(rows, rng).to(device), speakers[rows].to(device))
                target = torch.from_numpy(train.labels[rows]).to(device)
                loss = F.cross_entropy(strangers, target, label_smoothing=schedule.label_smoothing)
                if regulars is not None:
                    second = F.cross_entropy(regulars, target, label_smoothing=schedule.label_smoothing)
                    loss = torch.lerp(loss, second, classifier.regulars_share)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                for group in optimiser.param_groups:
                    nn.utils.clip_grad_norm_(group["params"], 1.0)
                optimiser.step()
                rates.step()
                losses.append(loss.item())
            validation_loss, ua = validate(classifier, source.clean(validation, spoken_only=True)[1], validation)
            values = (float(np.mean(losses)), validation_loss, ua, rates.get_last_lr()[0])
            log.writerow([epoch + 1, *(f"{value:.5g}" for value in values)])
            file.flush()
            checkpoint.save(epoch + 1)
            progress.update(task, advance=1, description=f"training, validation UA {ua:.3f}")
    classifier.eval()


def _open_log(path: Path, done: int) -> TextIO:
    """Open the log behind the rows of the epochs done; a run may have been killed between its log and checkpoint."""
    rows = list(csv.reader(path.read_text().splitlines()))[1 : done + 1] if done and path.is_file() else []
    file = path.open("w", newline="")
    csv.writer(file).writerows([LOG_COLUMNS, *rows])
    return file


def validate(classifier: Classifier, features: Tensor, part: Part) -> tuple[float, float]:
    """Return the balanced loss and the mean over corpora of UA for clean features ``float32[n, layers, width]``."""
    classifier.eval()
    with torch.inference_mode():
        logits = classifier(features.to(next(classifier.parameters()).device)).cpu()
    loss = F.cross_entropy(logits, torch.from_numpy(part.labels), reduction="none").numpy() @ part.balanced_weights()
    predicted = logits.argmax(1).numpy()
    ua = [
        unweighted_accuracy(predicted[part.corpora == corpus], part.labels[part.corpora == corpus])
        for corpus in np.unique(part.corpora)
    ]
    return float(loss), float(np.mean(ua))


class Checkpoint:
    """The state of a run on disk, replaced as a whole after every epoch."""

    def __init__(
        self,
        path: Path,
        classifier: Classifier,
        learns: nn.Module | None,
        optimiser: torch.optim.Optimizer,
        rates: torch.optim.lr_scheduler.LambdaLR,
    ) -> None:
        self.path, self.optimiser, self.rates = path, optimiser, rates
        self.modules = {"classifier": classifier} | ({"encoder": learns} if learns is not None else {})

    def save(self, epochs: int) -> None:
        """Write the state after this many epochs."""
        state = {
            "epochs": epochs,
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimiser": self.optimiser.state_dict(),
            "steps": self.rates.last_epoch,
            "random": torch.get_rng_state(),
        }
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.path)

    def load(self) -> int:
        """Restore the state and return the epochs it holds; 0 when there is no checkpoint."""
        if not self.path.is_file():
            return 0
        try:
            state = torch.load(self.path, weights_only=True)
            for name, module in self.modules.items():
                module.load_state_dict(state["modules"][name])
            self.optimiser.load_state_dict(state["optimiser"])
        except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
            raise ModelError(f"{self.path}: is no checkpoint of this recipe; train anew, without --resume") from error
        self.rates.last_epoch = state["steps"]
        torch.set_rng_state(state["random"])
        return int(state["epochs"])


def _parameter_groups(
    classifier: Classifier, source: FeatureSource, schedule: ScheduleRecipe
) -> list[dict[str, object]]:
    head = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    groups: list[dict[str, object]] = [{"params": head, "lr": schedule.learning_rate}]
    if source.learns is not None:
        groups.append({"params": list(source.learns.parameters()), "lr": schedule.encoder_learning_rate})
    return groups


def _warmup_cosine(schedule: ScheduleRecipe, steps: int) -> Callable[[int], float]:
    warm = max(1, round(steps * schedule.warmup))

    def rate(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return rate


def _draws(
    part: Part, batch: int, batches: int, seed: tuple[int, int], speakers: int | None = None
) -> Iterator[tuple[Rows, np.random.Generator]]:
    """Yield the rows of each batch, drawn with balanced weights, and the generator for their augmentation.

    ``speakers`` limits how many of each corpus a batch holds.
    """
    rng = np.random.default_rng(seed)
    weights = part.balanced_weights()
    corpora, names = part.corpora, part.speakers
    rows_of = [corpora == corpus for corpus in np.unique(corpora)]
    names_of = [np.unique(names[rows]) for rows in rows_of]
    for _ in range(batches):
        drawn = weights
        if speakers is not None:
            drawn = np.zeros_like(weights)
            for rows, known in zip(rows_of, names_of, strict=True):
                chosen = rows & np.isin(names, rng.choice(known, min(speakers, len(known)), replace=False))
                drawn[chosen] = weights[chosen] / (weights[chosen].sum() * len(rows_of))
        yield rng.choice(len(weights), min(batch, len(weights)), p=drawn), rng
