"""Pretrained speech encoders behind one interface: waveform and lengths in, hidden states of every layer out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder as HfWhisperEncoder

from calibrate.encoders.base import SpeechEncoder, Tokens
from calibrate.encoders.hub import no_model, quiet_hub
from calibrate.encoders.logmel import frame_mask
from calibrate.encoders.pooling import audible_gain, statistics_pool, token_energy, voiced_tokens
from calibrate.encoders.students import MODEL_TYPE, is_student, load_student
from calibrate.encoders.whisper import WhisperEncoder
from calibrate.progress import stage
from edge.errors import ModelError

CONVOLUTIONAL_FAMILIES = ("hubert", "wav2vec2", "wavlm")
UNUSED_WEIGHTS = {"masked_spec_embed"}
SHORTEST_SAMPLES = 400
"""The input of one frame of the convolutional families."""
LABEL_KEY = "affectd_label"
"""Key of ``config.json`` that holds an encoder's label, where it is one that affectd trained."""


def load_encoder(name_or_folder: str, layers: int, max_s: float = 30.0) -> SpeechEncoder:
    """Load a pretrained encoder by hub name or local folder, cut to its first ``layers`` layers and to ``max_s``.

    Raises:
        ModelError: nothing loads from there, the model family is unknown, or it has fewer layers than wanted.
    """
    folder = Path(name_or_folder)
    with stage(f"loading {name_or_folder}" + ("" if folder.is_dir() else " from the hub, or what was kept of it")):
        encoder = load_student(folder) if is_student(folder) else _published(name_or_folder)
    if not 1 <= layers <= encoder.layers:
        raise ModelError(f"{name_or_folder} has {encoder.layers} layers, so {layers} cannot be kept")
    encoder.truncate(layers, max_s)
    return encoder.eval()


def _published(name_or_folder: str) -> SpeechEncoder:
    """Load a model of the transformers library."""
    quiet_hub()
    try:
        config = AutoConfig.from_pretrained(name_or_folder)
        if config.model_type == "whisper":
            return WhisperEncoder(_load_whisper(name_or_folder, config))
        if config.model_type in CONVOLUTIONAL_FAMILIES:
            return ConvolutionalEncoder(_load(AutoModel, name_or_folder))
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(no_model("encoder", name_or_folder, error)) from None
    allowed = ", ".join(("whisper", *CONVOLUTIONAL_FAMILIES, MODEL_TYPE))
    raise ModelError(f"{name_or_folder}: model family {config.model_type!r} is not one of {allowed}")


def _load_whisper(name_or_folder: str, config: Any) -> Any:
    """Load the encoder alone: from an encoder-only folder as it is, from a full checkpoint without its decoder."""
    architectures = getattr(config, "architectures", None) or []
    if "WhisperEncoder" in architectures:
        return _load(HfWhisperEncoder, name_or_folder)
    return _load(WhisperModel, name_or_folder).get_encoder()


def _load(kind: Any, name_or_folder: str) -> Any:
    """Load weights, all of them: transformers draws at random what it does not find."""
    pretrained, found = kind.from_pretrained(name_or_folder, dtype=torch.float32, output_loading_info=True)
    missing = sorted(set(found["missing_keys"]) - UNUSED_WEIGHTS)
    if missing:
        raise ModelError(
            f"{name_or_folder}: lacks {len(missing)} weights of a {type(pretrained).__name__}: {missing[0]}"
        )
    return pretrained


