"""Fitting the speech check: what a trained encoder hears in recordings without speech, against all of its training."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from calibrate.corpora import Utterance, require_trainable
from calibrate.dataset import Part
from calibrate.run import Run
from calibrate.training.regression import softmax_regression
from calibrate.training.sources import FeatureSource
from edge.arrays import Doubles, Matrix
from edge.head import SpeechCheck
from edge.recordings import find_audio

PENALTY = 0.001
"""L2 penalty of the logistic regression."""
SPEECH_ODDS = 50.0
"""How much likelier than another sound speech is, before anything is known of what a detector took for a voice."""


def speech_check_of(run: Run, train: Part, data: Path, source: FeatureSource) -> SpeechCheck | None:
    """Fit the check of a run on the sounds that its recipe names, relative to ``data``; None where it names none.

    Speech and sounds weigh the same, and so does each corpus of speech. Both come as the device would cut them, and as
    the augmented copies of training, so that noise alone makes no speech a sound, and no sound speech.

    Raises:
        UsageError: the sounds' folder is missing or holds no audio, or what may only be evaluated on.
    """
    if run.recipe.sounds is None:
        return None
    paths = find_audio([data / run.recipe.sounds.folder])
    require_trainable(paths)
    sounds = Part([Utterance(path, "sounds", "", "") for path in paths], np.zeros(len(paths), np.int64))
    speech, weights = _views(run, train, source)
    other, other_weights = _views(run, sounds, source)
    return fit_speech_check(speech, weights, other, other_weights)


def fit_speech_check(speech: Matrix, weights: Doubles, other: Matrix, other_weights: Doubles) -> SpeechCheck:
    """Fit a logistic regression of speech, ``float32[n, dim]``, against other sounds, ``float32[m, dim]``.

    The weights, ``float64[n]`` and ``float64[m]``, sum to one each; ``SPEECH_ODDS`` come on top.
    """
    embeddings = np.concatenate([other, speech])
    is_speech = np.repeat([0, 1], [len(other), len(speech)])
    weights = np.concatenate([other_weights, weights]) / 2
    weight, bias = softmax_regression(embeddings, is_speech, weights, 2, PENALTY)
    return SpeechCheck((weight[1] - weight[0]).numpy(), float(bias[1] - bias[0]) + math.log(SPEECH_ODDS))


def _views(run: Run, part: Part, source: FeatureSource) -> tuple[Matrix, Doubles]:
    """Return embeddings of a part, clean and augmented, and their weights: the corpora of the part weigh the same."""
    part, features = source.clean(part, spoken_only=True)
    copies = source.copies(part) if run.recipe.augmentation.copies else []
    run.classifier.eval()
    with torch.inference_mode():
        views = [run.classifier.embed(each).cpu().numpy() for each in (features, *copies)]
    _, corpus, sizes = np.unique(part.corpora, return_inverse=True, return_counts=True)
    weights = np.tile(1 / sizes[corpus], len(views))
    return np.concatenate(views), weights / weights.sum()
