"""Pre-training: an encoder learns to predict masked clusters, resumable bit for bit after every quarter of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from calibrate import processes
from calibrate.dataset import Rows
from calibrate.pretraining.prediction import MaskedPrediction, Predicted
from calibrate.pretraining.quality import FrameClasses
from calibrate.pretraining.recordings import Recordings
from calibrate.recipe import PretrainingRecipe
from calibrate.training.checkpoint import Checkpoint
from calibrate.training.loop import CHECKPOINT_NAME, run_rounds
from calibrate.training.schedule import Plateau, rate_factor
from edge.audio import SAMPLE_RATE_HZ
from edge.buckets import pad

QUARTERS = 4
"""Rounds of the loop an epoch: each ends with a validation and a checkpoint."""
COLUMNS = ("epoch", "masked_loss", "masked_accuracy", "validation_loss", "validation_accuracy", "learning_rate")


@dataclass(frozen=True)
class Batch:
    """Recordings, or parts of them, padded."""

    waveform: Tensor
    """``float32[batch, samples]``."""
    lengths: Tensor
    """``int64[batch]``."""
    targets: Tensor
    """Clusters ``int64[batch, frames]``, 0 beyond a row's frames."""
    speakers: Tensor
    """``int64[batch]``: rows of ``Recordings.speakers``."""


