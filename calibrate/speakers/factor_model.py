"""Fitting the population, the speaker factor model, on the training speakers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from calibrate.dataset import Part
from calibrate.run import Run
from calibrate.training.factors import fit_factors
from calibrate.training.heads import Classifier
from calibrate.training.sources import FeatureSource
from calibrate.value_targets import value_targets
from edge.arrays import Doubles, Integers, Matrix
from edge.head import Head
from edge.population import Population
from edge.values import Readout

STRAY = 0.24
"""How far one mood of one person in twenty may lie from their corpus, as with `default 5`, in the unit of
``Population.contrast``. Where they lie further the contrast is drawn in, and a person is not taken for another room."""
LEAST_CLIPS = 4
"""Of a mood of a person, and of a person with a value."""


def population_of(run: Run, train: Part, source: FeatureSource) -> Population:
    """Fit a run's population on its training speakers."""
    train, embeddings = embed_part(run, train, source)
    recipe, head = run.recipe, device_head(run, run.temperature)
    targets = value_targets(train, recipe.labels, recipe.values)
    return fit_population(embeddings, train, recipe.labels, head, targets)


def device_head(run: Run, temperature: float = 1.0) -> Head:
    """Return the head of a run as the device applies it."""
    return head_of(run.classifier, temperature, run.readout)


def head_of(classifier: Classifier, temperature: float = 1.0, readout: Readout | None = None) -> Head:
    """Return the head of a classifier, and its read-out of values, as the device applies it."""
    output = classifier.output
    weight, bias = (each.detach().cpu().numpy().copy() for each in (output.weight, output.bias))
    return Head(weight, bias, temperature, values=readout)


def embed_part(run: Run, part: Part, source: FeatureSource) -> tuple[Part, Matrix]:
    """Return the readable utterances of a part and their embeddings ``float32[n, dim]``, as the device computes them.

    That is, of what its segmenter keeps: the room before and after would count as part of the voice.
    """
    part, features = source.clean(part, spoken_only=True)
    return part, run.embed(features)


def fit_population(
    embeddings: Matrix, part: Part, labels: tuple[str, ...], head: Head, targets: Doubles | None = None
) -> Population:
    """Fit ``z = mean + u_speaker + shift_label + noise`` to ``float32[n, dim]`` by alternating least squares.

    Corpora weigh as the recipe says, and every label within one the same; offsets are shrunk by one clip.

    Args:
        embeddings: of the training speakers' utterances.
        part: the same utterances.
        labels: in the order of the head's outputs.
        head: the row space of its weight is what it looks at.
        targets: ``float64[n, values]``, NaN where a clip has none; None, or without columns: there are no values.
    """
    z = embeddings.astype(np.float64)
    names, speaker = np.unique(part.speakers, return_inverse=True)
    members = np.eye(len(names))[speaker]
    mean, offsets, shifts = fit_factors(z, part, speaker, len(labels))
    shown = members.T @ np.eye(len(labels))[part.labels]
    several = (shown > 0).sum(axis=1) > 1
    kept = several if several.any() else ~several
    contrast = room_contrast(offsets[kept], corpus_of(part, names[kept]), principal_axes(head.weight))
    answers = head.probabilities(embeddings)
    located = (z - answers @ shifts) @ contrast.T
    by_speaker = None if targets is None or not targets.shape[1] else _by_speaker(targets, speaker)[:, kept]
    contrast *= np.float32(STRAY / max(STRAY, _strayed(located, part)))
    return Population(
        labels=labels,
        mean=mean.astype(np.float32),
        shifts=shifts.astype(np.float32),
        offsets=offsets[kept].astype(np.float32),
        label_shares=(shown / shown.sum(axis=1, keepdims=True))[kept].astype(np.float32),
        contrast=contrast,
        head_prior=(part.balanced_weights() @ answers).astype(np.float32),
        value_means=None if by_speaker is None else by_speaker[0],
        value_deviations=None if by_speaker is None else by_speaker[1],
    )


