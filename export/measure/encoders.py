"""Latency of encoders side by side, and how far each is from what this machine's matrix products could do."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edge.audio import Waveform
from edge.bundle import Bundle
from edge.errors import UsageError
from export.bundle.check import opened
from export.bundle.latency import SHAPES, ShapedEncoder
from export.graph.inventory import graph_flops
from export.measure import former, opensmile, peers
from export.measure.machine import GEMM_SIZE, Gemm, Machine
from export.measure.plan import Plan, conversation, label
from export.measure.promises import processor_note, targets
from export.measure.report import Section, Table
from export.rounds import RoundTimes, Task, alternate_settled, digits, limited

LENGTHS_S = (3.0, 10.0)
LONGEST_S = 12.0
"""Of bundles alone: the others are not run at it."""
FORMER = (("default", "3"), ("nano", "3"))
GEMM = "GEMM"
HEADER = ("encoder", "weights", "median ms", "n", "times the first", "after another", "GFLOP", "share of GEMM peak")
NOTES = """\
From the waveform to the embedding (bundles padded to their bucket; openSMILE: to functionals; Whisper, Smart Turn and
SenseVoice: from log-mel or filter-bank frames, whose computation is not counted, Whisper always of 30 s and Smart Turn
of 8 s), batch of one, on speech of the example conversation. The bundles run in onnxruntime, the shapes in torch in
float32; random weights are as fast as trained ones, and where each shape is from stands in `export/measure/peers.py`
and `export/bundle/latency.py`. In its turn each runs for 50 ms, and once more, which the table has; under "after
another" is the median of the first run, which finds the caches full of what ran before, such as 1.2 GB of HuBERT-large.
openSMILE has one thread at any setting. GFLOP counts convolutions and matrix products, a multiply-add as two. The peak
is numpy's fastest product of two 2048 by 2048 float32 matrices in the same rounds, on as many threads; int8 products
may exceed it. {former} {processor}"""


@dataclass(frozen=True)
class Contestant:
    """One row of the tables."""

    weights: str
    run: Callable[[Waveform], object]
    flops: Callable[[Waveform], int] | None = None


def measure(plan: Plan) -> Section:
    """Time every encoder at every length and thread count."""
    with tempfile.TemporaryDirectory(prefix="affectd-bench-") as folder:
        found, reasons = _former(Path(folder))
        return _measure(plan, found, reasons)


def _measure(plan: Plan, older: Sequence[former.FormerBundle], reasons: Sequence[str]) -> Section:
    gemm = Gemm(256 if plan.quick else GEMM_SIZE)
    others = _peers(plan)
    tables, figures = [], []
    flops: dict[tuple[str, float], int] = {}
    promised = []
    for threads in plan.threads:
        ours = _bundles(plan.bundles, older, threads)
        rows = _rows(ours, others, quick=plan.quick)
        tasks: dict[str, Task] = {GEMM: gemm}
        for (name, length_s), row in rows.items():
            waveform = conversation(length_s)
            tasks[f"{name} {length_s}"] = partial(row.run, waveform)
            if row.flops and (name, length_s) not in flops:
                flops[name, length_s] = row.flops(waveform)
        with limited(threads):
            first, timed = alternate_settled(tasks, plan.rounds)
        times, colder = ({key: each[f"{key[0]} {key[1]}"] for key in rows} for each in (timed, first))
        peak = gemm.flops / min(timed[GEMM].values_ms) / 1e6
        if threads == 1:
            promised = targets(plan.bundles, times)
        for length_s in dict.fromkeys(length_s for _, length_s in rows):
            title = f"{length_s:g} s, {threads} thread{'s' * (threads > 1)}; GEMM peak {peak:,.0f} GFLOP/s"
            tables.append(Table(title, HEADER, _cells(rows, times, colder, flops, peak, length_s)))
        figures += [
            {"encoder": name, "weights": row.weights, "length_s": length_s, "threads": threads}
            | {"flops": flops.get((name, length_s)), "gemm_peak_gflops": peak} | times[name, length_s].as_json()
            | {"after_another_ms": colder[name, length_s].values_ms}
            for (name, length_s), row in rows.items()
        ]  # fmt: skip
    machine = Machine.here()
    notes = NOTES.format(former=_about(older, reasons), processor=processor_note(machine.cpu, machine.instructions))
    return Section("Encoder latency", notes, tables, {"latency": figures}, promised)


def _former(folder: Path) -> tuple[list[former.FormerBundle], list[str]]:
    """Return the older bundles, and why some are not there."""
    found, reasons = [], []
    for name, version in FORMER:
        try:
            found.append(former.take(name, version, folder))
        except UsageError as error:
            reasons.append(str(error))
    return found, reasons


def _about(older: Sequence[former.FormerBundle], reasons: Sequence[str]) -> str:
    taken = ", ".join(f"{bundle.label} from commit {bundle.commit[:8]}" for bundle in older)
    sentences = [f"Older bundles: {taken}."] if taken else []
    return " ".join([*sentences, *(f"Left out is {reason}." for reason in reasons)])


def _bundles(bundles: Sequence[Bundle], older: Sequence[former.FormerBundle], threads: int) -> dict[str, Contestant]:
    encoders = {bundle.label: bundle.opened(threads) for bundle in older}
    return {label(bundle): _bundle(bundle, threads) for bundle in bundles} | {
        name: Contestant("trained", encoder, encoder.flops) for name, encoder in encoders.items()
    }


def _rows(
    ours: dict[str, Contestant], others: dict[str, Contestant], quick: bool
) -> dict[tuple[str, float], Contestant]:
    """Return what is timed at which length, in seconds."""
    if quick:
        return {(name, 1.0): row for name, row in (ours | others).items()}
    rows = {(name, length_s): row for length_s in LENGTHS_S for name, row in (ours | others).items()}
    return rows | {(name, LONGEST_S): row for name, row in ours.items()}


def _bundle(bundle: Bundle, threads: int) -> Contestant:
    buckets, encoder = bundle.buckets, opened(bundle, threads).encoder

    def flops(waveform: Waveform) -> int:
        return graph_flops(bundle.encoder_path, buckets.fit(len(waveform)))

    return Contestant("trained", lambda waveform: encoder.embed([waveform], buckets.fit(len(waveform))), flops)


def _peers(plan: Plan) -> dict[str, Contestant]:
    found: dict[str, Contestant] = {}
    if opensmile.installed():
        for name, feature_set in opensmile.FEATURE_SETS.items():
            found[name] = Contestant("none", opensmile.Functionals(feature_set))
    encoders: dict[str, ShapedEncoder | peers.Emotion2vecPeer | peers.SenseVoicePeer | peers.WhisperPeer] = {
        name: ShapedEncoder(config) for name, config in SHAPES.items()
    }
    if not plan.quick:
        encoders |= {name: peers.Emotion2vecPeer(config) for name, config in peers.EMOTION2VEC.items()}
        encoders["SenseVoice-small shape"] = peers.SenseVoicePeer()
        encoders["Smart Turn v3 shape, 8 s"] = peers.WhisperPeer(peers.SMART_TURN)
        encoders["Whisper-base, 30 s"] = peers.WhisperPeer(folder=plan.whisper)
    return found | {name: Contestant(encoder.weights, encoder, encoder.flops) for name, encoder in encoders.items()}


def _cells(
    rows: Mapping[tuple[str, float], Contestant],
    times: Mapping[tuple[str, float], RoundTimes],
    colder: Mapping[tuple[str, float], RoundTimes],
    flops: Mapping[tuple[str, float], int],
    peak: float,
    length_s: float,
) -> list[tuple[str, ...]]:
    timed = {name: timing for (name, at_s), timing in times.items() if at_s == length_s}
    first = next(iter(timed.values())).median_ms
    cells: list[tuple[str, ...]] = []
    for name, timing in timed.items():
        work = ("", "")
        if (name, length_s) in flops:
            count = flops[name, length_s]
            work = (digits(count / 1e9), f"{count / timing.median_ms / 1e6 / peak:.0%}")
        ratio = digits(timing.median_ms / first)
        weights = rows[name, length_s].weights
        after = digits(colder[name, length_s].median_ms)
        cells.append((name, weights, str(timing), str(len(timing.values_ms)), ratio, after, *work))
    return cells
