"""Features of an encoder that is told who speaks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from calibrate.dataset import Part
from calibrate.encoders.base import SpeechEncoder, Tokens
from calibrate.encoders.pretrained import PooledEncoder
from calibrate.pretraining.speaker_place import transform_for
from calibrate.recipe import Recipe, SpeakerPlace
from calibrate.training.sources import FrozenFeatures
from edge.arrays import Matrix


class ToldEncoder(SpeechEncoder):
    """An encoder that takes everyone for one speaker, of whom it is told.

    Args:
        encoder: pre-trained with speakers.
        place: where their embeddings go.
        embedding: of the speaker, ``float32[width]``.
    """

    def __init__(self, encoder: SpeechEncoder, place: SpeakerPlace, embedding: Matrix) -> None:
        super().__init__()
        self.encoder, self.place, self.width = encoder, place, encoder.width
        self.embedding: Tensor
        self.register_buffer("embedding", torch.from_numpy(embedding.copy()))

    @property
    def samples_a_token(self) -> int:
        """See ``SpeechEncoder``."""
        return self.encoder.samples_a_token

    def transformer_layers(self) -> nn.ModuleList:
        """See ``SpeechEncoder``."""
        return self.encoder.transformer_layers()

    def truncate(self, layers: int, max_s: float) -> None:
        """See ``SpeechEncoder``."""
        self.encoder.truncate(layers, max_s)

    def front_end(self, waveform: Tensor, lengths: Tensor) -> Tokens:
        """See ``SpeechEncoder``."""
        return self.encoder.front_end(waveform, lengths)

    def transform(self, hidden: Tensor, frames: Tensor) -> list[Tensor]:
        """See ``SpeechEncoder``."""
        return transform_for(self.encoder, hidden, frames, self.embedding.expand(len(hidden), -1), self.place)


def untold_features(encoder: SpeechEncoder, part: Part, recipe: Recipe, cache: Path) -> Tensor:
    """Return features ``float32[n, layers, 2 * width]`` of what is spoken, by an encoder that is told nothing."""
    pooled = PooledEncoder(encoder, recipe.encoder.pooled, recipe.encoder.voiced_db).eval()
    return FrozenFeatures(pooled, "", cache, recipe).clean(part, spoken_only=True)[1]


def told_features(
    encoder: SpeechEncoder,
    place: SpeakerPlace,
    embeddings: Mapping[str, Matrix],
    part: Part,
    untold: Tensor,
    recipe: Recipe,
    cache: Path,
) -> Tensor:
    """Return the same by an encoder that is told who speaks.

    What is added to the last states moves their mean and nothing else, so that nothing is encoded for it.

    Args:
        encoder: pre-trained.
        place: where embeddings go.
        embeddings: ``float32[width]`` of every speaker of the part.
        part: utterances, all readable.
        untold: their features.
        recipe: says which layers are pooled.
        cache: for features.
    """
    if place == "none":
        return untold
    if place == "last":
        told = untold.clone()
        if encoder.layers in recipe.encoder.pooled:
            layer = recipe.encoder.pooled.index(encoder.layers)
            added = np.stack([embeddings[speaker] for speaker in part.speakers.tolist()])
            told[:, layer, : encoder.width] += torch.from_numpy(added)
        return told
    told = torch.empty_like(untold)
    for speaker, embedding in embeddings.items():
        mine = part.speakers == speaker
        if mine.any():
            speaking = ToldEncoder(encoder, place, embedding)
            told[torch.from_numpy(mine)] = untold_features(speaking, part.select(mine), recipe, cache)
    return told
