"""Pretrained speech encoders behind one interface: waveform and lengths in, hidden states of every layer out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, WhisperFeatureExtractor, WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder as HfWhisperEncoder
from transformers.utils.logging import disable_progress_bar

from edge.audio import SAMPLE_RATE_HZ
from edge.errors import ModelError

CONVOLUTIONAL_FAMILIES = ("hubert", "wav2vec2", "wavlm")
UNUSED_WEIGHTS = {"masked_spec_embed"}
SHORTEST_SAMPLES = 400
"""What one frame of the convolutional families hears."""


class SpeechEncoder(nn.Module, ABC):
    """Common shape of all encoders.

    ``forward(waveform float32[batch, samples], lengths int64[batch])`` returns the hidden states as a list of
    ``float32[batch, frames, width]`` (index 0 is the input of the first layer) and the valid frames ``int64[batch]``.
    Samples beyond a row's length never influence its valid frames.
    """

    width: int
    """Size of a hidden state."""

    @abstractmethod
    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """Encode a padded batch; see the class."""

    @abstractmethod
    def transformer_layers(self) -> nn.ModuleList:
        """Return the transformer layers, first to last."""

    @abstractmethod
    def truncate(self, layers: int, max_s: float) -> None:
        """Drop the layers after the first ``layers``, and what only inputs beyond ``max_s`` seconds need."""

    @property
    def layers(self) -> int:
        """Transformer layers kept."""
        return len(self.transformer_layers())


def load_encoder(name_or_folder: str, layers: int, max_s: float = 30.0) -> SpeechEncoder:
    """Load a pretrained encoder by hub name or local folder, cut to its first ``layers`` layers and to ``max_s``.

    Raises:
        ModelError: nothing loads from there, the model family is unknown, or it has fewer layers than wanted.
    """
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        config = AutoConfig.from_pretrained(name_or_folder)
        if config.model_type == "whisper":
            encoder: SpeechEncoder = WhisperEncoder(_load_whisper(name_or_folder, config))
        elif config.model_type in CONVOLUTIONAL_FAMILIES:
            encoder = ConvolutionalEncoder(_load(AutoModel, name_or_folder))
        else:
            allowed = ", ".join(("whisper", *CONVOLUTIONAL_FAMILIES))
            raise ModelError(f"{name_or_folder}: model family {config.model_type!r} is not one of {allowed}")
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        where = repr(name_or_folder) + ("" if Path(name_or_folder).is_dir() else " (no such folder)")
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"no encoder loads from {where}: {reason}") from None
    if not 1 <= layers <= encoder.layers:
        raise ModelError(f"{name_or_folder} has {encoder.layers} layers, so {layers} cannot be kept")
    encoder.truncate(layers, max_s)
    return encoder.eval()


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


class LogMel(nn.Module):
    """Whisper's log-mel spectrogram as convolutions, exact for any padding (Radford et al. 2022, section 2.2).

    ``float32[batch, samples]`` to ``float32[batch, mels, ceil(samples / 160)]``; frames past a row's end are zero.
    """

    def __init__(self, mels: int) -> None:
        super().__init__()
        extractor = WhisperFeatureExtractor(feature_size=mels)  # type: ignore[no-untyped-call]
        self.hop, self.window = extractor.hop_length, extractor.n_fft
        time = torch.arange(self.window, dtype=torch.float64)
        bins = torch.arange(self.window // 2 + 1, dtype=torch.float64)
        angle = 2 * math.pi * bins[:, None] * time[None, :] / self.window
        basis = torch.cat([torch.cos(angle), -torch.sin(angle)]) * torch.hann_window(self.window, dtype=torch.float64)
        self.basis: Tensor
        self.filters: Tensor
        self.register_buffer("basis", basis[:, None, :].float(), persistent=False)
        filters = torch.from_numpy(extractor.mel_filters).float().T[:, :, None]
        self.register_buffer("filters", filters.contiguous(), persistent=False)

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the spectrogram and the valid frames ``int64[batch]``."""
        valid = torch.arange(waveform.shape[1], device=waveform.device)[None, :] < lengths[:, None]
        padded = F.pad(waveform * valid, (self.window // 2, self.window // 2 - 1))
        spectrum = F.conv1d(padded[:, None, :], self.basis, stride=self.hop)
        real, imaginary = spectrum.chunk(2, dim=1)
        power = F.conv1d(real.square() + imaginary.square(), self.filters)
        log_mel = torch.log10(power.clamp(min=1e-10))
        frames = torch.div(lengths + self.hop - 1, self.hop, rounding_mode="floor")
        inside = frame_mask(frames, log_mel)[:, None, :]
        peak = log_mel.masked_fill(~inside, -10.0).amax(dim=(1, 2), keepdim=True)
        return ((torch.maximum(log_mel, peak - 8.0) + 4.0) / 4.0) * inside, frames


class WhisperEncoder(SpeechEncoder):
    """Whisper's encoder cut to the real length: no 30 s window, padding masked everywhere.

    The positions are the first ones of Whisper's table, so its length bounds the input (30 s).
    """

    def __init__(self, pretrained: Any) -> None:
        super().__init__()
        self.front = LogMel(pretrained.config.num_mel_bins)
        self.conv1, self.conv2 = pretrained.conv1, pretrained.conv2
        self.positions = nn.Parameter(pretrained.embed_positions.weight.detach().clone(), requires_grad=False)
        self.blocks = pretrained.layers
        self.width, self.heads = pretrained.config.d_model, pretrained.config.encoder_attention_heads

    def transformer_layers(self) -> nn.ModuleList:
        """See ``SpeechEncoder``."""
        return cast(nn.ModuleList, self.blocks)

    def truncate(self, layers: int, max_s: float) -> None:
        """See ``SpeechEncoder``; the position table is cut."""
        self.blocks = self.blocks[:layers]
        positions = self.positions[: math.ceil(max_s * SAMPLE_RATE_HZ / self.front.hop / 2)]
        self.positions = nn.Parameter(positions.clone(), requires_grad=False)

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """Encode a padded batch; see ``SpeechEncoder``."""
        log_mel, mel_frames = self.front(waveform, lengths)
        hidden = F.gelu(self.conv1(log_mel)) * frame_mask(mel_frames, log_mel)[:, None, :]
        hidden = F.gelu(self.conv2(hidden)).transpose(1, 2)
        frames = torch.div(mel_frames + 1, 2, rounding_mode="floor")
        inside = frame_mask(frames, hidden.transpose(1, 2))
        keep = inside[:, :, None].to(hidden.dtype)
        hidden = (hidden + self.positions[: hidden.shape[1]]) * keep
        blocked = torch.where(inside, 0.0, -1e4).to(hidden.dtype)[:, None, None, :]
        states = [hidden]
        for block in self.blocks:
            hidden = self._block(block, hidden, keep, blocked)
            states.append(hidden)
        return states, frames

    def _block(self, block: Any, hidden: Tensor, keep: Tensor, blocked: Tensor) -> Tensor:
        """Pre-norm transformer block; padded rows are zeroed before every matrix product.

        Zero never widens the range that dynamic int8 quantisation measures, so padding cannot change its grid.
        """
        attention = block.self_attn
        normed = block.self_attn_layer_norm(hidden) * keep
        query, key, value = (
            projection(normed).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        scores = (query * attention.scaling) @ key.transpose(2, 3) + blocked
        mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
        hidden = hidden + attention.out_proj(mixed * keep)
        inner = F.gelu(block.fc1(block.final_layer_norm(hidden) * keep))
        return cast(Tensor, (hidden + block.fc2(inner * keep)) * keep)


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
        if config.do_stable_layer_norm:
            # Some versions of transformers apply it to the last state, whichever that is after a cut.
            pretrained.encoder.layer_norm = nn.Identity()

    def transformer_layers(self) -> nn.ModuleList:
        """See ``SpeechEncoder``."""
        return cast(nn.ModuleList, self.pretrained.encoder.layers)

    def truncate(self, layers: int, max_s: float) -> None:
        """See ``SpeechEncoder``; positions are convolutional, so the length has no table to cut."""
        self.pretrained.encoder.layers = self.pretrained.encoder.layers[:layers]

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """Encode a padded batch; see ``SpeechEncoder``.

        Layer-norm encoders expect each waveform at zero mean and unit variance (Baevski et al. 2020). Group-norm ones
        take their statistics over the whole row, so their valid frames do feel the padding.
        """
        inside = torch.arange(waveform.shape[1], device=waveform.device)[None, :] < lengths[:, None]
        if self.normalise:
            mean = (waveform * inside).sum(1, keepdim=True) / lengths[:, None]
            centred = (waveform - mean) * inside
            waveform = centred / (centred.square().sum(1, keepdim=True) / lengths[:, None] + 1e-7).sqrt()
        waveform = F.pad(waveform * inside, (0, max(0, SHORTEST_SAMPLES - waveform.shape[1])))
        heard = lengths.clamp(min=SHORTEST_SAMPLES)
        mask = torch.arange(waveform.shape[1], device=waveform.device)[None, :] < heard[:, None]
        outputs = self.pretrained(
            waveform, attention_mask=mask.long() if self.normalise else None, output_hidden_states=True
        )
        frames = self.pretrained._get_feat_extract_output_lengths(heard).long()
        return list(outputs.hidden_states), frames


class PooledEncoder(nn.Module):
    """Masked mean and standard deviation of chosen layers, concatenated.

    ``float32[batch, samples]``, ``int64[batch]`` to ``float32[batch, len(pooled) * 2 * width]``.
    """

    def __init__(self, encoder: SpeechEncoder, pooled: Sequence[int]) -> None:
        super().__init__()
        if not pooled or not all(0 <= layer <= encoder.layers for layer in pooled):
            raise ModelError(f"layers to pool {list(pooled)} must be within 0 to {encoder.layers}")
        self.encoder, self.pooled = encoder, tuple(pooled)
        self.dim = len(self.pooled) * 2 * encoder.width

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Return one vector per row."""
        states, frames = self.encoder(waveform, lengths)
        return torch.cat([statistics_pool(states[layer], frames) for layer in self.pooled], dim=1)


def frame_mask(frames: Tensor, features: Tensor) -> Tensor:
    """Return ``bool[batch, time]``, true inside each row, for features ``[batch, channels, time]``."""
    return torch.arange(features.shape[2], device=features.device)[None, :] < frames[:, None]


def statistics_pool(states: Tensor, frames: Tensor) -> Tensor:
    """Pool ``float32[batch, time, width]`` over valid frames to mean and deviation ``float32[batch, 2 * width]``."""
    inside = frame_mask(frames, states.transpose(1, 2))[:, :, None].to(states.dtype)
    count = frames.clamp(min=1)[:, None].to(states.dtype)
    mean = (states * inside).sum(1) / count
    centred = (states - mean[:, None, :]) * inside
    deviation = (centred.square().sum(1) / count + 1e-8).sqrt()
    return torch.cat([mean, deviation], dim=1)
