"""Latency of encoders side by side, and how far each is from what this machine's matrix products could do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from edge.audio import Waveform
from edge.bundle import Bundle
from export.bundle.check import opened
from export.bundle.latency import SHAPES, ShapedEncoder, module_flops
from export.graph.inventory import graph_flops
from export.measure import opensmile
from export.measure.machine import GEMM_SIZE, Gemm
from export.measure.plan import Plan, conversation, label
from export.measure.report import Section, Table, Target
from export.rounds import RoundTimes, Task, alternate, digits, limited

LENGTHS_S = (3.0, 10.0)
GEMM = "GEMM"
WHISPER_BASE = WhisperConfig(d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048)
WHISPER_FRAMES = 3000
"""Log-mel frames of the 30 s that Whisper's encoder always takes."""
PROMISES = {
    "default": {
        (3.0, "HuBERT-large shape"): 120,
        (3.0, "DistilHuBERT shape"): 15,
        (10.0, "wav2vec2-large-12 shape"): 50,
    },
    "nano": {(3.0, "HuBERT-large shape"): 600, (3.0, "DistilHuBERT shape"): 80, (10.0, "wav2vec2-large-12 shape"): 250},
}
"""How many times faster than what the bundles of the package should be, on one thread."""
HEADER = ("encoder", "weights", "median ms", "n", "times the first", "GFLOP", "share of GEMM peak")
NOTES = """\
From the waveform to the embedding (the bundle: to probabilities; openSMILE: to functionals; Whisper: from the
log-mel frames of 30 s, whose computation is not counted), batch of one, on speech of the example conversation. The
bundle runs in onnxruntime, the shapes in torch in float32; random weights are as fast as trained ones. openSMILE has
one thread at any setting. GFLOP counts convolutions and matrix products, a multiply-add as two. The peak is numpy's
fastest product of two 2048 by 2048 float32 matrices in the same rounds, on as many threads; int8 products may exceed
it."""


@dataclass(frozen=True)
class Contestant:
    """One row of the tables."""

    weights: str
    run: Callable[[Waveform], object]
    flops: Callable[[Waveform], int] | None = None


class WhisperPeer:
    """Whisper-base's encoder on 30 s of log-mel frames, which are not part of the time; float32, batch of one."""

    def __init__(self, folder: Path | None = None) -> None:
        self.weights = "published" if folder else "random"
        self.model: PreTrainedModel = (
            WhisperEncoder.from_pretrained(folder, dtype=torch.float32) if folder else WhisperEncoder(WHISPER_BASE)
        )
        self.model.train(False)
        frames = np.random.default_rng(0).standard_normal((1, WHISPER_BASE.num_mel_bins, WHISPER_FRAMES))
        self.frames = torch.from_numpy(frames.astype(np.float32))

    def __call__(self, _waveform: Waveform) -> object:
        """Encode 30 s, however long the waveform is."""
        with torch.inference_mode():
            return self.model(self.frames)

    def flops(self, _waveform: Waveform) -> int:
        """Return the operations for 30 s."""
        return module_flops(self.model, self.frames)


def measure(plan: Plan) -> Section:
    """Time every encoder at every length and thread count."""
    gemm = Gemm(256 if plan.quick else GEMM_SIZE)
    peers = _peers(plan)
    lengths_s = (1.0,) if plan.quick else LENGTHS_S
    waveforms = {length_s: conversation(length_s) for length_s in lengths_s}
    counted = {label(bundle): _bundle(bundle, 1) for bundle in plan.bundles} | peers
    flops = {
        length_s: {name: row.flops(waveform) for name, row in counted.items() if row.flops}
        for length_s, waveform in waveforms.items()
    }
    tables, figures = [], []
    targets: list[Target] = []
    for threads in plan.threads:
        contestants = {label(bundle): _bundle(bundle, threads) for bundle in plan.bundles} | peers
        tasks: dict[str, Task] = {GEMM: gemm}
        for length_s, waveform in waveforms.items():
            tasks |= {f"{name} {length_s}": partial(row.run, waveform) for name, row in contestants.items()}
        with limited(threads):
            times = alternate(tasks, plan.rounds)
        peak = gemm.flops / min(times[GEMM].values_ms) / 1e6
        for length_s in lengths_s:
            found = {name: times[f"{name} {length_s}"] for name in contestants}
            rows = _rows(contestants, found, flops[length_s], peak)
            if threads == 1:
                targets += _targets(plan.bundles, length_s, found)
            title = f"{length_s:g} s, {threads} thread{'s' * (threads > 1)}; GEMM peak {peak:,.0f} GFLOP/s"
            tables.append(Table(title, HEADER, rows))
            figures += [
                {"encoder": name, "weights": row.weights, "length_s": length_s, "threads": threads}
                | {"flops": flops[length_s].get(name), "gemm_peak_gflops": peak} | found[name].as_json()
                for name, row in contestants.items()
            ]  # fmt: skip
    return Section("Encoder latency", NOTES, tables, {"latency": figures}, targets)


def _targets(bundles: Sequence[Bundle], length_s: float, times: dict[str, RoundTimes]) -> list[Target]:
    found = []
    for bundle in bundles:
        for (promised_s, peer), factor in PROMISES.get(bundle.manifest.name, {}).items():
            if promised_s == length_s and bundle.manifest.encoder.precision == "int8":
                ratio = times[peer].median_ms / times[label(bundle)].median_ms
                promise = f"{label(bundle)}: {factor} times faster than the {peer}, {length_s:g} s, one thread"
                found.append(Target(promise, f"{ratio:.0f} times", ratio >= factor))
    return found


def _bundle(bundle: Bundle, threads: int) -> Contestant:
    recognizer = opened(bundle, threads)

    def flops(waveform: Waveform) -> int:
        return graph_flops(bundle.encoder_path, recognizer.buckets.fit(len(waveform)))

    return Contestant("trained", lambda waveform: recognizer.probabilities([waveform]), flops)


def _peers(plan: Plan) -> dict[str, Contestant]:
    peers: dict[str, Contestant] = {}
    if opensmile.installed():
        for name, feature_set in opensmile.FEATURE_SETS.items():
            peers[name] = Contestant("none", opensmile.Functionals(feature_set))
    for name, config in SHAPES.items():
        peer = ShapedEncoder(config)
        peers[name] = Contestant(peer.weights, peer, peer.flops)
    if not plan.quick:
        whisper = WhisperPeer(plan.whisper)
        peers["Whisper-base, 30 s"] = Contestant(whisper.weights, whisper, whisper.flops)
    return peers


def _rows(
    contestants: dict[str, Contestant], times: dict[str, RoundTimes], flops: dict[str, int], peak: float
) -> list[tuple[str, ...]]:
    first = next(iter(times.values())).median_ms
    rows: list[tuple[str, ...]] = []
    for name, timing in times.items():
        work = ("", "")
        if name in flops:
            share = flops[name] / timing.median_ms / 1e6 / peak
            work = (digits(flops[name] / 1e9), f"{share:.0%}")
        ratio = digits(timing.median_ms / first)
        rows.append((name, contestants[name].weights, str(timing), str(len(timing.values_ms)), ratio, *work))
    return rows
