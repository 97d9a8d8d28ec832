"""What training minimises: cross-entropy, and the terms that a recipe adds to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calibrate.recipe import ScheduleRecipe
from calibrate.training.heads import Classifier

CONTRAST_TEMPERATURE = 0.1


class Objective(nn.Module):
    """The loss of a batch. Its parameters are a classifier of speakers, where the recipe has an adversarial term."""

    def __init__(self, classifier: Classifier, schedule: ScheduleRecipe, speakers: int) -> None:
        super().__init__()
        self.schedule = schedule
        self.adversary = nn.Linear(classifier.output.in_features, speakers) if schedule.adversarial else None

    def forward(
        self, classifier: Classifier, features: Tensor, target: Tensor, speakers: Tensor, rng: np.random.Generator
    ) -> Tensor:
        """Return the loss.

        Args:
            classifier: embeds and labels the features.
            features: ``float32[batch, layers, width]``.
            target: labels, ``int64[batch]``.
            speakers: ``int64[batch]``, rows of the classifier's speakers where it knows them.
            rng: draws what is mixed.
        """
        smoothing, share = self.schedule.label_smoothing, 1.0
        partner = target
        if self.schedule.mixup:
            order = torch.from_numpy(rng.permutation(len(target))).to(target.device)
            # The greater share is the utterance's own, so that its speaker and its other terms stay its own.
            share = abs(rng.beta(self.schedule.mixup, self.schedule.mixup) - 0.5) + 0.5
            features, partner = torch.lerp(features[order], features, share), target[order]

        def cross_entropy(logits: Tensor) -> Tensor:
            loss = F.cross_entropy(logits, target, label_smoothing=smoothing)
            if share == 1.0:
                return loss
            return torch.lerp(F.cross_entropy(logits, partner, label_smoothing=smoothing), loss, share)

        z = classifier.embed(features, speakers)
        loss = cross_entropy(classifier.answer(z))
        if self.schedule.contrastive:
            loss = loss + self.schedule.contrastive * supervised_contrast(z, target)
        if self.adversary is not None:
            reversed_z: Tensor = _Reversed.apply(z)
            loss = loss + self.schedule.adversarial * F.cross_entropy(self.adversary(reversed_z), speakers)
        return loss


def supervised_contrast(z: Tensor, labels: Tensor) -> Tensor:
    """Return the supervised contrastive loss of ``float32[batch, dim]`` (Khosla et al. 2020, equation 2).

    Utterances that are alone with their label have nothing to be drawn to and do not count.
    """
    directions = F.normalize(z, dim=1)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    likeness = (directions @ directions.T / CONTRAST_TEMPERATURE).masked_fill(itself, -torch.inf)
    log_share = likeness.log_softmax(1).masked_fill(itself, 0.0)
    same = (labels[:, None] == labels) & ~itself
    mates = same.sum(1)
    of_each = (log_share * same).sum(1) / mates.clamp(min=1)
    return -of_each.sum() / (mates > 0).sum().clamp(min=1)


class _Reversed(torch.autograd.Function):
    """Identity whose gradient has the opposite sign."""

    @staticmethod
    def forward(context: Any, z: Tensor) -> Tensor:
        return z.view_as(z)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return -gradient
