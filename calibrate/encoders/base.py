"""What every speech encoder is to the rest: waveform and lengths in, hidden states of every layer out."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class SpeechEncoder(nn.Module, ABC):
    """Common shape of all encoders.

    ``forward(waveform float32[batch, samples], lengths int64[batch])`` returns the hidden states as a list of
    ``float32[batch, frames, width]`` (index 0 is the input of the first layer) and the valid frames ``int64[batch]``.
    Samples beyond a row's length never influence its valid frames.
    """

    width: int
    """Size of a hidden state."""
    label: str = ""
    """What it is called, where its folder or hub name does not say."""

    @abstractmethod
    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """Encode a padded batch; see the class."""

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

    @abstractmethod
    def truncate(self, layers: int, max_s: float) -> None:
        """Drop the layers after the first ``layers``, and what only inputs beyond ``max_s`` seconds need."""

    @property
    def layers(self) -> int:
        """Transformer layers kept."""
        return len(self.transformer_layers())
