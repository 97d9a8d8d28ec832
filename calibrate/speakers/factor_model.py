"""Fitting the population: the speaker factor model and the head for regulars, on the training speakers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from calibrate.dataset import Part
from calibrate.run import Run
from calibrate.training.factors import fit_factors
from calibrate.training.regression import softmax_regression
from calibrate.training.sources import FeatureSource
from calibrate.training.temperature import fit_temperature
from edge.adapt import VoiceProfile
from edge.arrays import Doubles, Matrix
from edge.head import Head
from edge.population import Population

SHIFT_SCALE = 0.75
"""The training speakers' labels lie further apart than those of anyone the embedding was not trained on."""
PENALTY = 33.0
"""L2 penalty of the regulars' head, as ``PENALTY / (2 · utterances) · |weight|²``."""
ENROLMENT_CLIPS = 8
"""Clips that validation speakers enrol with, to find the temperature of the regulars' head."""


def population_of(run: Run, train: Part, validation: Part, source: FeatureSource) -> Population:
    """Fit a run's population on its training speakers.

    Its validation speakers set the temperature, where its training has not.
    """
    train, embeddings = embed_part(run, train, source)
    strangers = run.classifier.output.weight.detach().cpu().numpy()
    population = fit_population(embeddings, train, run.recipe.labels, strangers, learned_regulars(run))
    if run.regulars_temperature is not None:
        return _scaled(population, run.regulars_temperature)
    return with_temperature(population, *embed_part(run, validation, source), seed=run.recipe.seed)


def strangers_head(run: Run, temperature: float = 1.0) -> Head:
    """Return the head of a run as the device applies it to those it does not know."""
    output = run.classifier.output
    return Head(output.weight.detach().cpu().numpy(), output.bias.detach().cpu().numpy(), temperature)


def learned_regulars(run: Run) -> Head | None:
    """Return the head for regulars that learnt along with the embedding; None where the recipe has none."""
    head = run.classifier.regulars
    if head is None:
        return None
    return Head(head.weight.detach().cpu().numpy(), head.bias.detach().cpu().numpy(), temperature=1.0)


def embed_part(run: Run, part: Part, source: FeatureSource) -> tuple[Part, Matrix]:
    """Return the readable utterances of a part and their embeddings ``float32[n, dim]``, as the device computes them.

    That is, of what its segmenter keeps: the room before and after would count as part of the voice.
    """
    part, features = source.clean(part, spoken_only=True)
    run.classifier.eval()
    with torch.inference_mode():
        embeddings = run.classifier.embed(features.to(next(run.classifier.parameters()).device))
    return part, embeddings.cpu().numpy()


def fit_population(
    embeddings: Matrix, part: Part, labels: tuple[str, ...], head_weight: Matrix, regulars: Head | None = None
) -> Population:
    """Fit ``z = mean + u_speaker + shift_label + noise`` to ``float32[n, dim]`` by alternating least squares.

    Every corpus weighs the same, and every label within it; offsets are shrunk by one clip.

    Args:
        embeddings: of the training speakers' utterances.
        part: the same utterances.
        labels: in the order of the head's outputs.
        head_weight: ``float32[labels, dim]`` of the strangers' head; its row space gives the axes.
        regulars: the head for regulars; fitted here when there is none yet.
    """
    z = embeddings.astype(np.float64)
    names, speaker = np.unique(part.speakers, return_inverse=True)
    members = np.eye(len(names))[speaker]
    mean, offsets, shifts = fit_factors(z, part, speaker, len(labels))
    axes = principal_axes(head_weight)
    noise = (z - mean - offsets[speaker] - shifts[part.labels]) @ axes.T
    along = offsets @ axes.T
    shares = speaker_weights(part, names)
    return Population(
        labels=labels,
        mean=mean.astype(np.float32),
        shifts=(SHIFT_SCALE * shifts).astype(np.float32),
        axes=axes.astype(np.float32),
        between=_positive(along.T @ (along * shares[:, None])),
        within=_positive(noise.T @ (noise * part.balanced_weights()[:, None])),
        regulars=regulars or fit_regulars(z, mean, part, len(labels)),
        offsets=offsets.astype(np.float32),
        label_shares=(members.T @ np.eye(len(labels))[part.labels] / members.sum(0)[:, None]).astype(np.float32),
    )


