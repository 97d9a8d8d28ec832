"""Whether a head that learns by epochs has learned enough: against an output layer that is fitted to convergence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from calibrate.dataset import Part
from calibrate.metrics import unweighted_accuracy
from calibrate.recipe import Recipe
from calibrate.training.heads import Classifier
from calibrate.training.regression import softmax_regression
from calibrate.training.temperature import fit_temperature

MUCH = 0.05
"""UA on training utterances by which a converged output layer is better where a head has not learned enough."""


@dataclass(frozen=True)
class Undertrained:
    """A head that has not learned enough, and the output layer that it would come to on the same embeddings."""

    ua: float
    """On the utterances that it was trained on."""
    converged_ua: float
    """The same of the converged output layer."""
    weight: Tensor
    """``float32[labels, dim]``."""
    bias: Tensor
    temperature: float
    """That suits validation utterances."""

    def __str__(self) -> str:
        return (
            f"the head is under-trained: UA {self.ua:.3f} on its own training utterances, {self.converged_ua:.3f} with "
            "an output layer fitted to convergence on the same embeddings"
        )

    def replace_output(self, classifier: Classifier) -> None:
        """Put the converged output layer in the place of a classifier's own."""
        with torch.no_grad():
            classifier.output.weight.copy_(self.weight)
            classifier.output.bias.copy_(self.bias)


def find_undertrained(
    classifier: Classifier, recipe: Recipe, train: tuple[Part, Tensor], validation: tuple[Part, Tensor]
) -> Undertrained | None:
    """Return what a head lacks; None for one that has learned enough, is fitted at once, or is told who speaks.

    It lacks something where it is worse on what it was trained on, and less sure of validation speakers as well: a head
    that was stopped before it learned by heart is not.

    Args:
        classifier: trained.
        recipe: that it was trained by.
        train: its utterances and their features ``float32[n, layers, width]``.
        validation: the same of other speakers.
    """
    if recipe.head.kind == "logistic" or recipe.head.speaker != "none":
        return None
    classifier.eval()
    device = next(classifier.parameters()).device
    with torch.inference_mode():
        z, z_validation = (classifier.embed(features.to(device)).cpu() for _, features in (train, validation))
    part, other = train[0], validation[0]
    weight, bias = softmax_regression(
        z.numpy(), part.labels, part.balanced_weights(), len(recipe.labels), recipe.head.penalty,
        recipe.schedule.label_smoothing,
    )  # fmt: skip
    own = classifier.output
    outputs = ((own.weight.detach().cpu(), own.bias.detach().cpu()), (weight, bias))
    ua, converged_ua = (
        unweighted_accuracy(F.linear(z, *output).argmax(1).numpy().astype(np.int64), part.labels) for output in outputs
    )
    if converged_ua - ua <= MUCH:
        return None
    (loss, _), (converged_loss, temperature) = (_loss(F.linear(z_validation, *output), other) for output in outputs)
    return Undertrained(ua, converged_ua, weight, bias, temperature) if converged_loss < loss else None


def _loss(logits: Tensor, part: Part) -> tuple[float, float]:
    """Return the balanced loss of ``float32[n, labels]`` at the temperature that suits it, and that temperature."""
    temperature = fit_temperature(logits, part)
    losses = F.cross_entropy(logits / temperature, torch.from_numpy(part.labels), reduction="none").numpy()
    return float(losses @ part.balanced_weights()), temperature
