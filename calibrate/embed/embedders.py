"""What makes one vector of an utterance: pooled layers of an encoder, or the embedding ``z`` of a trained run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from transformers import AutoConfig

from calibrate.cache import weights_sha256
from calibrate.encoders.base import SpeechEncoder
from calibrate.encoders.hub import no_model, quiet_hub
from calibrate.encoders.pretrained import ConvolutionalEncoder, PooledEncoder, load_encoder
from calibrate.encoders.students import is_student, load_student
from calibrate.encoders.whisper import WhisperEncoder
from calibrate.progress import stage
from calibrate.run import RUN_NAME, Run, load_run
from edge.audio import SAMPLE_RATE_HZ
from edge.errors import ModelError, UsageError, one_of

POOLS = ("mean", "mean-deviation")
LONGEST_S = 30.0


@dataclass(frozen=True)
class Embedder:
    """A module from ``waveform float32[batch, samples]`` and ``lengths int64[batch]`` to ``float32[batch, dim]``."""

    module: nn.Module
    dim: int
    longest_s: float
    """Longer input it cannot take."""
    feels_padding: bool
    """Vectors depend on how far a batch is padded, as those of group-norm encoders do."""
    described: dict[str, object]
    """What it is, for the manifest; the weights' hash among it."""


class PooledLayers(nn.Module):
    """Chosen layers' means, or means and deviations, side by side: ``float32[batch, layers * statistics * width]``."""

    def __init__(self, encoder: PooledEncoder, deviation: bool) -> None:
        super().__init__()
        self.encoder, self.deviation = encoder, deviation

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Return one vector a row."""
        pooled: Tensor = self.encoder(waveform, lengths)
        if self.deviation:
            return pooled
        return pooled.reshape(len(pooled), len(self.encoder.pooled), 2, -1)[:, :, 0].flatten(1)


class RunEmbedding(nn.Module):
    """The embedding ``z`` of a run, ``float32[batch, dim]``: what its bundle's encoder puts out."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.encoder, self.classifier = run.encoder, run.classifier

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Return one vector a row."""
        return self.classifier.embed(self.encoder(waveform, lengths).unflatten(1, (len(self.encoder.pooled), -1)))


def open_embedder(
    name: str | None,
    layers: Sequence[int] | None = None,
    pool: str | None = None,
    max_s: float | None = None,
    run: Path | None = None,
) -> Embedder:
    """Load an encoder, or a run.

    Args:
        name: hub name or folder of an encoder; with a run, where its encoder is loaded from.
        layers: to pool, 0 is the input of the first; the last one when None.
        pool: one of ``POOLS``.
        max_s: longest input that will come; 30 s, or what the encoder can take, when None.
        run: folder of a run.

    Raises:
        UsageError: layers or pooling are not possible, or ``max_s`` exceeds what the encoder can take.
        ModelError: nothing loads from there.
    """
    if run is not None:
        if layers is not None or pool is not None:
            raise UsageError(f"{run}: a run pools layers of its own, so --layers and --pool are for encoders")
        return _of_run(load_run(run, name), max_s)
    if name is None:
        raise UsageError("--encoder or --run must say what embeds")
    if (Path(name) / RUN_NAME).is_file():
        raise UsageError(f"{name} is a run, not an encoder: --run {name}")
    pool = one_of("pool", pool or POOLS[0], POOLS)
    depth = _depth(name)
    layers = (depth or 1,) if layers is None else tuple(layers)
    for layer in layers if depth else ():
        if not 0 <= layer <= depth:
            raise UsageError(f"{name} has {depth} layers, so {layer} is not from 0 (the first one's input) to {depth}")
    speech = load_encoder(name, max(1, *layers), max_s or LONGEST_S)
    module = PooledLayers(PooledEncoder(speech, layers), pool == POOLS[1])
    statistics = 1 + module.deviation
    described: dict[str, object] = {
        "label": speech.label or name.rstrip("/").rpartition("/")[2],
        "weights_sha256": weights_sha256(module),
        "layers": list(layers),
        "pool": pool,
        "width": speech.width,
    }
    return _checked(module, len(layers) * statistics * speech.width, _longest_s(speech), speech, described, max_s)


def _of_run(run: Run, max_s: float | None) -> Embedder:
    module = RunEmbedding(run)
    dim = run.classifier.output.in_features
    described: dict[str, object] = {
        "label": f"{run.recipe.name}: z on {run.encoder_label}",
        "weights_sha256": weights_sha256(module),
        "layers": list(run.encoder.pooled),
        "pool": "z",
        "width": dim,
    }
    return _checked(module, dim, run.recipe.encoder.max_s, run.encoder.encoder, described, max_s)


def _checked(
    module: nn.Module,
    dim: int,
    longest_s: float,
    speech: SpeechEncoder,
    described: dict[str, object],
    max_s: float | None,
) -> Embedder:
    if max_s is not None and max_s > longest_s:
        raise UsageError(f"--max-s {max_s:g}: {described['label']} takes {longest_s:g} s at most")
    feels_padding = isinstance(speech, ConvolutionalEncoder) and not speech.normalise
    return Embedder(module.eval(), dim, longest_s, feels_padding, described)


def _longest_s(speech: SpeechEncoder) -> float:
    """Return what an encoder can take: a table of positions has an end."""
    if isinstance(speech, WhisperEncoder):
        samples = float(len(speech.positions) * speech.samples_a_token)
        return min(LONGEST_S, samples / SAMPLE_RATE_HZ)
    return LONGEST_S


def _depth(name: str) -> int:
    """Return how many layers an encoder has; 0 where nothing loads, since loading then says why."""
    if is_student(Path(name)):
        return load_student(Path(name)).layers
    quiet_hub()
    try:
        with stage(f"loading {name}"):
            return int(AutoConfig.from_pretrained(name).num_hidden_layers)
    except OSError as error:
        raise ModelError(no_model("encoder", name, error)) from None
    except (ValueError, AttributeError):
        return 0
