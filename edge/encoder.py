"""The encoder: an ONNX graph from padded waveforms to embeddings, warm at every bucket."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from edge.audio import Waveform
from edge.buckets import Buckets, pad
from edge.errors import ModelError
from edge.head import Matrix
from edge.providers import check_provider, provider_requests
from edge.settings import EncoderSettings
from edge.speaker import unit


class Encoder:
    """One onnxruntime session. The constructor is cheap; ``load`` does the work.

    The graph takes ``waveform float32[batch, samples]`` and ``lengths int64[batch]`` and gives
    ``embedding float32[batch, dim]``.
    """

    output = "embedding"
    """Name of the graph's output."""

    def __init__(self, path: Path, dim: int, buckets: Buckets, settings: EncoderSettings) -> None:
        self.path, self.dim, self.buckets, self.settings = path, dim, buckets, settings
        self.provider = ""
        self._session: onnxruntime.InferenceSession | None = None

    def load(self) -> None:
        """Open the session and run every bucket once.

        Raises:
            ModelError: the graph does not load, breaks the contract, or runs on another provider than required.
        """
        requests = provider_requests(self.settings.provider, onnxruntime.get_available_providers())
        try:
            session = onnxruntime.InferenceSession(self.path, self.options(), providers=requests)
        except Exception as error:  # onnxruntime raises its own unrelated classes
            raise ModelError(f"{self.path}: onnxruntime cannot load it: {error}") from None
        inputs = {node.name: node.type for node in session.get_inputs()}
        outputs = [node.name for node in session.get_outputs()]
        if inputs != {"waveform": "tensor(float)", "lengths": "tensor(int64)"} or outputs != [self.output]:
            raise ModelError(
                f"{self.path}: has inputs {inputs} and outputs {outputs}, not waveform, lengths -> {self.output}"
            )
        self.provider = session.get_providers()[0]
        check_provider(self.settings.provider, self.provider, self.settings.require_provider)
        self._session = session
        for samples in self.buckets:
            try:
                embedding = self.embed([np.zeros(samples, np.float32)], samples)
            except Exception as error:  # the same classes
                raise ModelError(f"{self.path}: fails at {samples} samples: {error}") from None
            if embedding.shape != (1, self.dim):
                raise ModelError(f"{self.path}: gives {self.output}s {embedding.shape} instead of (1, {self.dim})")

    def options(self) -> onnxruntime.SessionOptions:
        """Return the options that ``load`` opens the session with."""
        return session_options(self.settings)

    def embed(self, waveforms: Sequence[Waveform], samples: int) -> Matrix:
        """Return ``float32[batch, dim]`` for waveforms of at most ``samples`` samples, padded to that bucket."""
        lengths = np.array([len(waveform) for waveform in waveforms], np.int64)
        return self.embed_padded(pad(waveforms, samples), lengths)

    def embed_padded(self, padded: Waveform, lengths: npt.NDArray[np.int64]) -> Matrix:
        """Return ``float32[batch, dim]`` for ``float32[batch, samples]`` of which ``int64[batch]`` are valid."""
        if self._session is None:
            raise ModelError(f"{self.path}: embed before load")
        (embedding,) = self._session.run([self.output], {"waveform": padded, "lengths": lengths})
        return np.asarray(embedding, np.float32)


class SpeakerEncoder(Encoder):
    """The same for ``voiceprint float32[batch, dim]`` of unit length.

    Any graph that keeps this contract can take the place of the one in the bundle.
    """

    output = "voiceprint"

    def voiceprint(self, waveform: Waveform) -> Matrix:
        """Return ``float32[dim]`` of unit length for speech of any length: beyond the longest bucket, parts' mean."""
        parts = np.array_split(waveform, max(1, -(-len(waveform) // self.buckets.longest)))
        prints = np.concatenate([self.embed([part], self.buckets.fit(len(part))) for part in parts])
        return unit(prints.mean(axis=0))


def session_options(settings: EncoderSettings) -> onnxruntime.SessionOptions:
    """Return options for a quiet neighbour: fixed threads that do not spin, and memory given back between runs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
