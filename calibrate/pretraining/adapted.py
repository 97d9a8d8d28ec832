"""An encoder that has been pre-trained on people's speech, and the embeddings of these people, as a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from calibrate.encoders.base import SpeechEncoder
from calibrate.encoders.pretrained import load_encoder
from calibrate.encoders.saved import save_encoder
from calibrate.pretraining.prediction import MaskedPrediction
from calibrate.recipe import SpeakerPlace
from edge.arrays import Matrix
from edge.errors import ModelError

ADAPTED_NAME, ENCODER_NAME, SPEAKERS_NAME = "papt.json", "encoder", "speakers.safetensors"


@dataclass(frozen=True)
class Adapted:
    """What pre-training leaves."""

    encoder: SpeechEncoder
    place: SpeakerPlace
    """Where a speaker's embedding goes."""
    names: list[str]
    """Of the speakers."""
    embeddings: Matrix
    """``float32[speakers, width]``: what the encoder is told of each; no rows with ``place`` none."""
    voices: Matrix
    """``float32[speakers, width]``: mean of each one's last states when the encoder is not told who speaks; by these
    new speakers find those who are like them."""

    @classmethod
    def of(cls, model: MaskedPrediction, names: list[str], voices: Matrix) -> Adapted:
        """Return what a model has learned."""
        return cls(model.encoder, model.place, names, model.speakers.detach().cpu().numpy(), voices)

    def save(self, folder: Path, label: str) -> None:
        """Write the folder; ``encoder`` in it loads like any pretrained encoder."""
        save_encoder(self.encoder, folder / ENCODER_NAME, label)
        save_file({"embeddings": self.embeddings, "voices": self.voices}, folder / SPEAKERS_NAME)
        described = {"place": self.place, "names": self.names}
        (folder / ADAPTED_NAME).write_text(json.dumps(described, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path, layers: int) -> Adapted:
        """Read a folder that ``save`` wrote.

        Raises:
            ModelError: it is none.
        """
        try:
            described = json.loads((folder / ADAPTED_NAME).read_text())
            tensors = load_file(folder / SPEAKERS_NAME)
            place, names = described["place"], described["names"]
            embeddings, voices = (tensors[name].astype(np.float32) for name in ("embeddings", "voices"))
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise ModelError(f"{folder}: holds no pre-trained encoder: {' '.join(str(error).split())}") from None
        return cls(load_encoder(str(folder / ENCODER_NAME), layers), place, names, embeddings, voices)
