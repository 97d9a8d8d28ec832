"""Small encoders that distillation trains: Whisper's first layers at fewer frames, and a compact one from scratch.

A student's folder holds ``config.json`` (``model_type`` ``affectd-student``) and ``model.safetensors``; it loads like
any pretrained encoder.
"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder as HfWhisperEncoder

from calibrate.encoders.base import SpeechEncoder, Tokens
from calibrate.encoders.logmel import LogMel, convolve, frame_mask, nearest_frames
from calibrate.encoders.shapes import SHAPE, CompactShape, WhisperStudentShape
from calibrate.encoders.whisper import WhisperEncoder
from edge.errors import ModelError

MODEL_TYPE = "affectd-student"
CONFIG_NAME, WEIGHTS_NAME = "config.json", "model.safetensors"


class CompactEncoder(SpeechEncoder):
    """Blocks of attention and convolution over tokens of a few log-mel frames.

    Positions need no table: the convolutions (three tokens wide) see the order, so any length goes in.
    """

    def __init__(self, shape: CompactShape) -> None:
        super().__init__()
        self.shape, self.width = shape, shape.width
        self.front = LogMel(shape.mels, shape.hop)
        self.tokens = nn.Linear(shape.mels * shape.stack, shape.width)
        self.blocks = nn.ModuleList(CompactBlock(shape) for _ in range(shape.layers))

    @property
    def samples_a_token(self) -> int:
        """See ``SpeechEncoder``."""
        return self.shape.hop * self.shape.stack

    def transformer_layers(self) -> nn.ModuleList:
        """See ``SpeechEncoder``."""
        return self.blocks

    def truncate(self, layers: int, max_s: float) -> None:
        """See ``SpeechEncoder``; there is no table of positions."""
        self.blocks = self.blocks[:layers]

    def front_end(self, waveform: Tensor, lengths: Tensor) -> Tokens:
        """See ``SpeechEncoder``."""
        log_mel, mel_frames = self.front(waveform, lengths)
        stack = self.shape.stack
        short = (log_mel.shape[1] + stack - 1) // stack * stack - log_mel.shape[1]
        stacked = F.pad(log_mel, (0, 0, 0, short)).reshape(log_mel.shape[0], -1, stack * log_mel.shape[2])
        frames = torch.div(mel_frames + stack - 1, stack, rounding_mode="floor")
        hidden = self.tokens(stacked)
        return Tokens(hidden, frames, torch.zeros((), device=hidden.device))

    def transform(self, hidden: Tensor, frames: Tensor) -> list[Tensor]:
        """See ``SpeechEncoder``."""
        inside = frame_mask(frames, hidden)
        keep = inside[:, :, None].to(hidden.dtype)
        blocked = torch.where(inside, 0.0, -1e4).to(hidden.dtype)[:, None, None, :]
        hidden = hidden * keep
        states = [hidden]
        for block in self.blocks:
            hidden = block(hidden, keep, blocked)
            states.append(hidden)
        return states


class CompactBlock(nn.Module):
    """Pre-norm attention, then a feed-forward layer whose first product sees three tokens."""

    def __init__(self, shape: CompactShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.attention_norm, self.norm = nn.LayerNorm(shape.width), nn.LayerNorm(shape.width)
        self.attend = nn.Linear(shape.width, 3 * shape.width)
        self.mix = nn.Linear(shape.width, shape.width)
        self.widen = nn.Conv1d(shape.width, shape.hidden, 3)
        self.narrow = nn.Linear(shape.hidden, shape.width)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, hidden: Tensor, keep: Tensor, blocked: Tensor) -> Tensor:
        """Return ``float32[batch, time, width]``; padded rows are zeroed before every product and at the end."""
        attended = self.attend(self.attention_norm(hidden) * keep).unflatten(2, (3, self.heads, -1))
        query, key, value = attended.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5) + blocked
        mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
        hidden = hidden + self.dropout(self.mix(mixed * keep))
        inner = F.gelu(convolve(self.norm(hidden) * keep, self.widen))
        return cast(Tensor, (hidden + self.dropout(self.narrow(inner * keep))) * keep)


def build_student(shape: WhisperStudentShape | CompactShape) -> SpeechEncoder:
    """Return an untrained student of a shape."""
    if isinstance(shape, CompactShape):
        return CompactEncoder(shape)
    config = WhisperConfig(
        d_model=shape.width,
        encoder_layers=shape.layers,
        encoder_attention_heads=shape.heads,
        encoder_ffn_dim=shape.hidden,
        num_mel_bins=shape.mels,
        max_source_positions=shape.positions,
    )
    student = WhisperEncoder(HfWhisperEncoder(config), merge=shape.merge)
    student.front = LogMel(shape.mels, shape.hop)
    stem = shape.stem or shape.width
    student.conv1 = nn.Conv1d(shape.mels, stem, 3, padding=1)
    student.conv2 = nn.Conv1d(stem, shape.width, 3, stride=shape.stride, padding=1)
    return student


def inherit(student: SpeechEncoder, source: SpeechEncoder) -> None:
    """Give a Whisper student the weights of a Whisper encoder; any other student stays as it is.

    Convolutions and layers are taken as they are, though frames or tokens are further apart, and a token's position is
    that of the source's token nearest in time. What that makes of the hidden states is left to training; it is least
    with Whisper's own frames, since attention over every other token is much the same. A student with fewer channels
    starts from an encoder that ``affectd-export thin`` made.

    Raises:
        ModelError: the student is wider, deeper, faster or has other heads than the source.
    """
    if not (isinstance(student, WhisperEncoder) and isinstance(source, WhisperEncoder)):
        return
    if (student.width, student.heads) != (source.width, source.heads) or student.layers > source.layers:
        raise ModelError(
            f"a student {student.width} wide with {student.heads} heads (layers: {student.layers}) inherits nothing "
            f"from an encoder {source.width} wide with {source.heads} heads (layers: {source.layers})"
        )
    apart = student.samples_a_position / source.samples_a_position
    if apart < 1:
        raise ModelError(
            f"a token every {student.samples_a_position} samples is more than one every {source.samples_a_position}"
        )
    copy = deepcopy(source)
    copy.blocks = copy.blocks[: student.layers]
    positions = copy.positions[nearest_frames(len(copy.positions), apart)[: len(student.positions)]]
    copy.positions = nn.Parameter(positions.detach().clone(), requires_grad=False)
    try:
        student.load_state_dict(copy.state_dict())
    except RuntimeError as error:
        raise ModelError(
            f"the student's shape does not fit what it starts from (affectd-export thin makes encoders with fewer "
            f"channels): {error}"
        ) from None


def save_student(student: SpeechEncoder, shape: WhisperStudentShape | CompactShape, folder: Path, label: str) -> None:
    """Write a student's folder; the label is what model cards call it."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in student.state_dict().items()}
    save_file(state, folder / WEIGHTS_NAME)
    described = {"model_type": MODEL_TYPE, "label": label, "shape": shape.model_dump()}
    (folder / CONFIG_NAME).write_text(json.dumps(described, indent=2) + "\n")


def load_student(folder: Path) -> SpeechEncoder:
    """Read a student's folder.

    Raises:
        ModelError: the folder is damaged.
    """
    try:
        described = json.loads((folder / CONFIG_NAME).read_text())
        student = build_student(SHAPE.validate_python(described["shape"]))
        student.label = str(described["label"])
        student.load_state_dict(load_file(folder / WEIGHTS_NAME))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{folder}: holds no whole student: {' '.join(str(error).split())}") from None
    return student


def is_student(folder: Path) -> bool:
    """Whether a folder says that it holds a student."""
    try:
        described = json.loads((folder / CONFIG_NAME).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(described, dict) and described.get("model_type") == MODEL_TYPE
