"""Targets of masked prediction: the cluster of every frame of a list of utterances, kept on disk.

As in HuBERT (Hsu et al. 2021, sections II-A and IV-B) and PAPT (Tran, Yin and Soleymani 2023): mini-batch k-means on a
part of the frames, of MFCC at first and of a layer of the model itself afterwards; then every frame gets the nearest
centre.

A cache folder holds ``centres.npy`` (``float32[classes, width]``), ``classes.bin`` (``int16[frames]``, a row after the
other) and ``offsets.npy`` (``int64[rows + 1]``: where the classes of each row begin, and the end; -1: not yet there). A
killed run loses at most the rows it was at, or the sample that it was clustering, and a resumed one writes the same
numbers, because rows go into the same batches. What is damaged is built anew.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import SEEK_END
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.cluster import MiniBatchKMeans

from calibrate.cache import is_intact, key_of
from calibrate.corpora import Utterance
from calibrate.encoders.base import SpeechEncoder
from calibrate.pretraining.frames import ROWS_AT_ONCE, FrameFeatures, LayerFeatures, MfccFeatures, Read, frames_of_rows
from calibrate.pretraining.quality import Quality, measure
from calibrate.progress import progress_bar, stage
from edge.arrays import Integers, Matrix
from edge.errors import UsageError
from edge.files import new_file

logger = logging.getLogger(__name__)

CENTRES, CLASSES, OFFSETS = "centres.npy", "classes.bin", "offsets.npy"
CLASS = np.dtype("<i2")
FRAMES_A_CLUSTER = 200
"""In the sample that is clustered, when there are as many."""
FEWEST_FRAMES_A_CLUSTER = 30


@dataclass(frozen=True)
class Targets:
    """The cluster of every frame of a list of utterances."""

    classes: int
    """Number of clusters."""
    assigned: npt.NDArray[np.int16]
    """``int16[frames]``, a row after the other; a memory map."""
    offsets: Integers
    """``int64[rows + 1]``: where each row begins, and the end."""
    utterances: Sequence[Utterance]
    """One a row."""

    @classmethod
    def open(cls, folder: Path, utterances: Sequence[Utterance]) -> Targets:
        """Open a folder with the targets of all of these utterances."""
        centres, offsets = np.load(folder / CENTRES, mmap_mode="r"), np.load(folder / OFFSETS)
        return cls(len(centres), np.memmap(folder / CLASSES, CLASS, "r"), offsets, utterances)

    def of(self, row: int) -> Integers:
        """Return ``int64[frames]`` of a row; no frames for one that could not be read."""
        return self.assigned[self.offsets[row] : self.offsets[row + 1]].astype(np.int64)

    def select(self, rows: Integers) -> SomeTargets:
        """Return the targets of some rows ``int64[n]``, as rows of their own."""
        return SomeTargets(self, rows)

    @cached_property
    def quality(self) -> Quality:
        """What the clusters stand for, measured when first asked."""
        return measure(self, self.utterances)


@dataclass(frozen=True)
class SomeTargets:
    """The targets of some of the utterances."""

    all: Targets
    rows: Integers

    @property
    def classes(self) -> int:
        """Number of clusters."""
        return self.all.classes

    def of(self, row: int) -> Integers:
        """Return ``int64[frames]`` of one of the rows."""
        return self.all.of(int(self.rows[row]))


def cluster_targets(
    read: Read,
    utterances: Sequence[Utterance],
    encoder: SpeechEncoder,
    layer: int | None,
    clusters: int,
    folder: Path,
    *,
    seed: int,
    batch_s: float,
    described: object,
) -> Targets:
    """Cluster the frames of utterances, or open what the cache holds of them.

    Args:
        read: row to waveform, at most as long as the encoder takes; called from another thread.
        utterances: one a row.
        encoder: whose frames get targets; stays as it is.
        layer: that is clustered, 0 being the input of the first; None: MFCC.
        clusters: at most 32,767; fewer when the frames are too few.
        folder: under which the cache of these targets lies.
        seed: of the sample and of the clustering.
        batch_s: audio a batch of the encoder, padding included.
        described: all that the waveforms depend on, for the key of the cache.

    Raises:
        ModelError: the encoder has no such layer.
        UsageError: no utterance can be read.
    """
    features = MfccFeatures(encoder) if layer is None else LayerFeatures(encoder, layer)
    sizes = (ROWS_AT_ONCE, FRAMES_A_CLUSTER, FEWEST_FRAMES_A_CLUSTER)
    key = key_of("targets", features.described, clusters, seed, batch_s, sizes, len(utterances), described)
    job = _Job(read, len(utterances), features, clusters, folder / key, seed, batch_s)
    job.folder.mkdir(parents=True, exist_ok=True)
    job.assign(job.centres())
    return Targets.open(job.folder, utterances)


@dataclass(frozen=True)
class _Job:
    """The steps of ``cluster_targets``, in the order they are taken."""

    read: Read
    rows: int
    features: FrameFeatures
    clusters: int
    folder: Path
    seed: int
    batch_s: float

    def centres(self) -> Matrix:
        """Return ``float32[classes, width]``, from the cache or fitted and kept."""
        path = self.folder / CENTRES
        try:
            centres: Matrix = np.load(path)
        except (OSError, ValueError, EOFError):
            centres = self._fit(self._sample())
            with new_file(path) as new:
                np.save(new, centres)
        return centres

    def _sample(self) -> Matrix:
        """Return the frames ``float32[frames, width]`` of utterances drawn at random, until there are enough."""
        wanted, count = self.clusters * FRAMES_A_CLUSTER, 0
        order = np.random.default_rng(self.seed).permutation(self.rows).tolist()
        taken: list[Matrix] = []
        with progress_bar() as progress:
            task = progress.add_task("frames to cluster", total=wanted)
            for _, frames in frames_of_rows(self.features, self.read, order, self.batch_s):
                taken += frames
                count += sum(map(len, frames))
                progress.update(task, completed=count)
                if count >= wanted:
                    break
        if not count:
            raise UsageError(f"none of {self.rows} utterances can be read, so there is nothing to cluster")
        return np.concatenate(taken)[:wanted]

    def _fit(self, sample: Matrix) -> Matrix:
        """Return the centres of mini-batch k-means (Sculley 2010) on ``float32[frames, width]``, of the best start."""
        clusters = max(1, min(self.clusters, len(sample) // FEWEST_FRAMES_A_CLUSTER))
        if clusters < self.clusters:
            logger.warning("%d frames are enough for %d clusters, not for %d", len(sample), clusters, self.clusters)
        with stage(f"{clusters} clusters of {len(sample)} frames"):
            fitted = MiniBatchKMeans(
                clusters, init="k-means++", n_init=3, batch_size=10_000, max_iter=100, max_no_improvement=100,
                reassignment_ratio=0.0, compute_labels=False, random_state=self.seed,
            ).fit(sample)  # fmt: skip
        centres: Matrix = fitted.cluster_centers_.astype(np.float32)
        return centres

    def assign(self, centres: Matrix) -> None:
        """Write the nearest centre of every frame, from where a killed run was."""
        offsets = self._open_offsets()
        done = _rows_done(offsets)
        halves = np.square(centres).sum(axis=1) / 2
        with (self.folder / CLASSES).open("r+b") as file, progress_bar() as progress:
            task = progress.add_task(f"targets {self.folder.name}", total=self.rows, completed=done)
            file.truncate(int(offsets[done]) * CLASS.itemsize)
            file.seek(0, SEEK_END)
            rest = range(done, self.rows)
            for rows, frames in frames_of_rows(self.features, self.read, rest, self.batch_s):
                for row in frames:
                    file.write((halves - row @ centres.T).argmin(axis=1).astype(CLASS).tobytes())
                file.flush()
                ends = np.cumsum([len(row) for row in frames])
                offsets[rows[0] + 1 : rows[-1] + 2] = offsets[rows[0]] + ends
                offsets.flush()
                progress.advance(task, len(rows))

    def _open_offsets(self) -> np.memmap:
        """Open the offsets; they and the classes are created anew when either is missing or damaged."""
        path, classes = self.folder / OFFSETS, self.folder / CLASSES
        if is_intact(path, np.dtype(np.int64), (self.rows + 1,)) and classes.exists():
            offsets = np.lib.format.open_memmap(path, "r+")
            known = offsets[: _rows_done(offsets) + 1]
            whole = known[-1] * CLASS.itemsize <= classes.stat().st_size
            if known[0] == 0 and (np.diff(known) >= 0).all() and whole:
                return offsets
        classes.write_bytes(b"")
        with new_file(path) as new:
            np.save(new, np.append(np.int64(0), np.full(self.rows, -1)))
        return np.lib.format.open_memmap(path, "r+")


def _rows_done(offsets: npt.NDArray[np.int64]) -> int:
    """Return how many rows are done, in whole groups: a resumed run goes on with the batches of an unbroken one."""
    rows = len(offsets) - 1
    missing = np.flatnonzero(offsets < 0)
    if not len(missing):
        return rows
    return max(0, int(missing[0]) - 1) // ROWS_AT_ONCE * ROWS_AT_ONCE
