"""Where a trainer's features come from: a cache in front of a frozen encoder, or the encoder itself while it learns."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from calibrate import processes
from calibrate.dataset import Part, Rows
from calibrate.encoders.batches import central_part
from calibrate.encoders.lowrank import add_adapters, merge_adapters
from calibrate.encoders.pretrained import PooledEncoder
from calibrate.recipe import AugmentationRecipe, Recipe
from calibrate.training.audio_store import AudioStore
from calibrate.training.augment import augment
from calibrate.training.features import FeatureTable, embed
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.buckets import pad
from edge.errors import AudioFileError, UsageError
from edge.high_pass import high_passed

logger = logging.getLogger(__name__)

GROUP = 8
"""Utterances of like length that a learning encoder takes at once; a batch of many lengths would be half padding."""

Readable = npt.NDArray[np.bool_]

BatchFeatures = Callable[[Rows, np.random.Generator], Tensor]
"""Rows ``int64[batch]`` to features ``float32[batch, layers, width]``, augmented anew with the generator."""


class FeatureSource(Protocol):
    """Pooled layers of utterances."""

    learns: nn.Module | None
    """Its children are the parts of the encoder that are trained, lowest first; None when it is frozen."""

    def clean(self, part: Part, spoken_only: bool = False) -> tuple[Part, Tensor]:
        """Return the readable utterances of a part and their features ``float32[n, layers, width]``.

        ``spoken_only`` leaves of each what the device's segmenter would: for all that is measured or calibrated.
        Training takes whole files, with trimming among their augmentations, which was as good on validation speakers.
        """

    def augmented(self, part: Part) -> BatchFeatures:
        """Return what draws training batches from a part whose files are all readable."""

    def copies(self, part: Part) -> list[Tensor]:
        """Return the augmented copies of such a part, each ``float32[n, layers, width]``."""


class FrozenFeatures:
    """Features of a frozen encoder, computed once and kept on disk; augmented copies are drawn from beforehand."""

    learns: nn.Module | None = None

    def __init__(self, encoder: PooledEncoder, encoder_name: str, cache: Path, recipe: Recipe) -> None:
        self.encoder, self.encoder_name, self.cache, self.recipe = encoder, encoder_name, cache, recipe

    def clean(self, part: Part, spoken_only: bool = False) -> tuple[Part, Tensor]:
        """See ``FeatureSource``; unreadable files are logged and left out.

        Each corpus has a cache of its own, so that recipes of other corpora find it.
        """
        is_readable, features = self._by_corpus(part, spoken_only=spoken_only)
        return _readable(part, is_readable), features[torch.from_numpy(is_readable)]

    def augmented(self, part: Part) -> BatchFeatures:
        """See ``FeatureSource``."""
        copies = [self.clean(part)[1]]
        for seed in range(1, self.recipe.augmentation.copies + 1):
            table = self._embed(part, augmentation=self.recipe.augmentation, seed=seed)
            copies.append(torch.from_numpy(table.features.astype(np.float32)))
        stacked = torch.stack(copies)
        return lambda rows, rng: stacked[rng.integers(len(copies), size=len(rows)), rows]

    def copies(self, part: Part) -> list[Tensor]:
        """See ``FeatureSource``."""
        augmentation = self.recipe.augmentation
        seeds = range(1, augmentation.copies + 1)
        return [self._by_corpus(part, augmentation=augmentation, seed=seed)[1] for seed in seeds]

    def _by_corpus(
        self, part: Part, *, augmentation: AugmentationRecipe | None = None, seed: int = 0, spoken_only: bool = False
    ) -> tuple[Readable, Tensor]:
        """Return who is readable, ``bool[n]``, and the features of all, ``float32[n, layers, width]``."""
        readable = np.zeros(len(part.paths), np.bool_)
        features = torch.zeros(len(part.paths), len(self.encoder.pooled), self.encoder.dim // len(self.encoder.pooled))
        for corpus in np.unique(part.corpora):
            mine = part.corpora == corpus
            table = self._embed(part.select(mine), augmentation=augmentation, seed=seed, spoken_only=spoken_only)
            readable[mine] = table.readable
            features[torch.from_numpy(mine)] = torch.from_numpy(table.features.astype(np.float32))
        return readable, features

    def _embed(
        self, part: Part, *, augmentation: AugmentationRecipe | None = None, seed: int = 0, spoken_only: bool = False
    ) -> FeatureTable:
        with processes.main_first():
            return embed(
                self.encoder,
                self.encoder_name,
                part.paths,
                self.cache,
                augmentation=augmentation,
                seed=seed,
                spoken_only=spoken_only,
                max_s=self.recipe.encoder.max_s,
            )


class LiveFeatures:
    """Features of an encoder that learns: every batch is augmented anew and encoded with gradients.

    Made once for a training; ``finish`` leaves an encoder as it would be loaded.
    """

    def __init__(self, encoder: PooledEncoder, recipe: Recipe) -> None:
        self.encoder, self.max_samples = encoder, round(recipe.encoder.max_s * SAMPLE_RATE_HZ)
        self.augmentation = recipe.finetune.augmentation if recipe.finetune.augmentation.copies else None
        self.audio = AudioStore(recipe.finetune.memory_gb * 1e9)
        self.pool = ThreadPoolExecutor(torch.get_num_threads())
        layers = encoder.encoder.transformer_layers()[-recipe.encoder.finetune :]
        inside = {id(parameter) for parameter in encoder.encoder.transformer_layers().parameters()}
        below = [each for each in encoder.parameters() if each.requires_grad and id(each) not in inside]
        encoder.requires_grad_(False)
        layers.requires_grad_(True)
        if recipe.finetune.rank:
            add_adapters(layers, recipe.finetune.rank)
        front = [nn.ParameterList(below).requires_grad_(True)] if recipe.finetune.front else []
        self.learns: nn.Module | None = nn.ModuleList([*front, *layers])

    def finish(self) -> None:
        """Merge adapters, freeze the encoder and let go of audio and threads."""
        merge_adapters(self.encoder)
        self.encoder.requires_grad_(False).eval()
        self.pool.shutdown()
        self.audio = AudioStore(0)

    def readable(self, part: Part, spoken_only: bool = False) -> Part:
        """Return the utterances of a part whose files can be read, the others logged; their audio is then in memory."""

        def is_readable(path: Path) -> bool:
            try:
                self.audio.read(path, spoken_only)
            except AudioFileError:
                return False
            return True

        return _readable(part, np.array(list(self.pool.map(is_readable, part.paths)), np.bool_))

    def clean(self, part: Part, spoken_only: bool = False) -> tuple[Part, Tensor]:
        """See ``FeatureSource``; an unreadable file is an error here, see ``readable``."""
        self.encoder.eval()

        def read(path: Path) -> Waveform:
            return self.audio.read(path, True) if spoken_only else high_passed(self.audio.read(path))

        rows = processes.share(np.arange(len(part.paths)))
        with torch.no_grad():
            chunks = [
                self._encode([self._cut(read(part.paths[row])) for row in chunk])
                for chunk in np.array_split(rows, -(-len(rows) // 256))
            ]
        return part, processes.gather(torch.cat(chunks), len(part.paths)).cpu()

    def augmented(self, part: Part) -> BatchFeatures:
        """See ``FeatureSource``."""

        def waveform(row: int, seed: int) -> Waveform:
            read = self.audio.read(part.paths[row])
            if self.augmentation is not None:
                read = augment(read, self.augmentation, np.random.default_rng(seed))
            return self._cut(high_passed(read))

        def batch(rows: Rows, rng: np.random.Generator) -> Tensor:
            self.encoder.train()
            seeds = rng.integers(2**63, size=len(rows))
            waveforms = self.pool.map(waveform, processes.share(rows), processes.share(seeds))
            return processes.gather(self._encode(list(waveforms)), len(rows))

        return batch

    def copies(self, part: Part) -> list[Tensor]:
        """See ``FeatureSource``; none are kept of an encoder that learns."""
        return []

    def _encode(self, waveforms: Sequence[Waveform]) -> Tensor:
        """Return ``float32[batch, layers, width]``, encoded in groups of like length."""
        order = np.argsort([len(waveform) for waveform in waveforms], kind="stable")
        device = next(self.encoder.parameters()).device
        pooled = []
        for start in range(0, len(order), GROUP):
            group = [waveforms[row] for row in order[start : start + GROUP]]
            lengths = torch.tensor([len(waveform) for waveform in group])
            padded = torch.from_numpy(pad(group, int(lengths.max())))
            pooled.append(self.encoder(padded.to(device), lengths.to(device)))
        return torch.cat(pooled)[np.argsort(order)].reshape(len(order), len(self.encoder.pooled), -1)

    def _cut(self, waveform: Waveform) -> Waveform:
        return central_part(waveform, self.max_samples)


def _readable(part: Part, readable: Readable) -> Part:
    if not readable.any():
        raise UsageError(f"none of {len(part.paths)} files can be read, the first of them {part.paths[0]}")
    for row in np.flatnonzero(~readable):
        logger.warning("%s: cannot be read and is left out", part.paths[row])
    return part.select(readable)
