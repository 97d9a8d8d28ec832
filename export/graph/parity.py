"""Checks that a graph is the model it was made from. Each returns a figure; the exporter decides what fails."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch

from calibrate.dataset import Part
from edge.analyze import whole_file_waveform
from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.encoder import Encoder
from edge.errors import AudioFileError
from export.graph.encoder_graph import EmbeddingGraph


def some_speech(part: Part, count: int, longest: int | None = None) -> list[Waveform]:
    """Return what is spoken in ``count`` readable utterances, cut to ``longest`` samples, the same in every run.

    Every corpus, and every label within it, is as likely.
    """
    found: list[Waveform] = []
    total = len(part.paths)
    for row in np.random.default_rng(0).choice(total, total, replace=False, p=part.balanced_weights()) if total else ():
        if len(found) == count:
            break
        with suppress(AudioFileError):
            found.append(whole_file_waveform(part.paths[row])[:longest])
    return found


def torch_embeddings(graph: EmbeddingGraph, waveforms: Sequence[Waveform]) -> Matrix:
    """Return ``float32[n, dim]`` of the torch model, one utterance at a time and without padding."""
    with torch.inference_mode():
        rows = [graph(torch.from_numpy(w)[None], torch.tensor([len(w)])).numpy() for w in waveforms]
    return np.concatenate(rows)


def bucketed_embeddings(encoder: Encoder, waveforms: Sequence[Waveform]) -> Matrix:
    """Return ``float32[n, dim]`` of the ONNX graph, each utterance padded to its own bucket."""
    return np.concatenate([encoder.embed([w], encoder.buckets.fit(len(w))) for w in waveforms])


def cosines(found: Matrix, expected: Matrix) -> Matrix:
    """Return the cosine between each pair of rows of ``float32[n, dim]``, ``float32[n]``."""
    products = (found * expected).sum(axis=1)
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return np.asarray(products / norms, np.float32)


def least_cosine(found: Matrix, expected: Matrix) -> float:
    """Return the least cosine between rows of ``float32[n, dim]``."""
    return float(cosines(found, expected).min())


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


def padding_errors(encoder: Encoder, waveforms: Sequence[Waveform]) -> dict[float, float]:
    """Return, for every bucket, the worst ``padding_error`` of waveforms just shorter than each bucket.

    They are cut from, or repeated out of, the beginning of real speech.
    """
    speech = np.concatenate(waveforms[:4])
    errors = [padding_error(encoder, np.resize(speech, samples - 37)) for samples in encoder.buckets]
    # np.max, unlike max, does not lose a value that is not a number.
    return {bucket: float(np.max([found[bucket] for found in errors if bucket in found])) for bucket in errors[0]}


def batch_error(encoder: Encoder, waveforms: Sequence[Waveform]) -> float:
    """Return how far the mates in a batch move an embedding at most, relatively; padded alike alone and in company."""
    worst = []
    for first in range(0, len(waveforms), encoder.settings.max_batch):
        batch = waveforms[first : first + encoder.settings.max_batch]
        samples = encoder.buckets.fit(max(len(waveform) for waveform in batch))
        alone = np.concatenate([encoder.embed([waveform], samples) for waveform in batch])
        together = encoder.embed(batch, samples)
        worst.append(np.linalg.norm(together - alone, axis=1) / np.linalg.norm(alone, axis=1))
    return float(np.max(np.concatenate(worst)))
