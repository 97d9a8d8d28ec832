"""Latency of a bundle against the shape of a pretrained encoder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.utils.parametrize import remove_parametrizations
from torch.utils.flop_counter import FlopCounterMode
from transformers import HubertConfig, HubertModel, PreTrainedModel, Wav2Vec2Config, Wav2Vec2Model

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.bundle import Bundle
from export.bundle.check import Check, at_least, opened, timed_samples
from export.rounds import alternate, limited

LARGE: dict[str, Any] = {
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
}
SHAPES: dict[str, HubertConfig | Wav2Vec2Config] = {
    "DistilHuBERT shape": HubertConfig(num_hidden_layers=2),
    "HuBERT-base shape": HubertConfig(num_hidden_layers=12),
    "wav2vec2-large-12 shape": Wav2Vec2Config(num_hidden_layers=12, **LARGE),
    "HuBERT-large shape": HubertConfig(num_hidden_layers=24, **LARGE),
}
ROUNDS = 9


class ShapedEncoder:
    """An encoder of samples in the shape of a published one; random weights, float32, batch of one."""

    weights = "random"

    def __init__(self, config: HubertConfig | Wav2Vec2Config) -> None:
        self.model: PreTrainedModel = HubertModel(config) if isinstance(config, HubertConfig) else Wav2Vec2Model(config)
        self.model.train(False)
        # As a deployed model has it: the norm of these weights is not computed anew at every run.
        remove_parametrizations(self.model.encoder.pos_conv_embed.conv, "weight")

    def __call__(self, waveform: Waveform) -> object:
        """Encode ``float32[samples]``."""
        with torch.inference_mode():
            return self.model(torch.from_numpy(waveform)[None])

    def flops(self, waveform: Waveform) -> int:
        """Return the operations for a waveform."""
        return module_flops(self.model, torch.from_numpy(waveform)[None])


@dataclass(frozen=True)
class Race:
    """Against which shape of pretrained encoder a bundle is timed."""

    teacher: str
    """One of ``SHAPES``."""
    least_ratio: float
    """So many times must the bundle be faster."""


def module_flops(model: PreTrainedModel, inputs: torch.Tensor) -> int:
    """Return the operations of a torch model for these inputs."""
    # Fused attention has no count; written out it is the same products.
    fused = model.config._attn_implementation
    model.set_attn_implementation("eager")
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(inputs)
    model.set_attn_implementation(fused)
    return int(counter.get_total_flops())


def check_latency(bundle: Bundle, race: Race) -> list[Check]:
    """Time a bundle against the shape of a teacher: 3 s of audio, one thread, alternated, medians."""
    recognizer, teacher = opened(bundle, threads=1), ShapedEncoder(SHAPES[race.teacher])
    samples = timed_samples(recognizer.buckets)
    waveform = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    with limited(1):
        times = alternate(
            {"bundle": partial(recognizer.encoder.embed, [waveform], samples), "teacher": partial(teacher, waveform)},
            ROUNDS,
        )
    bundle_ms, teacher_ms = times["bundle"].median_ms, times["teacher"].median_ms
    return [
        Check(f"milliseconds for {samples / SAMPLE_RATE_HZ:g} s of audio", bundle_ms, "any", None),
        Check(f"milliseconds of the {race.teacher}", teacher_ms, "any", None),
        at_least(f"times faster than the {race.teacher}", teacher_ms / bundle_ms, race.least_ratio),
    ]
