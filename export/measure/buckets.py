"""Length buckets against padding to the longest and against one utterance at a time, on real lengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.buckets import Batch
from edge.recognizer import Recognizer
from export.bundle.check import opened
from export.measure.batching import BUCKETED, STRATEGIES, TO_BATCH_LONGEST, TO_LONGEST, UNPADDED, embed, peak_mb, waste
from export.measure.plan import LENGTHS_S, Plan, conversation, label
from export.measure.report import Section, Table, Target
from export.rounds import RoundTimes, alternate, digits, limited

CLIPS = 128
FACTOR = 1.5
SAME = 1e-3
HEADER = ("batches", "median ms", "n", "audio s per s", "padding", "peak MB", "furthest from alone")
NOTES = """\
{clips} clips of {low:.1f} to {high:.1f} s, {total:.0f} s in all, {source}, in random order. Batches hold at most
{most} utterances (`encoder.max_batch`), one thread unless the title says otherwise. *Padding* is the share of what
the encoder computes. *Peak* is the resident memory of a fresh process that does only this on one thread. The last
column is the largest relative distance of an embedding from that of the same clip alone and unpadded."""


@dataclass(frozen=True)
class Row:
    """What one way to batch costs."""

    timing: RoundTimes
    padding: float
    peak_mb: float
    distance: float
    """Largest relative one of an embedding from the unpadded one."""


def measure(plan: Plan) -> Section:
    """Run every way to batch over the same clips, for every bundle and thread count."""
    waveforms, source = _waveforms(plan)
    tables: list[Table] = []
    figures: list[dict[str, Any]] = []
    targets: list[Target] = []
    for bundle in plan.bundles:
        for threads in plan.threads:
            recognizer = opened(bundle, threads)
            cut = [waveform[: recognizer.buckets.longest] for waveform in waveforms]
            rows = _rows(recognizer, cut, max(1, plan.rounds // 2))
            title = f"{label(bundle)}, {threads} thread{'s' * (threads > 1)}"
            tables.append(_table(title, rows, sum(map(len, cut))))
            figures += [
                {"bundle": label(bundle), "threads": threads, "batches": name}
                | asdict(row) | {"timing": row.timing.as_json()}
                for name, row in rows.items()
            ]  # fmt: skip
            if bundle is plan.bundles[0] and threads == 1:
                targets += [_faster(rows, rival) for rival in (TO_LONGEST, TO_BATCH_LONGEST)]
            if threads == 1:
                targets.append(_same(label(bundle), rows))
    lengths_s = [len(waveform) / SAMPLE_RATE_HZ for waveform in waveforms]
    notes = NOTES.format(
        clips=len(waveforms), low=min(lengths_s), high=max(lengths_s), total=sum(lengths_s), source=source,
        most=recognizer.settings.max_batch,
    )  # fmt: skip
    return Section("Length buckets", notes, tables, {"lengths_s": lengths_s, "strategies": figures}, targets)


def _waveforms(plan: Plan) -> tuple[list[Waveform], str]:
    if plan.data:
        paths = [path for part in plan.parts().values() for path in part.paths]
        return [read_audio(path) for path in plan.some(paths, CLIPS)], "drawn from all corpora of the recipe"
    lengths_s = LENGTHS_S[:3] if plan.quick else LENGTHS_S
    return [conversation(length_s) for length_s in lengths_s], "of the lengths in export/measure/plan.py"


def _rows(recognizer: Recognizer, waveforms: list[Waveform], rounds: int) -> dict[str, Row]:
    lengths = [len(waveform) for waveform in waveforms]
    plans: Mapping[str, list[Batch]] = {
        name: strategy(lengths, recognizer.buckets, recognizer.settings.max_batch)
        for name, strategy in STRATEGIES.items()
    }
    embeddings = {name: embed(recognizer.encoder, waveforms, batches) for name, batches in plans.items()}
    alone = embeddings[UNPADDED]
    tasks = {name: partial(embed, recognizer.encoder, waveforms, batches) for name, batches in plans.items()}
    with limited(recognizer.settings.threads):
        times = alternate(tasks, rounds, warm=0)
    return {
        name: Row(
            times[name],
            waste(lengths, batches),
            peak_mb(recognizer.bundle, name, lengths)["run"],
            float((np.linalg.norm(embeddings[name] - alone, axis=1) / np.linalg.norm(alone, axis=1)).max()),
        )
        for name, batches in plans.items()
    }


def _table(title: str, rows: Mapping[str, Row], samples: int) -> Table:
    cells = [
        (
            name,
            str(row.timing),
            str(len(row.timing.values_ms)),
            digits(samples / SAMPLE_RATE_HZ / row.timing.median_ms * 1e3),
            f"{row.padding:.1%}",
            f"{row.peak_mb:.0f}",
            f"{row.distance:.1e}",
        )
        for name, row in rows.items()
    ]
    return Table(title, HEADER, cells)


def _faster(rows: Mapping[str, Row], rival: str) -> Target:
    factor = rows[rival].timing.median_ms / rows[BUCKETED].timing.median_ms
    return Target(
        f"{BUCKETED}: at least {FACTOR:g} times the throughput of batches {rival}, one thread",
        f"{factor:.2f} times",
        factor >= FACTOR,
    )


def _same(bundle: str, rows: Mapping[str, Row]) -> Target:
    distance = rows[BUCKETED].distance
    return Target(
        f"{bundle}: embeddings in {BUCKETED} within {SAME:g} of those alone", f"{distance:.1e}", distance <= SAME
    )