def principal_axes(head_weight: Matrix) -> Doubles:
    """Return orthonormal rows ``float64[labels - 1, dim]`` that span the differences between a head's labels."""
    differences = head_weight.astype(np.float64) - head_weight.mean(axis=0)
    count = min(len(head_weight) - 1, head_weight.shape[1])
    return np.asarray(np.linalg.svd(differences, full_matrices=False)[2][:count])


def speaker_weights(part: Part, names: npt.NDArray[np.str_]) -> Doubles:
    """Return weights that sum to one: a corpus as its recipe says, every speaker within it the same."""
    corpus_of = dict(zip(part.speakers.tolist(), part.corpora.tolist(), strict=True))
    corpora = np.array([corpus_of[name] for name in names.tolist()])
    found, place, counts = np.unique(corpora, return_inverse=True, return_counts=True)
    shares = np.array([part.weight_of(name) for name in found.tolist()])
    return np.asarray(shares[place] / (counts[place] * shares.sum()))


def fit_regulars(z: Doubles, mean: Doubles, part: Part, labels: int) -> Head:
    """Fit a softmax head to ``float64[n, dim]`` without its speakers' offsets, each label of theirs weighing the same.

    A head of its own: one for both strangers and regulars lost to two.
    """
    centred = z.copy()
    for name in np.unique(part.speakers):
        rows = part.speakers == name
        shown = np.unique(part.labels[rows])
        centred[rows] -= np.mean([z[rows & (part.labels == label)].mean(axis=0) for label in shown], axis=0) - mean
    weights = part.balanced_weights()
    weight, bias = softmax_regression(centred, part.labels, weights, labels, PENALTY / len(part.labels))
    return Head(weight.float().numpy(), bias.float().numpy(), temperature=1.0)


def with_temperature(population: Population, part: Part, embeddings: Matrix, seed: int = 0) -> Population:
    """Scale the regulars' head on speakers it was not fitted to, see ``enrolled_logits``."""
    logits, tested = enrolled_logits(population, part, embeddings, seed)
    return _scaled(population, fit_temperature(torch.from_numpy(logits), tested))


def enrolled_logits(population: Population, part: Part, embeddings: Matrix, seed: int = 0) -> tuple[Matrix, Part]:
    """Return logits ``float32[n, labels]`` of the regulars' head, each speaker enrolled with a few unlabelled clips.

    Args:
        population: with the head.
        part: utterances of speakers that it was not fitted to.
        embeddings: ``float32[n, dim]``, theirs.
        seed: of the enrolment's draw.

    Returns:
        Logits of the utterances that did not enrol, and these.
    """
    rng = np.random.default_rng(seed)
    moved, rest = embeddings.copy(), np.ones(len(embeddings), bool)
    for name in np.unique(part.speakers):
        rows = rng.permutation(np.flatnonzero(part.speakers == name))
        enrolled = rows[: min(ENROLMENT_CLIPS, len(rows) // 2)]
        rest[enrolled] = False
        moved[rows] = VoiceProfile.estimate(population, embeddings[enrolled]).apply(embeddings[rows])
    head = population.regulars
    return moved[rest] @ head.weight.T + head.bias, part.select(rest)


def _scaled(population: Population, temperature: float) -> Population:
    return replace(population, regulars=replace(population.regulars, temperature=temperature))


def _positive(covariance: Doubles) -> Matrix:
    """Return a covariance as float32 with a floor of a thousandth of its mean variance in every direction."""
    floor = 1e-3 * np.trace(covariance) / len(covariance) + 1e-9
    return np.asarray(covariance + floor * np.eye(len(covariance)), np.float32)
