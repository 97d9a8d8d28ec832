"""Checks that a graph is the model it was made from. Each returns a figure; the exporter decides what fails."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.encoder import Encoder
from edge.head import Matrix
from export.graph import EmbeddingGraph


def torch_embeddings(graph: EmbeddingGraph, waveforms: Sequence[Waveform]) -> Matrix:
    """Return ``float32[n, dim]`` of the torch model, one utterance at a time and without padding."""
    with torch.inference_mode():
        rows = [graph(torch.from_numpy(w)[None], torch.tensor([len(w)])).numpy() for w in waveforms]
    return np.concatenate(rows)


def bucketed_embeddings(encoder: Encoder, waveforms: Sequence[Waveform]) -> Matrix:
    """Return ``float32[n, dim]`` of the ONNX graph, each utterance padded to its own bucket."""
    return np.concatenate([encoder.embed([w], encoder.buckets.fit(len(w))) for w in waveforms])


def least_cosine(found: Matrix, expected: Matrix) -> float:
    """Return the least cosine between rows of ``float32[n, dim]``."""
    products = (found * expected).sum(axis=1)
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return float((products / norms).min())


def padding_error(encoder: Encoder, waveform: Waveform) -> dict[float, float]:
    """Return, for every bucket that holds the waveform, how far the padding moves its embedding, relatively.

    The padding is noise, not silence: whatever lies behind ``lengths`` must not matter.
    """
    expected = encoder.embed([waveform], len(waveform))
    rng = np.random.default_rng(0)
    errors = {}
    for samples in encoder.buckets:
        if samples < len(waveform):
            continue
        padded = rng.uniform(-1, 1, samples).astype(np.float32)
        padded[: len(waveform)] = waveform
        found = encoder.embed_padded(padded[None], np.array([len(waveform)], np.int64))
        errors[samples / SAMPLE_RATE_HZ] = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    return errors
