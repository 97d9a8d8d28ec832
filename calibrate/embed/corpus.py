"""A corpus through an encoder: every utterance one vector, in bounded memory, by one process or many.

The utterances, in the order of their reader, are cut into shards; batches are planned within a shard, so that neither
the processes nor an interruption change what is computed together.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState

from calibrate import processes
from calibrate.embed.embedders import Embedder, open_embedder
from calibrate.embed.inputs import COLUMNS, cells, fingerprint, list_utterances
from calibrate.embed.shards import EMBEDDINGS, UNREADABLE, Shard, Store
from calibrate.encoders.batches import KINDS, Batching, central_part, duration_s, encode, encode_batches
from calibrate.progress import progress_bar
from calibrate.workspace import Workspace
from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.errors import AudioFileError, one_of
from edge.high_pass import high_passed
from edge.settings import VadSettings
from edge.spoken import spoken

logger = logging.getLogger(__name__)

DTYPES = ("float32", "float16")
BATCH_S = 64.0


def embed_corpus(
    workspace: Workspace,
    corpus: str,
    folder: Path,
    out: Path,
    encoder: str | None,
    *,
    run: Path | None,
    layers: Sequence[int] | None,
    pool: str | None,
    batching: str,
    batch_s: float | None,
    max_s: float | None,
    spoken_only: bool,
    dtype: str,
    shard: int,
    strict: bool,
) -> dict[str, Any] | None:
    """Embed a corpus; see the command's help. Returns the manifest in the main process, None in the others."""
    one_of("batching", batching, KINDS)
    one_of("dtype", dtype, DTYPES)
    device = processes.join(workspace)
    utterances = list_utterances(corpus, folder, strict)
    embedder = open_embedder(encoder, layers, pool, max_s, run)
    embedder.module.to(device)
    plan = choose_batching(embedder, batching, batch_s, max_s)
    job = {
        "corpus": corpus,
        "utterances": len(utterances),
        "utterances_sha256": fingerprint(utterances, folder),
        "embedder": embedder.described,
        "dtype": dtype,
        "batching": plan.kind,
        "batch_s": plan.batch_s,
        "max_s": plan.max_s,
        "spoken": spoken_only,
        "high_pass_hz": VadSettings().high_pass_hz,
        "shard": shard,
    }
    shards = [range(start, min(start + shard, len(utterances))) for start in range(0, len(utterances), shard)]
    store = Store(out, job, len(shards))
    with processes.main_first():
        manifest = store.open()
    if manifest is None:
        worker = Worker(embedder, plan, [utterance.path for utterance in utterances], spoken_only, np.dtype(dtype))
        fill(store, shards, worker)
        processes.meet()
        if processes.is_main():
            manifest = store.finish(COLUMNS, [cells(utterance, folder) for utterance in utterances])
    main = processes.is_main()
    processes.leave()
    return manifest if main else None


class Worker:
    """Turns stretches of a list of recordings into shards."""

    def __init__(
        self, embedder: Embedder, batching: Batching, paths: Sequence[Path], spoken_only: bool, dtype: np.dtype[Any]
    ) -> None:
        self.embedder, self.batching, self.paths = embedder, batching, paths
        self.spoken_only, self.dtype = spoken_only, dtype

    def shard(self, rows: range, advance: Callable[[int], object]) -> Shard:
        """Embed the recordings of a stretch, reporting to ``advance`` how many are done; unreadable ones are logged."""
        paths = [self.paths[row] for row in rows]
        vectors = np.empty((len(rows), self.embedder.dim), self.dtype)
        seconds = np.zeros(len(rows))
        reasons = [""] * len(rows)
        samples = np.zeros(3, np.int64)

        def load(place: int) -> Waveform | None:
            try:
                waveform = read_audio(paths[place])
            except AudioFileError as error:
                logger.warning("left out: %s", error)
                reasons[place] = str(error).removeprefix(f"{paths[place]}: ")
                return None
            seconds[place] = len(waveform) / SAMPLE_RATE_HZ
            waveform = spoken(waveform) if self.spoken_only else high_passed(waveform)
            if len(waveform) <= self.batching.max_samples:
                return waveform
            samples[2] += 1
            cut: Waveform = central_part(waveform, self.batching.max_samples).copy()  # a view would hold all of it
            return cut

        def run(waveforms: Sequence[Waveform]) -> Matrix:
            padded = self.batching.padded(waveforms)
            samples[:2] += sum(map(len, waveforms)), padded * len(waveforms)
            embedded: Matrix = encode(self.embedder.module, waveforms, padded)
            return embedded

        for batch, loaded, embedded in encode_batches(self.batching.plan([*map(duration_s, paths)]), load, run):
            if loaded:
                vectors[loaded] = embedded
            advance(len(batch))
        readable = np.array([not reason for reason in reasons])
        return Shard(vectors[readable], seconds, np.array(reasons, np.str_), samples)


def fill(store: Store, shards: Sequence[range], worker: Worker) -> None:
    """Make this process's share of the shards, unless they are there."""
    state = PartialState()
    mine = range(state.process_index, len(shards), state.num_processes)
    missing = [index for index in mine if not store.has(index)]
    total = sum(len(shards[index]) for index in mine)
    started_s, samples = time.perf_counter(), np.zeros(3, np.int64)
    progress = progress_bar()
    progress.disable |= not processes.is_main()
    with progress:
        done = total - sum(len(shards[index]) for index in missing)
        task = progress.add_task("embedding", total=total, completed=done)
        for index in missing:
            made = worker.shard(shards[index], lambda count: progress.advance(task, count))
            store.write(index, made)
            samples += made.samples
    elapsed_s, audio_s = time.perf_counter() - started_s, samples[0] / SAMPLE_RATE_HZ
    logger.info("%.0f s of audio in %.0f s: %.0f times real time", audio_s, elapsed_s, audio_s / max(elapsed_s, 1e-9))


def choose_batching(embedder: Embedder, kind: str, batch_s: float | None, max_s: float | None) -> Batching:
    """Fill in what was not asked for: an encoder that is sensitive to padding encodes one utterance at a time."""
    if batch_s is None:
        batch_s = 0.0 if embedder.feels_padding else BATCH_S
    if embedder.feels_padding and (batch_s or kind == "pad") and processes.is_main():
        logger.warning(
            "%s feels its padding (group norm), so an utterance's embedding depends on those beside it; not so with "
            "--batching length --batch-s 0", embedder.described["label"],
        )  # fmt: skip
    return Batching(kind, batch_s, min(max_s or math.inf, embedder.longest_s))


def show_manifest(manifest: dict[str, Any], out: Path) -> None:
    """Print what became of a corpus."""
    rows, dim = manifest["embeddings"]["shape"]
    lost = f"{manifest['unreadable']} files cannot be read, see {UNREADABLE}" if manifest["unreadable"] else "all read"
    print(f"{rows} utterances in {manifest['embeddings']['dtype']}[{rows}, {dim}]; {lost}")
    print(f"padding {manifest['padding_share']:.1%} of what was encoded, {manifest['cut']} recordings cut")
    print(f'embeddings = np.load("{out / EMBEDDINGS}", mmap_mode="r")  # a row a line of utterances.csv')