def pretrain(
    model: MaskedPrediction,
    recordings: Recordings,
    targets: FrameClasses,
    recipe: PretrainingRecipe,
    folder: Path,
    *,
    epochs: int,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Let a model learn to predict the targets of masked tokens.

    Adam; steps over all processes together. ``log.csv`` and ``checkpoint.pt`` in ``folder`` grow with every quarter
    of an epoch.

    Args:
        model: learns, in place.
        recordings: to learn from.
        targets: their clusters.
        recipe: batches, rates.
        folder: of the log and the checkpoint.
        epochs: passes over the recordings.
        seed: of whose recordings are held out, of batches, crops and masks.
        resume: continue from the checkpoint, if there is one.
    """
    training = _Pretraining(model, recordings, targets, recipe, folder / CHECKPOINT_NAME, epochs, seed)
    run_rounds(training, QUARTERS * epochs, folder, unit="quarter", resume=resume)
    model.eval()


class _Pretraining:
    """What changes while an encoder is pre-trained; a round is a quarter of an epoch."""

    columns: Sequence[str] = COLUMNS
    ended = False

    def __init__(
        self,
        model: MaskedPrediction,
        recordings: Recordings,
        targets: FrameClasses,
        recipe: PretrainingRecipe,
        checkpoint: Path,
        epochs: int,
        seed: int,
    ) -> None:
        self.model, self.recordings, self.targets, self.recipe, self.seed = model, recordings, targets, recipe, seed
        self.device = model.clusters.device
        learning, held_out = recordings.held_out(recipe.held_out, seed)
        self.validation = recordings.batches(held_out, recipe.batch_s, recipe.max_s)
        self.batches = [
            batch
            for epoch in range(epochs)
            for batch in recordings.batches(learning, recipe.batch_s, recipe.max_s, (seed, epoch))
        ]
        self.rounds = QUARTERS * epochs
        beside = model.beside_encoder
        encoder = [each for each in model.encoder.parameters() if each.requires_grad]
        groups = [
            {"params": encoder, "lr": recipe.learning_rate},
            {"params": beside, "lr": recipe.new_learning_rate},
        ]
        self.shared: list[Tensor] = [*encoder, *beside]
        self.optimiser = torch.optim.Adam(groups, betas=(0.9, 0.98), eps=1e-6)  # as HuBERT
        factor = rate_factor(recipe, len(self.batches), Plateau(0, 0))
        self.rates = torch.optim.lr_scheduler.LambdaLR(self.optimiser, factor)
        self.checkpoint = Checkpoint(checkpoint, {"model": model, "optimiser": self.optimiser}, self.rates)

    def run_round(self, number: int) -> tuple[Sequence[float], str]:
        """See ``Training``."""
        first, last = (len(self.batches) * at // self.rounds for at in (number, number + 1))
        loss, accuracy = self._learn(range(first, last))
        validation_loss, validation_accuracy = processes.agree(self.validate())
        rate = float(self.rates.get_last_lr()[0])
        values = ((number + 1) / QUARTERS, loss, accuracy, validation_loss, validation_accuracy, rate)
        return values, f"masked loss {validation_loss:.3f}"

    def _learn(self, steps: range) -> tuple[float, float]:
        """Take these steps; return mean loss and accuracy of the masked tokens."""
        self.model.train()
        losses, correct, masked = [], 0, 0
        for step in steps:
            rng = np.random.default_rng([self.seed, 1, step])
            batch = self._batch(processes.share(self.batches[step]), rng)
            # Masks and dropout depend on the step alone, so that no state of theirs has to be kept.
            torch.manual_seed(int(rng.integers(2**63)))
            predicted = self._predict(batch)
            loss = predicted.loss + self.recipe.feature_penalty * predicted.penalty
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            for group in self.optimiser.param_groups:
                processes.average_gradients(group["params"])
                torch.nn.utils.clip_grad_norm_(group["params"], 1.0)
            self.optimiser.step()
            self.rates.step()
            losses.append(predicted.loss.item())
            correct, masked = correct + int(predicted.correct), masked + predicted.masked
        return float(np.mean(losses)) if losses else float("nan"), correct / max(1, masked)

    def validate(self) -> tuple[float, float]:
        """Return masked loss and accuracy on the recordings held out, under the same masks every time."""
        self.model.eval()
        loss, correct, masked = 0.0, 0, 0
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(self.seed)
            for rows in self.validation:
                predicted = self._predict(self._batch(rows, None))
                loss += predicted.loss.item() * predicted.masked
                correct, masked = correct + int(predicted.correct), masked + predicted.masked
        return loss / max(1, masked), correct / max(1, masked)

    def _predict(self, batch: Batch) -> Predicted:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bfloat16):
            speakers = self.model.embeddings_of(batch.speakers)
            predicted: Predicted = self.model(batch.waveform, batch.lengths, batch.targets, speakers)
        return predicted

    def _batch(self, rows: Rows, rng: np.random.Generator | None) -> Batch:
        batch = make_batch(self.recordings, self.targets, rows, self.recipe.max_s, self.model, rng)
        moved = (each.to(self.device) for each in (batch.waveform, batch.lengths, batch.targets, batch.speakers))
        return Batch(*moved)


def make_batch(
    recordings: Recordings,
    targets: FrameClasses,
    rows: Rows,
    max_s: float,
    model: MaskedPrediction,
    rng: np.random.Generator | None,
) -> Batch:
    """Return a batch; of what is longer than ``max_s`` a random part, or without a generator the first one.

    A part begins with a token, so that its clusters are those of the whole.
    """
    hop, most = model.encoder.samples_a_token, round(max_s * SAMPLE_RATE_HZ)
    waveforms, clusters = [], []
    for row in rows:
        waveform, wanted = recordings.read(row), targets.of(row)
        starts = max(0, len(waveform) - most) // hop
        start = int(rng.integers(starts + 1)) if rng is not None else 0
        waveforms.append(waveform[start * hop : start * hop + most])
        clusters.append(wanted[start:])
    frames = max(map(len, clusters))
    padded = np.zeros((len(rows), frames), np.int64)
    for place, wanted in enumerate(clusters):
        padded[place, : len(wanted)] = wanted
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    return Batch(
        torch.from_numpy(pad(waveforms, int(lengths.max()))),
        lengths,
        torch.from_numpy(padded),
        torch.from_numpy(recordings.speaker[rows]),
    )