def _by_speaker(targets: Doubles, speaker: Integers) -> Matrix:
    """Return means and deviations of each value, ``float32[2, speakers, values]``.

    Of a speaker with fewer than ``LEAST_CLIPS`` that have a value they are those of all clips that have it.
    """
    everyone = np.stack([np.nanmean(targets, axis=0), np.nanstd(targets, axis=0)])
    found = np.repeat(everyone[:, None], int(speaker.max()) + 1, axis=1)
    for row in range(found.shape[1]):
        mine = targets[speaker == row]
        enough = (~np.isnan(mine)).sum(axis=0) >= LEAST_CLIPS
        found[:, row, enough] = np.nanmean(mine[:, enough], axis=0), np.nanstd(mine[:, enough], axis=0)
    return found.astype(np.float32)


def _strayed(located: Doubles, part: Part) -> float:
    """Return how far one mood of one person in twenty lies from their corpus, of ``float64[n, contrasts]``."""
    away = located.copy()
    for corpus in np.unique(part.corpora):
        away[part.corpora == corpus] -= away[part.corpora == corpus].mean(axis=0)
    _, mood, clips = np.unique(
        np.char.add(np.char.add(part.speakers, "/"), part.labels.astype(np.str_)),
        return_inverse=True,
        return_counts=True,
    )
    sums = np.zeros((len(clips), located.shape[1]))
    np.add.at(sums, mood, away)
    distances = np.linalg.norm(sums / clips[:, None], axis=1)[clips >= LEAST_CLIPS]
    return float(np.quantile(distances, 0.95)) if len(distances) else 0.0


def corpus_of(part: Part, names: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    """Return the corpus of each speaker, ``str[n]``."""
    found = dict(zip(part.speakers.tolist(), part.corpora.tolist(), strict=True))
    return np.array([found[name] for name in names.tolist()])


def room_contrast(offsets: Doubles, corpora: npt.NDArray[np.str_], head_axes: Doubles) -> Matrix:
    """Return what rooms differ in, and neither labels nor voices, ``float32[contrasts, dim]``.

    Linear discriminants (Fisher 1936) of the corpora among their speakers, without the directions that the head looks
    at; see ``Population.contrast``. The scatter of speakers is drawn to a sphere of its size, since they are few.

    Args:
        offsets: of the speakers, ``float64[speakers, dim]``.
        corpora: of each, ``str[speakers]``.
        head_axes: orthonormal rows, ``float64[axes, dim]``.
    """
    voices = offsets - (offsets @ head_axes.T) @ head_axes
    names, corpus = np.unique(corpora, return_inverse=True)
    centres = np.stack([voices[corpus == index].mean(axis=0) for index in range(len(names))])
    apart, around = centres - centres.mean(axis=0), voices - centres[corpus]
    scatter = around.T @ around / len(around)
    size = max(float(np.trace(scatter)) / len(scatter), 1e-9)
    whitened = np.linalg.solve(scatter + size * np.eye(len(scatter)), apart.T).T
    values, directions = np.linalg.eigh(apart @ whitened.T)
    kept = values > 1e-6 * max(float(values.max()), 1e-9)
    contrast = directions[:, kept].T @ whitened
    along = apart @ contrast.T
    unit = np.sqrt((along**2).sum(axis=1).mean()) if kept.any() else 1.0
    return np.asarray(contrast / unit, np.float32)


def principal_axes(head_weight: Matrix) -> Doubles:
    """Return orthonormal rows ``float64[labels - 1, dim]`` that span the differences between a head's labels."""
    differences = head_weight.astype(np.float64) - head_weight.mean(axis=0)
    count = min(len(head_weight) - 1, head_weight.shape[1])
    return np.asarray(np.linalg.svd(differences, full_matrices=False)[2][:count])