class ConvolutionalEncoder(SpeechEncoder):
    """HuBERT, wav2vec 2.0, XLSR and WavLM: raw convolutions, then a transformer, from the transformers library."""

    def __init__(self, pretrained: Any) -> None:
        super().__init__()
        self.pretrained = pretrained
        config = pretrained.config
        self.width = config.hidden_size
        self.normalise = config.feat_extract_norm == "layer"
        # For fine-tuning: all layers answer, and masking, which draws outside the run's seed, is the augmentation's.
        config.layerdrop, config.apply_spec_augment = 0.0, False
        self.label = getattr(config, LABEL_KEY, "")

    @property
    def samples_a_token(self) -> int:
        """See ``SpeechEncoder``: the product of the convolutions' strides."""
        return math.prod(self.pretrained.config.conv_stride)

    def frames_in(self, samples: int) -> int:
        """See ``SpeechEncoder``: the convolutions have no padding."""
        return int(self._frames(torch.tensor(max(samples, SHORTEST_SAMPLES))))

    def transformer_layers(self) -> nn.ModuleList:
        """See ``SpeechEncoder``."""
        return cast(nn.ModuleList, self.pretrained.encoder.layers)

    def truncate(self, layers: int, max_s: float) -> None:
        """See ``SpeechEncoder``; positions are convolutional, so the length has no table to cut."""
        self.pretrained.encoder.layers = self.pretrained.encoder.layers[:layers]

    def front_end(self, waveform: Tensor, lengths: Tensor) -> Tokens:
        """See ``SpeechEncoder``.

        Layer-norm encoders expect each waveform at zero mean and unit variance (Baevski et al. 2020). Group-norm ones
        take their statistics over the whole row, so their valid frames do feel the padding.
        """
        inside = torch.arange(waveform.shape[1], device=waveform.device)[None, :] < lengths[:, None]
        if self.normalise:
            mean = (waveform * inside).sum(1, keepdim=True) / lengths[:, None]
            centred = (waveform - mean) * inside
            waveform = centred / (centred.square().sum(1, keepdim=True) / lengths[:, None] + 1e-7).sqrt()
        waveform = F.pad(waveform * inside, (0, max(0, SHORTEST_SAMPLES - waveform.shape[1])))
        features = self.pretrained.feature_extractor(waveform).transpose(1, 2)
        projected = self.pretrained.feature_projection(features)
        hidden = projected[0] if isinstance(projected, tuple) else projected
        frames = self._frames(lengths.clamp(min=SHORTEST_SAMPLES))
        return Tokens(hidden, frames, features.square().mean())

    def transform(self, hidden: Tensor, frames: Tensor) -> list[Tensor]:
        """See ``SpeechEncoder``; the states are those that go into and come out of the layers."""
        states: list[Tensor] = []

        def keep_input(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            states.append(inputs[0])

        def keep_output(_layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]) -> None:
            states.append(output[0] if isinstance(output, tuple) else output)

        layers = self.transformer_layers()
        hooks = [layers[0].register_forward_pre_hook(keep_input)]
        hooks += [layer.register_forward_hook(keep_output) for layer in layers]
        try:
            self.pretrained.encoder(hidden, attention_mask=frame_mask(frames, hidden) if self.normalise else None)
        finally:
            for hook in hooks:
                hook.remove()
        return states

    def _frames(self, samples: Tensor) -> Tensor:
        frames: Tensor = self.pretrained._get_feat_extract_output_lengths(samples).long()
        return frames


class PooledEncoder(nn.Module):
    """Masked mean and standard deviation of chosen layers, concatenated.

    ``float32[batch, samples]``, ``int64[batch]`` to ``float32[batch, len(pooled) * 2 * width]``.

    Args:
        encoder: whose layers are pooled.
        pooled: layers, 0 being the input of the first.
        voiced_db: only tokens at most so far below the utterance's loudest are pooled, and the encoder gets nothing
            behind the last of them, so that silence there does not matter; and a voice too quiet for the encoder is
            amplified, see ``audible_gain``. 0: all tokens, as loud as they are.
    """

    def __init__(self, encoder: SpeechEncoder, pooled: Sequence[int], voiced_db: float = 0.0) -> None:
        super().__init__()
        if not pooled or not all(0 <= layer <= encoder.layers for layer in pooled):
            raise ModelError(f"layers to pool {list(pooled)} must be within 0 to {encoder.layers}")
        self.encoder, self.pooled, self.voiced_db = encoder, tuple(pooled), voiced_db
        self.dim = len(self.pooled) * 2 * encoder.width

    @property
    def samples_a_token(self) -> int:
        """Samples that one of the states pooled stands for."""
        return self.encoder.samples_a_token

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Return one vector per row."""
        return self.states(waveform, lengths)[2]

    def states(self, waveform: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return the pooled layers' states, their valid frames, and the vectors of ``forward``."""
        waveform, lengths, voiced = self.heard(waveform, lengths)
        every, frames = self.encoder(waveform, lengths)
        states = [every[layer] for layer in self.pooled]
        inside = frame_mask(frames, states[0])
        if voiced is not None:
            inside = inside & voiced[:, : inside.shape[1]]
        return states, frames, torch.cat([statistics_pool(state, inside) for state in states], dim=1)

    def heard(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the waveforms and lengths that the encoder gets, and which tokens are pooled; None: all of them."""
        if not self.voiced_db:
            return waveform, lengths, None
        hop = self.samples_a_token
        energy = token_energy(waveform, lengths, hop)
        voiced, lengths = voiced_tokens(energy, lengths, hop, self.voiced_db)
        return waveform * audible_gain(energy, voiced, hop), lengths, voiced
