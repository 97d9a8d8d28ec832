"""The encoder: an ONNX graph from padded waveforms to embeddings, warm when it is loaded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from edge.arrays import Integers, Matrix, unit
from edge.audio import Waveform
from edge.buckets import Buckets, pad
from edge.bundle import Bundle
from edge.errors import ModelError
from edge.memory import trim
from edge.providers import PROVIDERS, ProviderRequest, check_provider, choose_provider, provider_requests
from edge.settings import EncoderSettings
from edge.tensorrt import Engines, fix_shapes

logger = logging.getLogger(__name__)


class Encoder:
    """One onnxruntime session, or with TensorRT one for each bucket. The constructor is cheap; ``load`` does the work.

    The graph takes ``waveform float32[batch, samples]`` and ``lengths int64[batch]`` and gives
    ``embedding float32[batch, dim]``.
    """

    output = "embedding"
    """Name of the graph's output."""

    def __init__(self, path: Path, dim: int, buckets: Buckets, settings: EncoderSettings) -> None:
        self.path, self.dim, self.buckets, self.settings = path, dim, buckets, settings
        self.provider = ""
        """Execution provider that is really in use."""
        self.why = ""
        """Why that one."""
        self._session: onnxruntime.InferenceSession | None = None
        self._engines: dict[int, onnxruntime.InferenceSession] = {}

    @classmethod
    def of(cls, bundle: Bundle, settings: EncoderSettings) -> Encoder:
        """Return the encoder of a bundle, not yet loaded."""
        return cls(bundle.encoder_path, bundle.manifest.encoder.embedding_dim, bundle.buckets, settings)

    @property
    def wanted(self) -> str:
        """The provider that the settings ask for."""
        return self.settings.provider

    def load(self, every_bucket: bool = False) -> None:
        """Open the session and run every bucket once, on a CPU the shortest and the longest unless every one is wanted.

        There the first run at a length takes as long as any later one, and sixteen are half a second of starting up.

        Raises:
            ModelError: the graph does not load, breaks the contract, or runs on another provider than required.
        """
        self.open()
        buckets = list(self.buckets)
        if self.provider == PROVIDERS["cpu"] and not every_bucket:
            buckets = list(dict.fromkeys((buckets[0], buckets[-1])))
        for samples in buckets:
            try:
                embedding = self.embed([np.zeros(samples, np.float32)], samples)
            except Exception as error:  # onnxruntime raises its own unrelated classes
                raise ModelError(f"{self.path}: fails at {samples} samples: {error}") from None
            if embedding.shape != (1, self.dim):
                raise ModelError(f"{self.path}: gives {self.output}s {embedding.shape} instead of (1, {self.dim})")

    def open(self) -> None:
        """Open the session without running anything; the errors are those of ``load``."""
        session = self._open_best()
        trim()  # a graph that is unpacked and optimised when it opens takes several times what it keeps
        inputs = {node.name: node.type for node in session.get_inputs()}
        outputs = [node.name for node in session.get_outputs()]
        if inputs != {"waveform": "tensor(float)", "lengths": "tensor(int64)"} or outputs != [self.output]:
            raise ModelError(
                f"{self.path}: has inputs {inputs} and outputs {outputs}, not waveform, lengths -> {self.output}"
            )
        self.provider = session.get_providers()[0]
        check_provider(self.wanted, self.provider, self.why, self.settings.require_provider)
        self._session = session

    def options(self) -> onnxruntime.SessionOptions:
        """Return the options that ``load`` opens the session with."""
        return session_options(self.settings)

    def embed(self, waveforms: Sequence[Waveform], samples: int) -> Matrix:
        """Return ``float32[batch, dim]`` for waveforms of at most ``samples`` samples, padded to that bucket."""
        lengths = np.array([len(waveform) for waveform in waveforms], np.int64)
        return self.embed_padded(pad(waveforms, samples), lengths)

    def embed_padded(self, padded: Waveform, lengths: Integers) -> Matrix:
        """Return ``float32[batch, dim]`` for ``float32[batch, samples]`` of which ``int64[batch]`` are valid."""
        if self._session is None:
            raise ModelError(f"{self.path}: embed before load")
        session = self._engines.get(padded.shape[1], self._session)
        (embedding,) = session.run([self.output], {"waveform": padded, "lengths": lengths})
        return np.asarray(embedding, np.float32)

    def open_engine(self, engines: Engines, samples: int) -> onnxruntime.InferenceSession:
        """Open the TensorRT session of a bucket, which compiles its engine when there is none."""
        for folder in (engines.bucket_folder(samples), engines.timings):
            folder.mkdir(parents=True, exist_ok=True)
        options = self.options()
        fix_shapes(options, samples, 1 if self.settings.max_batch == 1 else None)
        return self._open(options, engines.requests(samples, onnxruntime.get_available_providers()))

    def _open_best(self) -> onnxruntime.InferenceSession:
        """Open the graph on the provider of choice, or on the next one that works."""
        available = onnxruntime.get_available_providers()
        choice = choose_provider(self.wanted, available, self.path)
        self.why = choice.why
        if choice.provider == "tensorrt":
            try:
                return self._open_engines()
            except Exception as error:  # the same
                self.why = f"TensorRT fails: {_first_line(error)}"
        if choice.provider != "cpu":
            try:
                session = self._open(self.options(), provider_requests("cuda", available, self.settings))
            except Exception as error:  # the same
                self.why = f"CUDA fails: {_first_line(error)}"
            else:
                if choice.provider == "cuda" and session.get_providers()[0] != PROVIDERS["cuda"]:
                    self.why = "CUDA fails: onnxruntime cannot load its libraries, see the messages above"
                return session
        try:
            return self._open(self.options(), provider_requests("cpu", available, self.settings))
        except Exception as error:  # the same
            raise ModelError(f"{self.path}: onnxruntime cannot load it: {error}") from None

    def _open_engines(self) -> onnxruntime.InferenceSession:
        """Open a TensorRT session for each bucket, and return that of the longest."""
        engines = Engines.of(self.path, self.settings)
        missing = engines.missing(self.buckets)
        if missing:
            logger.warning(
                "%d of %d TensorRT engines are not built yet, which takes minutes now; ahead of time: %s",
                len(missing), len(self.buckets.samples), engines.build_command(self.path.parent),
            )  # fmt: skip
        opened = {}
        for samples in self.buckets:
            opened[samples] = session = self.open_engine(engines, samples)
            if session.get_providers()[0] != PROVIDERS["tensorrt"]:
                raise ModelError("onnxruntime cannot load its libraries, see the messages above")
        self._engines = opened
        return opened[self.buckets.longest]

    def _open(
        self, options: onnxruntime.SessionOptions, requests: list[ProviderRequest]
    ) -> onnxruntime.InferenceSession:
        # onnxruntime's own fallback prints to standard output, where the events go.
        return onnxruntime.InferenceSession(self.path, options, providers=requests, enable_fallback=0)


