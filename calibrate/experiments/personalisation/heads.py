"""A head on one encoder's features, as a device would apply it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from calibrate.experiments.personalisation.encoders import Heard, Setting
from calibrate.experiments.selection import Mask
from calibrate.recipe import Recipe
from calibrate.speakers.factor_model import fit_population, head_of
from calibrate.streams import DeviceModel
from calibrate.training.heads import Classifier
from calibrate.training.regression import Examples, fit_logistic
from edge.arrays import Matrix


@dataclass(frozen=True)
class Fitted:
    """A model that was fitted to some speakers, and everybody's embeddings."""

    model: DeviceModel
    embeddings: Matrix
    """``float32[n, dim]``, of all utterances."""


def fit_head(setting: Setting, heard: Heard, rows: Mask) -> Fitted:
    """Fit a logistic head and its population to some of the utterances, ``bool[n]``, temperature 1."""
    recipe: Recipe = setting.recipe
    layers, width = heard.features.shape[1:]
    classifier = Classifier(recipe.head, layers, width, len(recipe.labels))
    examples = Examples(setting.part.select(rows), heard.features[torch.from_numpy(rows)])
    fit_logistic(classifier, examples, recipe)
    with torch.inference_mode():
        embeddings: Matrix = classifier.embed(heard.features).numpy()
    head = head_of(classifier)
    population = fit_population(embeddings[rows], examples.part, recipe.labels, head)
    return Fitted(DeviceModel(head, population), np.asarray(embeddings, np.float32))
