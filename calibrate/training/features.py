"""The embedding cache: pooled layers of a frozen encoder for many utterances, on disk, resumable.

A cache folder holds ``features.npy`` (``float16[utterances, layers, 2 * width]``, a memory map) and ``state.npy``
(``uint8[utterances]``: 0 to do, 1 done, 2 unreadable). A killed run loses at most the batch it was at, and a resumed
one writes the same numbers, because batches are planned from the whole list. A damaged folder is built anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from calibrate.cache import content_of, is_intact, key_of, weights_sha256
from calibrate.encoders.batches import central_part, duration_s, encode, encode_batches, plan_batches
from calibrate.encoders.pooling import QUIETEST_DBFS
from calibrate.encoders.pretrained import PooledEncoder
from calibrate.progress import progress_bar
from calibrate.recipe import AugmentationRecipe
from calibrate.training.augment import augment
from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.errors import AudioFileError
from edge.high_pass import high_passed
from edge.settings import SegmenterSettings, VadSettings
from edge.spoken import spoken
from edge.vad import detector_name

WAITING, DONE, UNREADABLE = 0, 1, 2
Features = npt.NDArray[np.float16]


@dataclass(frozen=True)
class FeatureTable:
    """Features of a list of utterances, row by row in its order."""

    features: Features
    """``float16[utterances, layers, 2 * width]``; rows of unreadable files are zero."""
    readable: npt.NDArray[np.bool_]


def embed(
    encoder: PooledEncoder,
    encoder_name: str,
    paths: Sequence[Path],
    cache: Path,
    *,
    augmentation: AugmentationRecipe | None = None,
    seed: int = 0,
    spoken_only: bool = False,
    batch_s: float = 64.0,
    max_s: float = 10.0,
) -> FeatureTable:
    """Run the encoder over audio files in batches of like length, reusing what the cache already holds.

    Args:
        encoder: pools its layers to ``float32[batch, layers * 2 * width]``.
        encoder_name: identifies the weights in the cache key.
        paths: files to read; each is one row.
        cache: folder under which the cache of this encoder, list and augmentation lives.
        augmentation: applied to each file with a generator seeded by ``seed`` and the row.
        seed: of the augmentation.
        spoken_only: embed what ``spoken`` leaves of each file.
        batch_s: audio per batch, padding included.
        max_s: of longer files only the central part is used.
    """
    lengths_s = [duration_s(path) for path in paths]
    files = [content_of(path) for path in paths]
    kind: tuple[object, ...] = (encoder.samples_a_token, VadSettings().high_pass_hz)
    if spoken_only:
        kind = (kind[0], detector_name(VadSettings()), VadSettings().model_dump(), SegmenterSettings().model_dump())
    if encoder.voiced_db:
        kind += ("voiced", encoder.voiced_db, QUIETEST_DBFS)
    name = augmentation.key if augmentation else None
    folder = cache / key_of(encoder.pooled, weights_sha256(encoder), encoder_name, files, name, seed, max_s, *kind)
    features, state = _open_cache(folder, len(paths), encoder)
    batches = list(plan_batches(lengths_s, batch_s))
    todo = [batch for batch in batches if (state[batch] == WAITING).any()]

    def load(row: int) -> Waveform | None:
        try:
            waveform = read_audio(paths[row])
        except AudioFileError:
            return None
        if spoken_only:
            waveform = spoken(waveform)
        if augmentation is not None:
            waveform = augment(waveform, augmentation, np.random.default_rng([seed, row]))
        if not spoken_only:
            waveform = high_passed(waveform)
        return central_part(waveform, round(max_s * SAMPLE_RATE_HZ))

    with progress_bar() as progress:
        task = progress.add_task(f"embedding {folder.name}", total=len(paths), completed=int((state != WAITING).sum()))
        for batch, loaded, pooled in encode_batches(todo, load, lambda waveforms: encode(encoder, waveforms)):
            features[loaded] = pooled.reshape(len(loaded), *features.shape[1:])
            features.flush()
            state[batch] = np.where(np.isin(batch, loaded), DONE, UNREADABLE)
            state.flush()
            progress.advance(task, len(batch))
    return FeatureTable(features, np.asarray(state == DONE))


def _open_cache(folder: Path, rows: int, encoder: PooledEncoder) -> tuple[np.memmap, np.memmap]:
    """Open features and state, creating both when either is missing or damaged.

    The state comes first, so that a process killed in between leaves nothing marked as done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays = (
        (folder / "state.npy", np.dtype(np.uint8), (rows,)),
        (
            folder / "features.npy",
            np.dtype(np.float16),
            (rows, len(encoder.pooled), encoder.dim // len(encoder.pooled)),
        ),
    )
    if all(is_intact(*array) for array in arrays):
        state, features = (np.lib.format.open_memmap(path, "r+") for path, _, _ in arrays)
    else:
        state, features = (np.lib.format.open_memmap(path, "w+", dtype, shape) for path, dtype, shape in arrays)
    return features, state
