"""What batches of like length are worth: padding, throughput and equality, kinds of batching alternated."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from calibrate.embed.corpus import BATCH_S
from calibrate.embed.embedders import Embedder, open_embedder
from calibrate.embed.inputs import list_utterances
from calibrate.encoders.batches import KINDS, Batching, central_part, encode
from calibrate.progress import progress_bar
from calibrate.report import Report, Table
from calibrate.workspace import Workspace
from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.errors import AudioFileError, UsageError

logger = logging.getLogger(__name__)

ALONE = "one at a time"
"""Batches of one, which nothing pads: what the others are compared with."""


@dataclass(frozen=True)
class BatchingFigures:
    """One kind of batching over the same clips."""

    batches: int
    padding_share: float
    """Of the samples that were encoded."""
    rounds_s: list[float]
    """Time of each round; reading is not in it."""
    rounds_cpu_s: list[float]
    """The same in processor time of all threads, which does not feel what else the machine does."""
    audio_per_second: float
    """Seconds of speech a second, median of the rounds; padding is not speech."""
    audio_per_cpu_second: float
    """The same of processor time."""
    times_pad: float
    """Throughput in processor time against that of ``pad``: median over the rounds of the ratio within a round."""
    largest_difference: float
    """Of an embedding from that of one at a time: largest ``|a - b| / |b|``."""


def measure_batching(
    workspace: Workspace,
    corpus: str,
    folder: Path,
    encoder: str,
    *,
    layers: Sequence[int] | None,
    pool: str | None,
    clips: int,
    rounds: int,
    batch_s: float | None,
    max_s: float | None,
    seed: int,
) -> Report:
    """Measure kinds of batching on clips of a corpus; see the command's help."""
    embedder = open_embedder(encoder, layers, pool, max_s)
    waveforms = _draw(corpus, folder, clips, seed, max_s or embedder.longest_s)
    longest_s = max(map(len, waveforms)) / SAMPLE_RATE_HZ
    figures = compare_batchings(embedder, waveforms, rounds, batch_s or BATCH_S, max_s or longest_s)
    described = {
        "corpus": corpus,
        "encoder": embedder.described,
        "clips": len(waveforms),
        "clip_s": {"mean": round(float(np.mean([len(one) for one in waveforms])) / SAMPLE_RATE_HZ, 3),
                   "longest": round(longest_s, 3)},
        "batch_s": batch_s or BATCH_S,
        "padded_to_s": round(max_s or longest_s, 3),
        "rounds": rounds,
        "seed": seed,
        "threads": workspace.threads,
        "batching": {name: asdict(row) for name, row in figures.items()},
    }  # fmt: skip
    title = f"{len(waveforms)} clips of {corpus}, {embedder.described['label']}, {rounds} rounds"
    return Report((), title, "", described, [batchings_table(figures)])


def compare_batchings(
    embedder: Embedder, waveforms: Sequence[Waveform], rounds: int, batch_s: float, max_s: float
) -> dict[str, BatchingFigures]:
    """Encode the waveforms in every kind of batches, alternated, and compare what comes out.

    Args:
        embedder: encodes.
        waveforms: each ``float32[samples]``, none longer than ``max_s``.
        rounds: every kind once a round, in an order that turns by one a round.
        batch_s: audio a batch, padding included; for all but one at a time.
        max_s: what ``pad`` pads to.
    """
    kinds = {kind: Batching(kind, batch_s, max_s) for kind in KINDS}
    kinds = {ALONE: replace(kinds["order"], batch_s=0.0), **kinds}
    names = list(kinds)
    lengths_s = [len(waveform) / SAMPLE_RATE_HZ for waveform in waveforms]
    taken_s: dict[str, list[float]] = {name: [] for name in names}
    taken_cpu_s: dict[str, list[float]] = {name: [] for name in names}
    embeddings: dict[str, Matrix] = {}
    with progress_bar() as progress:
        task = progress.add_task("batching", total=rounds * len(names))
        encode(embedder.module, waveforms[:1])  # the first call allocates
        for turn in range(rounds):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                plan = kinds[name].plan(lengths_s)
                started_s, started_cpu_s = time.perf_counter(), time.process_time()
                embeddings[name] = _encode_all(embedder, kinds[name], plan, waveforms)
                taken_s[name].append(time.perf_counter() - started_s)
                taken_cpu_s[name].append(time.process_time() - started_cpu_s)
                progress.advance(task)
    speech_s = sum(lengths_s)
    norms = np.linalg.norm(embeddings[ALONE], axis=1)
    figures = {}
    for name, batching in kinds.items():
        plan = batching.plan(lengths_s)
        padded = sum(len(batch) * batching.padded([waveforms[row] for row in batch]) for batch in plan)
        figures[name] = BatchingFigures(
            batches=len(plan),
            padding_share=float(1 - sum(map(len, waveforms)) / padded),
            rounds_s=[round(one_s, 3) for one_s in taken_s[name]],
            rounds_cpu_s=[round(one_s, 3) for one_s in taken_cpu_s[name]],
            audio_per_second=float(speech_s / np.median(taken_s[name])),
            audio_per_cpu_second=float(speech_s / np.median(taken_cpu_s[name])),
            times_pad=float(np.median(np.divide(taken_cpu_s["pad"], taken_cpu_s[name]))),
            largest_difference=float((np.linalg.norm(embeddings[name] - embeddings[ALONE], axis=1) / norms).max()),
        )
    return figures


def batchings_table(figures: Mapping[str, BatchingFigures]) -> Table:
    """Return the figures as a table."""
    columns = ("batching", "batches", "padding", "audio s/s", "audio s/CPU s", "times pad", "largest difference")
    rows = [
        (
            name, row.batches, f"{row.padding_share:.1%}", f"{row.audio_per_second:.1f}",
            f"{row.audio_per_cpu_second:.1f}", f"{row.times_pad:.2f}", f"{row.largest_difference:.1e}",
        )
        for name, row in figures.items()
    ]  # fmt: skip
    return Table(columns, rows)


def _encode_all(
    embedder: Embedder, batching: Batching, plan: Sequence[list[int]], waveforms: Sequence[Waveform]
) -> Matrix:
    vectors = np.empty((len(waveforms), embedder.dim), np.float32)
    for batch in plan:
        together = [waveforms[row] for row in batch]
        vectors[batch] = encode(embedder.module, together, batching.padded(together))
    return vectors


def _draw(corpus: str, folder: Path, clips: int, seed: int, max_s: float) -> list[Waveform]:
    """Read clips drawn at random, cut as ``embed`` cuts them."""
    utterances = list_utterances(corpus, folder)
    drawn = np.random.default_rng(seed).permutation(len(utterances))[:clips]
    waveforms = []
    for row in drawn.tolist():
        try:
            waveforms.append(central_part(read_audio(utterances[row].path), round(max_s * SAMPLE_RATE_HZ)))
        except AudioFileError as error:
            logger.warning("left out: %s", error)
    if not waveforms:
        raise UsageError(f"{folder}: none of {len(drawn)} files can be read")
    return waveforms
