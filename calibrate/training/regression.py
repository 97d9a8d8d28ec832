"""A logistic head, fitted at once: principal components, then a softmax regression on utterances without their room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from torch import Tensor

from calibrate.dataset import Part
from calibrate.recipe import Recipe
from calibrate.training.factors import fit_factors
from calibrate.training.heads import Classifier
from calibrate.training.sources import FeatureSource
from edge.arrays import Doubles, Matrix

MOST_STEPS = 100
"""Of the optimiser; more do not change an answer."""
SPEAKER_SHARE = 0.5
"""Of a speaker's mean that is taken out of a view; all of it is less good on corpora left out."""


@dataclass(frozen=True)
class Examples:
    """Utterances to train on, and their features."""

    part: Part
    features: Tensor
    """``float32[n, layers, width]`` of what is spoken in each."""
    copies: tuple[Tensor, ...] = ()
    """The same, augmented."""

    @classmethod
    def read(cls, source: FeatureSource, part: Part, recipe: Recipe) -> Examples:
        """Return the readable utterances of a part, with as many copies as the recipe wants."""
        part, features = source.clean(part, spoken_only=True)
        return cls(part, features, tuple(source.copies(part)) if recipe.augmentation.copies else ())

    def select(self, rows: npt.NDArray[np.bool_]) -> Examples:
        """Return the utterances where ``bool[n]`` is true."""
        chosen = torch.from_numpy(rows)
        return Examples(self.part.select(rows), self.features[chosen], tuple(copy[chosen] for copy in self.copies))


def fit_logistic(classifier: Classifier, examples: Examples, recipe: Recipe) -> None:
    """Fit a classifier with ``kind = "logistic"`` in place, the same for the same examples, on ``views_of`` them."""
    part = examples.part
    weights = part.balanced_weights()
    classifier.eval()
    classifier.fit(examples.features, torch.from_numpy(weights).float())
    with torch.inference_mode():
        embeddings = [classifier.embed(each).numpy() for each in (examples.features, *examples.copies)]
    views = views_of(embeddings, part, len(recipe.labels), recipe.seed)
    count = len(views)
    weight, bias = softmax_regression(
        np.concatenate(views), np.tile(part.labels, count), np.tile(weights / count, count),
        len(recipe.labels), recipe.head.penalty, recipe.schedule.label_smoothing,
    )  # fmt: skip
    with torch.no_grad():
        classifier.output.weight.copy_(weight)
        classifier.output.bias.copy_(bias)


def views_of(embeddings: Sequence[Matrix], part: Part, labels: int, seed: int) -> list[Matrix]:
    """Return embeddings without what does not differ between labels, label shifts taken out of it.

    Without the mean of their corpus (microphone, room, language), without a random share of it, as a room is known that
    has just been entered, and without a part of the mean of their speaker. On corpora left out a head that learns from
    these is better than one that learns from embeddings as they are, adapted or not.

    Args:
        embeddings: ``float32[n, dim]`` of the utterances, and of copies of them.
        part: the utterances.
        labels: how many there are.
        seed: of the shares.

    Returns:
        Three views, ``float32[n, dim]`` each, of each of these, in that order.
    """
    rooms, speakers = (_offsets(embeddings, part, names, labels) for names in (part.corpora, part.speakers))
    shares = np.random.default_rng(seed).uniform(size=(len(part.labels), 1))
    taken = (rooms, shares * rooms, SPEAKER_SHARE * speakers)
    return [(each - without).astype(np.float32) for each in embeddings for without in taken]


def _offsets(embeddings: Sequence[Matrix], part: Part, names: npt.NDArray[np.str_], labels: int) -> Doubles:
    """Return the offset ``float64[n, dim]`` of whom or what each utterance belongs to, over all copies of it."""
    group = np.unique(names, return_inverse=True)[1]
    return fit_factors(np.mean(embeddings, axis=0), part, group, labels).offsets[group]


def softmax_regression(
    inputs: Matrix | Doubles,
    targets: npt.NDArray[np.int64],
    weights: Doubles,
    labels: int,
    penalty: float,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return weight ``float32[labels, dim]`` and bias ``float32[labels]`` of the least weighted cross-entropy.

    Args:
        inputs: ``float32[n, dim]``, or ``float64``; the sums are of the same precision.
        targets: labels, ``int64[n]``.
        weights: of the rows, ``float64[n]``, summing to one.
        labels: how many there are.
        penalty: ``penalty / 2 · |weight|²`` is added; the bias is free.
        label_smoothing: share of the target that all labels have in common.
    """
    wanted = np.full((len(targets), labels), label_smoothing / labels, inputs.dtype)
    wanted[np.arange(len(targets)), targets] += 1 - label_smoothing
    shares = weights.astype(inputs.dtype)[:, None]

    def loss_and_gradient(flat: Doubles) -> tuple[float, Doubles]:
        weight, bias = _split(flat, labels)
        logits = inputs @ weight.T.astype(inputs.dtype) + bias.astype(inputs.dtype)
        logits -= logits.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(logits).sum(axis=1, keepdims=True))
        loss = -float((shares * wanted * (logits - log_sums)).sum()) + penalty / 2 * float(np.square(weight).sum())
        residual = shares * (np.exp(logits - log_sums) - wanted)
        gradient = np.concatenate([residual.T @ inputs + penalty * weight, residual.sum(axis=0)[:, None]], axis=1)
        return loss, gradient.astype(np.float64).ravel()

    start = np.zeros(labels * (inputs.shape[1] + 1))
    options = {"maxiter": MOST_STEPS, "ftol": 1e-9, "gtol": 1e-6}
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    weight, bias = _split(found.x, labels)
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float()


def _split(flat: Doubles, labels: int) -> tuple[Doubles, Doubles]:
    """Return weight ``float64[labels, dim]`` and bias ``float64[labels]`` out of ``float64[labels * (dim + 1)]``."""
    both = flat.reshape(labels, -1)
    return both[:, :-1], both[:, -1]
