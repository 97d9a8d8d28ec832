"""What every speech encoder is to the rest: waveform and lengths in, hidden states of every layer out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from edge.errors import ModelError


class Tokens(NamedTuple):
    """What an encoder's front end makes of a padded batch, before positions are added and layers attend."""

    hidden: Tensor
    """``float32[batch, frames, width]``."""
    frames: Tensor
    """Valid frames, ``int64[batch]``."""
    penalty: Tensor
    """Mean square of what raw convolutions put out, a scalar: HuBERT's feature penalty (Hsu et al. 2021). 0 behind a
    log-mel spectrum, which is normalised."""


class SpeechEncoder(nn.Module, ABC):
    """Common shape of all encoders: a front end, then a transformer.

    ``forward(waveform float32[batch, samples], lengths int64[batch])`` returns the hidden states as a list of
    ``float32[batch, frames, width]`` (index 0 is the input of the first layer) and the valid frames ``int64[batch]``.
    Samples beyond a row's length never influence its valid frames.
    """

    width: int
    """Size of a hidden state."""
    label: str = ""
    """What it is called, where its folder or hub name does not say."""

    @abstractmethod
    def front_end(self, waveform: Tensor, lengths: Tensor) -> Tokens:
        """Turn a padded batch of waveforms, ``float32[batch, samples]`` and ``int64[batch]``, into tokens."""

    @abstractmethod
    def transform(self, hidden: Tensor, frames: Tensor) -> list[Tensor]:
        """Return the hidden states of tokens ``float32[batch, frames, width]``, of which ``int64[batch]`` are valid.

        Of the states ``frames_out`` are.
        """

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """Encode a padded batch; see the class."""
        tokens = self.front_end(waveform, lengths)
        return self.transform(tokens.hidden, tokens.frames), self.frames_out(tokens.frames)

    def frames_out(self, frames: Tensor) -> Tensor:
        """Return how many hidden states are valid where so many of the front end's tokens are, both ``int64[batch]``.

        As many, unless the transformer merges tokens.
        """
        return frames

    @property
    @abstractmethod
    def samples_a_token(self) -> int:
        """Samples that a frame of the hidden states stands for."""

    def frames_in(self, samples: int) -> int:
        """Return how many frames of a waveform of this length are valid, without encoding it."""
        return -(-samples // self.samples_a_token)

    @abstractmethod
    def transformer_layers(self) -> nn.ModuleList:
        """Return the transformer layers, first to last."""

    def merge_pairs(self) -> None:
        """Let pairs of tokens become one in the first layer.

        Raises:
            ModelError: this encoder cannot.
        """
        raise ModelError("encoder.merge: only the tokens of Whisper, and of its students, can be merged")

    @abstractmethod
    def truncate(self, layers: int, max_s: float) -> None:
        """Drop the layers after the first ``layers``, and what only inputs beyond ``max_s`` seconds need."""

    @property
    def layers(self) -> int:
        """Transformer layers kept."""
        return len(self.transformer_layers())