class SpeakerEncoder(Encoder):
    """The same for ``voiceprint float32[batch, dim]`` of unit length.

    Any graph that keeps this contract can take the place of the one in the bundle. It runs one utterance at a time and
    may loop over rows, so TensorRT never gets it, and a GPU only when one is asked for.
    """

    output = "voiceprint"

    @classmethod
    def of(cls, bundle: Bundle, settings: EncoderSettings) -> SpeakerEncoder:
        """Return the speaker encoder of a bundle, not yet loaded; raises ModelError if it has none."""
        speaker = bundle.manifest.speaker
        if speaker is None:
            raise ModelError(f"{bundle.folder}: has no speaker encoder, so it recognises nobody; bind a speaker")
        return cls(bundle.speaker_path, speaker.voiceprint_dim, bundle.buckets, settings)

    @property
    def wanted(self) -> str:
        """See ``Encoder``."""
        return {"auto": "cpu", "tensorrt": "cuda"}.get(self.settings.provider, self.settings.provider)

    def voiceprint(self, waveform: Waveform) -> Matrix:
        """Return ``float32[dim]`` of unit length for speech of any length: beyond the longest bucket, parts' mean."""
        parts = np.array_split(waveform, max(1, -(-len(waveform) // self.buckets.longest)))
        prints = np.concatenate([self.embed([part], self.buckets.fit(len(part))) for part in parts])
        return unit(prints.mean(axis=0))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def session_options(settings: EncoderSettings) -> onnxruntime.SessionOptions:
    """Return options for a quiet neighbour: fixed threads that do not spin, and memory given back between runs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
