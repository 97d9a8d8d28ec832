"""Where a trainer's features come from: a cache in front of a frozen encoder, or the encoder itself while it learns."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from calibrate.augment import Augmentation
from calibrate.dataset import Part, Rows
from calibrate.encoders import PooledEncoder
from calibrate.features import embed, encode, middle
from calibrate.recipe import Recipe
from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.buckets import pad
from edge.errors import UsageError
from edge.segmenter import spoken

logger = logging.getLogger(__name__)

BatchFeatures = Callable[[Rows, np.random.Generator], Tensor]
"""Rows ``int64[batch]`` to features ``float32[batch, layers, width]``, augmented anew with the generator."""


class FeatureSource(Protocol):
    """Pooled layers of utterances."""

    learns: nn.Module | None
    """The part of the encoder that is trained, None when it is frozen."""

    def clean(self, part: Part, spoken_only: bool = False) -> tuple[Part, Tensor]:
        """Return the readable utterances of a part and their features ``float32[n, layers, width]``.

        ``spoken_only`` leaves of each what the device's segmenter would: for all that is measured or calibrated.
        Training takes whole files, with trimming among their augmentations, which was as good on validation speakers.
        """

    def augmented(self, part: Part) -> BatchFeatures:
        """Return what draws training batches from a part whose files are all readable."""


class FrozenFeatures:
    """Features of a frozen encoder, computed once and kept on disk; augmented copies are drawn from beforehand."""

    learns: nn.Module | None = None

    def __init__(self, encoder: PooledEncoder, encoder_name: str, cache: Path, recipe: Recipe) -> None:
        self.encoder, self.encoder_name, self.cache, self.recipe = encoder, encoder_name, cache, recipe

    def clean(self, part: Part, spoken_only: bool = False) -> tuple[Part, Tensor]:
        """See ``FeatureSource``; unreadable files are logged and left out."""
        table = embed(
            self.encoder,
            self.encoder_name,
            part.paths,
            self.cache,
            spoken_only=spoken_only,
            max_s=self.recipe.encoder.max_s,
        )
        if not table.readable.any():
            raise UsageError(f"none of {len(part.paths)} files can be read, the first of them {part.paths[0]}")
        for row in np.flatnonzero(~table.readable):
            logger.warning("%s: cannot be read and is left out", part.paths[row])
        return part.select(table.readable), torch.from_numpy(table.features[table.readable].astype(np.float32))

    def augmented(self, part: Part) -> BatchFeatures:
        """See ``FeatureSource``."""
        copies = [self.clean(part)[1]]
        for seed in range(1, self.recipe.augmentation.copies + 1):
            table = embed(
                self.encoder,
                self.encoder_name,
                part.paths,
                self.cache,
                augmentation=self.recipe.augmentation.build(),
                seed=seed,
                max_s=self.recipe.encoder.max_s,
            )
            copies.append(torch.from_numpy(table.features.astype(np.float32)))
        stacked = torch.stack(copies)
        return lambda rows, rng: stacked[rng.integers(len(copies), size=len(rows)), rows]


class LiveFeatures:
    """Features of an encoder that learns: every batch is read, augmented and encoded with gradients."""

    def __init__(self, encoder: PooledEncoder, recipe: Recipe) -> None:
        self.encoder, self.recipe = encoder, recipe
        encoder.requires_grad_(False)
        self.learns: nn.Module | None = encoder.encoder.transformer_layers()[-recipe.encoder.finetune :]
        self.learns.requires_grad_(True)

    def clean(self, part: Part, spoken_only: bool = False) -> tuple[Part, Tensor]:
        """See ``FeatureSource``; an unreadable file is an error here."""
        self.encoder.eval()
        chunks = [
            encode(self.encoder, [self._read(path, spoken_only) for path in part.paths[start : start + 16]])
            for start in range(0, len(part.paths), 16)
        ]
        return part, self._layers(torch.from_numpy(np.concatenate(chunks)))

    def augmented(self, part: Part) -> BatchFeatures:
        """See ``FeatureSource``."""
        augmentation = self.recipe.augmentation.build() if self.recipe.augmentation.copies else None

        def batch(rows: Rows, rng: np.random.Generator) -> Tensor:
            self.encoder.train()
            waveforms = [self._read(part.paths[row], False, augmentation, rng) for row in rows]
            lengths = torch.tensor([len(waveform) for waveform in waveforms])
            device = next(self.encoder.parameters()).device
            padded = torch.from_numpy(pad(waveforms, int(lengths.max())))
            return self._layers(self.encoder(padded.to(device), lengths.to(device)))

        return batch

    def _read(
        self,
        path: Path,
        spoken_only: bool,
        augmentation: Augmentation | None = None,
        rng: np.random.Generator | None = None,
    ) -> Waveform:
        waveform = read_audio(path)
        if spoken_only:
            waveform = spoken(waveform)
        if augmentation is not None and rng is not None:
            waveform = augmentation(waveform, rng)
        return middle(waveform, round(self.recipe.encoder.max_s * SAMPLE_RATE_HZ))

    def _layers(self, pooled: Tensor) -> Tensor:
        return pooled.reshape(len(pooled), len(self.encoder.pooled), -1)
