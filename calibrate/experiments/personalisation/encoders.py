"""The encoders that are compared, and what each of them knows of people it has not met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from calibrate.dataset import Part, Rows
from calibrate.encoders.pretrained import load_encoder
from calibrate.experiments.personalisation.told import told_features, untold_features
from calibrate.pretraining.new_speakers import fitted_embedding, loss_of, similar_embedding, voice_of
from calibrate.pretraining.papt import Pretrained, pretrain_encoder, read_part
from calibrate.pretraining.recordings import Recordings
from calibrate.recipe import Recipe, SpeakerPlace
from edge.arrays import Matrix

VANILLA = "vanilla"
TOLD_BY = 8
"""Recordings, without labels, from which a new speaker's embedding is inferred; they are not tested. A third of theirs
where there are fewer than three times as many."""
LOSS_RECORDINGS = 12
"""Of a new speaker, on which the masked loss is measured."""

Embeddings = dict[str, Matrix]
"""``float32[width]`` by speaker."""


@dataclass(frozen=True)
class Heard:
    """One encoder's features of everybody, under the name that the report gives it."""

    name: str
    features: Tensor
    """``float32[n, layers, 2 * width]``."""


@dataclass(frozen=True)
class Setting:
    """What all encoders of one seed have in common."""

    recipe: Recipe
    encoder_name: str
    recordings: Recordings
    """Of everyone."""
    part: Part
    """The emotional utterances, all readable, train and test."""
    training: set[str]
    """Speakers whom encoders and heads learn from."""
    told_by: Mapping[str, Rows]
    """Of each test speaker, the rows of ``recordings`` from which the embedding is inferred."""
    folder: Path
    cache: Path


def vanilla(setting: Setting) -> Heard:
    """Return the features of the encoder as it was published."""
    encoder = load_encoder(setting.encoder_name, setting.recipe.encoder.layers)
    return Heard(VANILLA, untold_features(encoder, setting.part, setting.recipe, setting.cache))


def pretrained(setting: Setting, place: SpeakerPlace) -> tuple[list[Heard], dict[str, float]]:
    """Pre-train on the training speakers and everyday speech, and tell the encoder who the test speakers are.

    Returns:
        Features, untold and by each way to an embedding; and the masked losses of the test speakers' recordings.
    """
    recipe = setting.recipe.with_pretraining(place, None)
    encoder = load_encoder(setting.encoder_name, recipe.encoder.layers)
    learned = np.flatnonzero([each.speaker in setting.training for each in setting.recordings.utterances])
    name = "TAPT" if place == "none" else f"PAPT {place}"
    done = pretrain_encoder(
        recipe, encoder, setting.recordings, setting.folder / name.replace(" ", "-").lower(), setting.cache,
        resume=True, rows=learned,
    )  # fmt: skip
    untold = untold_features(encoder, setting.part, recipe, setting.cache)
    if place == "none":
        return [Heard(name, untold)], {f"{name}": _masked_loss(setting, done, None)}
    own = dict(zip(done.recordings.speakers, done.model.speakers.detach().numpy(), strict=True))
    ways = {"mean": _mean(setting, done), "similar": _similar(setting, done)}
    ways["fitted"] = _fitted(setting, done, ways["mean"])
    losses = {f"{name}, {way}": _masked_loss(setting, done, embeddings) for way, embeddings in ways.items()}
    heard = [Heard(f"{name}, not told", untold)]
    for way in ("similar", "fitted"):
        told = told_features(encoder, place, own | ways[way], setting.part, untold, recipe, setting.cache)
        heard.append(Heard(f"{name}, {way}", told))
    return heard, losses


def _mean(setting: Setting, done: Pretrained) -> Embeddings:
    mean = done.model.speakers.detach().numpy().mean(axis=0)
    return dict.fromkeys(setting.told_by, mean)


def _similar(setting: Setting, done: Pretrained) -> Embeddings:
    adapted = done.adapted
    voices = {
        speaker: voice_of(done.model, [read_part(setting.recordings, int(row)) for row in rows])
        for speaker, rows in setting.told_by.items()
    }
    return {speaker: similar_embedding(voice, adapted.voices, adapted.embeddings) for speaker, voice in voices.items()}


def _fitted(setting: Setting, done: Pretrained, start: Embeddings) -> Embeddings:
    chosen = setting.recipe.pretraining
    targets = done.rounds[-1].targets
    return {
        speaker: fitted_embedding(
            done.model, setting.recordings, targets, rows, chosen.max_s, start[speaker], setting.recipe.seed
        )
        for speaker, rows in setting.told_by.items()
    }


def _masked_loss(setting: Setting, done: Pretrained, embeddings: Embeddings | None) -> float:
    """Return the mean masked loss of test speakers on recordings that they are not known by."""
    losses = []
    targets, chosen = done.rounds[-1].targets, setting.recipe.pretraining
    for speaker, known in setting.told_by.items():
        mine = np.flatnonzero([each.speaker == speaker for each in setting.recordings.utterances])
        rows = np.setdiff1d(mine, known)[:LOSS_RECORDINGS]
        if not len(rows):
            continue
        told = None if embeddings is None else torch.from_numpy(embeddings[speaker])
        with torch.inference_mode(), torch.random.fork_rng():
            torch.manual_seed(setting.recipe.seed)
            losses.append(float(loss_of(done.model, setting.recordings, targets, rows, chosen.max_s, told)))
    return float(np.mean(losses))
