"""Files through an encoder in batches: planned by length, one being read while another is encoded."""

from __future__ import annotations

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

from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.buckets import pad

KINDS = ("length", "order", "pad")

T = TypeVar("T")


@dataclass(frozen=True)
class Batching:
    """What is encoded together."""

    kind: str
    """``length``: those of like length; ``order``: as they come; ``pad``: as they come, all padded to ``max_s``."""
    batch_s: float
    """Audio a batch, padding included."""
    max_s: float
    """Of longer recordings the central part is taken."""

    def plan(self, lengths_s: Sequence[float]) -> list[list[int]]:
        """Return the batches for recordings of these lengths."""
        encoded_s = [self.max_s if self.kind == "pad" else min(length_s, self.max_s) for length_s in lengths_s]
        return list(plan_batches(encoded_s, self.batch_s, by_length=self.kind == "length"))

    @property
    def max_samples(self) -> int:
        """Samples of the longest input."""
        return round(self.max_s * SAMPLE_RATE_HZ)

    def padded(self, waveforms: Sequence[Waveform]) -> int:
        """Return the length in samples that a batch is padded to."""
        return self.max_samples if self.kind == "pad" else max(map(len, waveforms))


def duration_s(path: Path) -> float:
    """Return the duration in seconds, 0 for what cannot be opened (it is found unreadable when its turn comes)."""
    try:
        return float(soundfile.info(path).duration)
    except (soundfile.LibsndfileError, OSError):
        return 0.0


def plan_batches(lengths_s: Sequence[float], batch_s: float, by_length: bool = True) -> Iterator[list[int]]:
    """Yield every row once, in batches whose padded length stays within ``batch_s``; one row always fits.

    Args:
        lengths_s: of the rows.
        batch_s: audio a batch, padding included; 0 leaves every row on its own.
        by_length: shortest first, so that little is padded; otherwise in the order given.
    """
    rows = range(len(lengths_s))
    batch: list[int] = []
    longest_s = 0.0
    for row in sorted(rows, key=lambda row: lengths_s[row]) if by_length else rows:
        longest_s = max(longest_s, lengths_s[row])
        if batch and longest_s * (len(batch) + 1) > batch_s:
            yield batch
            batch, longest_s = [], lengths_s[row]
        batch.append(row)
    if batch:
        yield batch


def encode_batches(
    batches: Sequence[list[int]],
    load: Callable[[int], Waveform | None],
    encode: Callable[[Sequence[Waveform]], Matrix],
) -> Iterator[tuple[list[int], list[int], Matrix]]:
    """Yield each batch, those of its rows that loaded, and their vectors ``float32[rows, dim]``.

    Two batches of audio are held at most: the one that is encoded and the one that loads meanwhile.
    """
    with ThreadPoolExecutor(1) as pool:
        for batch, waveforms in one_ahead(pool, lambda rows: [load(row) for row in rows], batches):
            loaded = [row for row, waveform in zip(batch, waveforms, strict=True) if waveform is not None]
            kept = [waveform for waveform in waveforms if waveform is not None]
            vectors = encode(kept) if kept else np.empty((0, 0), np.float32)
            del waveforms, kept  # or a third batch would be held while the next but one loads
            yield batch, loaded, vectors


def one_ahead(
    pool: ThreadPoolExecutor, load: Callable[[list[int]], T], batches: Sequence[list[int]]
) -> Iterator[tuple[list[int], T]]:
    """Yield each batch with what it loads to, while the next one loads; ``pool.map`` would run to the end."""
    loads = (pool.submit(load, batch) for batch in batches)
    ahead = deque(islice(loads, 1))
    for batch in batches:
        ahead.extend(islice(loads, 1))
        yield batch, ahead.popleft().result()


def encode(
    encoder: torch.nn.Module, waveforms: Sequence[Waveform], samples: int | None = None
) -> npt.NDArray[np.float32]:
    """Return the encoder's ``float32[batch, dim]`` for waveforms padded to ``samples``, or to the longest of them."""
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    device = next(encoder.parameters()).device
    with torch.inference_mode():
        padded = torch.from_numpy(pad(waveforms, samples or int(lengths.max()))).to(device)
        pooled: npt.NDArray[np.float32] = encoder(padded, lengths.to(device)).cpu().numpy()
    return pooled


def central_part(waveform: Waveform, samples: int) -> Waveform:
    """Return the central ``samples`` of a longer waveform, a shorter one as it is."""
    start = max(0, (len(waveform) - samples) // 2)
    return waveform[start : start + samples]
