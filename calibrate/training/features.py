"""The embedding cache: pooled layers of a frozen encoder for many utterances, on disk, resumable.

A cache folder holds ``features.npy`` (``float16[utterances, layers, 2 * width]``, a memory map) and ``state.npy``
(``uint8[utterances]``: 0 to do, 1 done, 2 unreadable). A killed run loses at most the batch it was at, and a resumed
one writes the same numbers, because batches are planned from the whole list. A damaged folder is built anew.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import soundfile
import torch

from calibrate.encoders.pretrained import PooledEncoder
from calibrate.progress import progress_bar
from calibrate.training.augment import Augmentation
from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.buckets import pad
from edge.errors import AudioFileError
from edge.segmenter import spoken
from edge.settings import SegmenterSettings, VadSettings

WAITING, DONE, UNREADABLE = 0, 1, 2
Features = npt.NDArray[np.float16]

T = TypeVar("T")


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
    augmentation: Augmentation | None = None,
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
        max_s: longer files are cut here, in the middle.
    """
    lengths_s = [_duration_s(path) for path in paths]
    files = [(path, *stamp(path)) for path in paths]
    kind = (VadSettings().model_dump(), SegmenterSettings().model_dump()) if spoken_only else ()
    folder = cache / _cache_key(encoder, encoder_name, files, augmentation, seed, max_s, *kind)
    features, state = _open_cache(folder, len(paths), encoder)
    batches = list(_plan(lengths_s, batch_s))
    todo = [batch for batch in batches if (state[batch] == WAITING).any()]

    def load(row: int) -> Waveform | None:
        try:
            waveform = read_audio(paths[row])
        except AudioFileError:
            return None
        if spoken_only:
            waveform = spoken(waveform)
        if augmentation is not None:
            waveform = augmentation(waveform, np.random.default_rng([seed, row]))
        return middle(waveform, round(max_s * SAMPLE_RATE_HZ))

    with progress_bar() as progress, ThreadPoolExecutor(1) as pool:
        task = progress.add_task(f"embedding {folder.name}", total=len(paths), completed=int((state != WAITING).sum()))
        for batch, waveforms in _one_ahead(pool, lambda batch: [load(row) for row in batch], todo):
            rows = [row for row, waveform in zip(batch, waveforms, strict=True) if waveform is not None]
            if rows:
                pooled = encode(encoder, [waveform for waveform in waveforms if waveform is not None])
                features[rows] = pooled.reshape(len(rows), *features.shape[1:])
            features.flush()
            state[batch] = [UNREADABLE if waveform is None else DONE for waveform in waveforms]
            state.flush()
            progress.advance(task, len(batch))
    return FeatureTable(features, np.asarray(state == DONE))


def encode(encoder: PooledEncoder, waveforms: Sequence[Waveform]) -> npt.NDArray[np.float32]:
    """Return ``float32[batch, layers * 2 * width]`` for waveforms padded to the longest of them."""
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    device = next(encoder.parameters()).device
    with torch.inference_mode():
        padded = torch.from_numpy(pad(waveforms, int(lengths.max()))).to(device)
        pooled: npt.NDArray[np.float32] = encoder(padded, lengths.to(device)).cpu().numpy()
    return pooled


def middle(waveform: Waveform, samples: int) -> Waveform:
    """Return the middle ``samples`` of a longer waveform, a shorter one as it is."""
    start = max(0, (len(waveform) - samples) // 2)
    return waveform[start : start + samples]


def _duration_s(path: Path) -> float:
    """Return the duration in seconds, 0 for what cannot be opened (it is found unreadable when its turn comes)."""
    try:
        return float(soundfile.info(path).duration)
    except (soundfile.LibsndfileError, OSError):
        return 0.0


def stamp(path: Path) -> tuple[int, ...]:
    """Return what changes when a file does: its size and the time it was written; nothing for a missing file."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns


def _one_ahead(
    pool: ThreadPoolExecutor, load: Callable[[list[int]], T], batches: Sequence[list[int]]
) -> Iterator[tuple[list[int], T]]:
    """Yield each batch with what it loads to, while the next one loads; ``pool.map`` would run to the end."""
    loads = (pool.submit(load, batch) for batch in batches)
    ahead = deque(islice(loads, 1))
    for batch in batches:
        ahead.extend(islice(loads, 1))
        yield batch, ahead.popleft().result()


def _plan(lengths_s: Sequence[float], batch_s: float) -> Iterator[list[int]]:
    """Yield rows sorted by length in batches whose padded length stays within ``batch_s``."""
    batch: list[int] = []
    for row in sorted(range(len(lengths_s)), key=lambda row: lengths_s[row]):
        if batch and lengths_s[row] * (len(batch) + 1) > batch_s:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _cache_key(encoder: PooledEncoder, *parts: object) -> str:
    weights = hashlib.sha256()
    for name, tensor in encoder.state_dict().items():
        weights.update(f"{name}{tuple(tensor.shape)}".encode())
        weights.update(tensor.cpu().contiguous().numpy().data)
    described = json.dumps([encoder.pooled, weights.hexdigest(), *parts], default=str)
    return hashlib.sha256(described.encode()).hexdigest()[:16]


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
    if all(_is_intact(*array) for array in arrays):
        state, features = (np.lib.format.open_memmap(path, "r+") for path, _, _ in arrays)
    else:
        state, features = (np.lib.format.open_memmap(path, "w+", dtype, shape) for path, dtype, shape in arrays)
    return features, state


def _is_intact(path: Path, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> bool:
    try:
        # Reading refuses a file shorter than its header says, which opening for writing would fill with zeros.
        array = np.lib.format.open_memmap(path, "r")
    except (OSError, ValueError):
        return False
    return array.dtype == dtype and array.shape == shape
