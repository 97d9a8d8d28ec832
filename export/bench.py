"""Encoder latency against the shapes of larger models, side by side in one run: ``python -m export.bench``.

Random weights stand for models whose weights are not needed to know their speed. One thread, batch of one, the same
clip; rounds alternate between the models, so that a busy machine slows them alike.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table
from transformers import HubertConfig, HubertModel

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.bundle import Bundle
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings

SHAPES: dict[str, dict[str, Any]] = {
    "HuBERT-large shape": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
    },
    "HuBERT-base shape": {"num_hidden_layers": 12},
    "DistilHuBERT shape": {"num_hidden_layers": 2},
}


def torch_shape(config: dict[str, Any]) -> Callable[[Waveform], object]:
    """Return what runs a HuBERT of this shape with random weights."""
    model = HubertModel(HubertConfig(**config))
    model.train(False)

    def run(waveform: Waveform) -> object:
        with torch.inference_mode():
            return model(torch.from_numpy(waveform)[None])

    return run


def measure(models: dict[str, Callable[[Waveform], object]], waveform: Waveform, rounds: int) -> dict[str, list[float]]:
    """Return milliseconds per model and round, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(rounds + 1):
        for name, run in models.items():
            started_s = time.perf_counter()
            run(waveform)
            if turn:
                times[name].append((time.perf_counter() - started_s) * 1e3)
    return times


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, help="bundle folder (default: the one inside the package)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the utterance (default: 3)")
    parser.add_argument("--rounds", type=int, default=11, help="timed runs per model (default: 11)")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.seconds <= 0:
        parser.error("--rounds and --seconds must be above 0")
    torch.set_num_threads(1)
    bundle = Bundle.load(arguments.bundle)
    recognizer = Recognizer(bundle, EncoderSettings(provider="cpu", threads=1))
    recognizer.load()
    ours = f"affectd {bundle.manifest.name}, {bundle.manifest.encoder.precision}"
    models: dict[str, Callable[[Waveform], object]] = {ours: lambda waveform: recognizer.recognize([waveform])} | {
        name: torch_shape(config) for name, config in SHAPES.items()
    }
    noise = np.random.default_rng(0).standard_normal(round(arguments.seconds * SAMPLE_RATE_HZ))
    times = measure(models, (noise * 0.05).astype(np.float32), arguments.rounds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    if arguments.json:
        print(json.dumps({"seconds": arguments.seconds, "threads": 1, "times_ms": times}))
        return
    versions = f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, Python {platform.python_version()}"
    table = Table(
        "model", "median ms", "min ms", "max ms", "n", "times slower", title=f"{arguments.seconds:g} s, 1 thread"
    )
    for name, values in times.items():
        low, high = min(values), max(values)
        ratio = medians[name] / medians[ours]
        table.add_row(name, f"{medians[name]:.1f}", f"{low:.1f}", f"{high:.1f}", str(len(values)), f"{ratio:.1f}")
    Console().print(table)
    print(f"{platform.processor() or platform.machine()}; {versions}; shapes have random weights, float32")


if __name__ == "__main__":
    main()
