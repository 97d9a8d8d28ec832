"""Masked prediction: which cluster do the hidden tokens belong to, given the others and who speaks?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.models.wav2vec2.components import MaskGenerator

from calibrate.encoders.base import SpeechEncoder
from calibrate.encoders.logmel import frame_mask
from calibrate.pretraining.speaker_place import transform_for
from calibrate.recipe import SpeakerPlace
from edge.errors import ModelError

TEMPERATURE = 0.1
"""Of the cosine logits (Hsu et al. 2021, equation 3)."""
FINAL_WIDTH = 256
"""Of projected states and cluster embeddings, as in HuBERT-base."""
MASK_LENGTH = 10
"""Tokens, 0.2 s."""
SPEAKER_DEVIATION = 0.02
"""Of the speakers' embeddings before they have learned."""


@dataclass(frozen=True)
class Predicted:
    """What came of a batch."""

    loss: Tensor
    """Mean cross-entropy of the masked tokens, a scalar."""
    penalty: Tensor
    """Feature penalty, see ``Tokens.penalty``."""
    correct: Tensor
    """Masked tokens whose cluster was the most probable, a count."""
    masked: int
    """Masked tokens."""


class MaskedPrediction(nn.Module):
    """HuBERT's objective (Hsu et al. 2021) on any encoder, with an embedding a speaker (PAPT, Tran et al. 2023).

    The same numbers as torchaudio's ``HuBERTPretrainModel`` for a HuBERT, whose masks these are; the logits are one
    matrix product here, where that compares every masked frame with every cluster one by one.

    Args:
        encoder: learns.
        classes: clusters.
        speakers: who speaks; each gets an embedding unless ``place`` is ``none`` (TAPT).
        place: where the embedding goes.
        mask_probability: of a token to begin a masked span, times the length of a span.
    """

    def __init__(
        self, encoder: SpeechEncoder, classes: int, speakers: int, place: SpeakerPlace, mask_probability: float
    ) -> None:
        super().__init__()
        if int(encoder.frames_out(torch.tensor(2))) != 2:
            raise ModelError(
                "this encoder merges tokens, and clusters of single ones are predicted; take what taught it"
            )
        self.encoder, self.place = encoder, place
        self.mask = MaskGenerator(
            encoder.width, mask_probability, "static", 0.0, MASK_LENGTH, False, 1, 0.0, "static", 0.0, 10, False, 1
        )
        self.project = nn.Linear(encoder.width, FINAL_WIDTH)
        self.clusters = nn.Parameter(torch.randn(classes, FINAL_WIDTH))
        told = 0 if place == "none" else speakers
        self.speakers = nn.Parameter(SPEAKER_DEVIATION * torch.randn(told, encoder.width))

    @property
    def beside_encoder(self) -> list[nn.Parameter]:
        """What starts from nothing: all but the encoder."""
        return [*self.mask.parameters(), *self.project.parameters(), self.clusters, self.speakers]

    def embeddings_of(self, rows: Tensor) -> Tensor | None:
        """Return the embeddings ``float32[batch, width]`` of speakers ``int64[batch]``; -1 is the mean of all."""
        if self.place == "none":
            return None
        return torch.cat([self.speakers, self.speakers.mean(0, keepdim=True)])[rows]

    def forward(self, waveform: Tensor, lengths: Tensor, targets: Tensor, speakers: Tensor | None) -> Predicted:
        """Mask tokens of a padded batch and predict their clusters.

        Args:
            waveform: ``float32[batch, samples]``.
            lengths: ``int64[batch]``.
            targets: clusters ``int64[batch, frames]``, anything beyond a row's frames.
            speakers: embeddings ``float32[batch, width]``; None: not told.
        """
        tokens = self.encoder.front_end(waveform, lengths)
        inside = frame_mask(tokens.frames, tokens.hidden)
        hidden, masked = self.mask(tokens.hidden.clone(), ~inside)
        masked = masked & inside
        state = transform_for(self.encoder, hidden, tokens.frames, speakers, self.place)[-1]
        logits, wanted = self.logits(state[masked]), targets[:, : masked.shape[1]][masked]
        loss = F.cross_entropy(logits, wanted)
        return Predicted(loss, tokens.penalty, (logits.argmax(1) == wanted).sum(), len(wanted))

    def logits(self, states: Tensor) -> Tensor:
        """Return ``float32[n, classes]`` for states ``float32[n, width]``: cosines to the clusters' embeddings."""
        projected = F.normalize(self.project(states).float(), dim=-1)
        return projected @ F.normalize(self.clusters, dim=-1).T / TEMPERATURE
