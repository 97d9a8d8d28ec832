"""A finished run: the folder that training writes and export reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from calibrate.dataset import Part
from calibrate.encoders.pretrained import PooledEncoder, load_encoder
from calibrate.metrics import Probabilities
from calibrate.recipe import Recipe
from calibrate.training.clip_mfcc import ClipVectors, speaker_mfcc
from calibrate.training.heads import Classifier
from calibrate.training.sources import FeatureSource, FrozenFeatures
from edge.arrays import Matrix
from edge.bundle import CorpusRecord
from edge.errors import ModelError
from edge.values import Readout, readout_of

MODEL_NAME = "model.safetensors"
RUN_NAME = "run.json"
FROZEN_NAME = "frozen"
"""Folder, within that of a fine-tuned run, of the run that it started from."""


@dataclass
class Run:
    """A trained model and what it takes to rebuild it."""

    recipe: Recipe
    encoder_name: str
    """Hub name or folder that the encoder was loaded from."""
    encoder: PooledEncoder
    classifier: Classifier
    temperature: float
    corpora: list[CorpusRecord]
    """What was trained on."""
    speakers: list[str] = field(default_factory=list)
    """Who was trained on, so that an evaluation can say so."""
    readout: Readout | None = None
    """Of the recipe's values; None: it has none."""

    def probabilities(self, part: Part, source: FeatureSource) -> tuple[Part, Probabilities]:
        """Return the readable utterances of a part, and calibrated ``float32[n, labels]`` of what is spoken."""
        part, features = source.clean(part, spoken_only=True)
        return part, (self.logits(features, part) / self.temperature).softmax(1).numpy()

    def embed(self, features: torch.Tensor) -> Matrix:
        """Return embeddings ``float32[n, dim]`` of ``float32[n, layers, width]``, all strangers."""
        self.classifier.eval()
        with torch.inference_mode():
            embeddings = self.classifier.embed(features.to(next(self.classifier.parameters()).device))
        return np.asarray(embeddings.cpu().numpy())

    @property
    def encoder_label(self) -> str:
        """The encoder's own label, or its name without the folder or account it came from."""
        return self.encoder.encoder.label or self.encoder_name.rstrip("/").rpartition("/")[2]

    def to(self, device: torch.device) -> None:
        """Move encoder and head to a device."""
        self.encoder.to(device)
        self.classifier.to(device)

    def logits(self, features: torch.Tensor, part: Part | None = None) -> torch.Tensor:
        """Return ``float32[n, labels]`` on the CPU, uncalibrated.

        Args:
            features: ``float32[n, layers, width]``.
            part: the same utterances, for a head that knows its training speakers; None: all are strangers.
        """
        self.classifier.eval()
        device = next(self.classifier.parameters()).device
        speakers = self.classifier.rows_of(part.speakers).to(device) if part else None
        with torch.inference_mode():
            logits: torch.Tensor = self.classifier(features.to(device), speakers)
        return logits.cpu()

    def measure_speakers(self, train: Part, clips: ClipVectors) -> None:
        """Set the speakers' vectors of a head with ``speaker = "mfcc"``: the means over their training utterances."""
        if self.classifier.speaker is not None:
            means = speaker_mfcc(train, clips)
            vectors = np.stack([means[name] for name in self.classifier.speaker.names])
            self.classifier.speaker.measured(torch.from_numpy(vectors))

    def source(self, cache: Path) -> FeatureSource:
        """Return where features for this run's encoder, as it is now, come from."""
        return FrozenFeatures(self.encoder, self.encoder_name, cache, self.recipe)

    def save(self, folder: Path) -> None:
        """Write ``run.json`` and ``model.safetensors`` (the head, and the encoder where it was fine-tuned)."""
        state = {f"classifier.{name}": tensor for name, tensor in self.classifier.state_dict().items()}
        if self.recipe.encoder.finetune:
            state |= {f"encoder.{name}": tensor for name, tensor in self.encoder.state_dict().items()}
        if self.readout:
            state |= {name: torch.from_numpy(tensor) for name, tensor in self.readout.tensors.items()}
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / MODEL_NAME)
        described = {
            "recipe": self.recipe.model_dump(mode="json"),
            "encoder_name": self.encoder_name,
            "temperature": self.temperature,
            "corpora": [corpus.model_dump() for corpus in self.corpora],
            "speakers": self.speakers,
        }
        (folder / RUN_NAME).write_text(json.dumps(described, indent=2) + "\n")


def load_run(folder: Path, encoder_name: str | None = None) -> Run:
    """Rebuild a run from its folder; ``encoder_name`` replaces where the encoder is loaded from.

    Raises:
        ModelError: the folder holds no finished run, or its parts do not fit.
    """
    try:
        described = json.loads((folder / RUN_NAME).read_text())
        state = load_file(folder / MODEL_NAME)
        recipe = Recipe.model_validate(described["recipe"])
        corpora = [CorpusRecord.model_validate(corpus) for corpus in described["corpora"]]
        run = build_run(recipe, encoder_name or described["encoder_name"], described.get("speakers", []))
        run.temperature, run.corpora = described["temperature"], corpora
        tensors = {name: tensor.numpy() for name, tensor in state.items() if name.startswith("values_")}
        run.readout = readout_of(folder / MODEL_NAME, tensors, recipe.head.dim, recipe.value_records)
        for prefix, module in (("classifier.", run.classifier), ("encoder.", run.encoder)):
            own = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
            if own:
                module.load_state_dict(own)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{folder}: holds no finished training run that fits its encoder: {reason}") from None
    run.classifier.eval()
    return run


def build_run(recipe: Recipe, encoder_name: str, speakers: Sequence[str] = ()) -> Run:
    """Load the pretrained encoder of a recipe and put an untrained head on it, which may know its training speakers."""
    speech = load_encoder(encoder_name, recipe.encoder.layers, recipe.encoder.max_s)
    if recipe.encoder.merge:
        speech.merge_pairs()
    encoder = PooledEncoder(speech, recipe.encoder.pooled, recipe.encoder.voiced_db).eval()
    torch.manual_seed(recipe.seed)
    classifier = Classifier(recipe.head, len(recipe.encoder.pooled), 2 * speech.width, len(recipe.labels), speakers)
    return Run(recipe, encoder_name, encoder, classifier, temperature=1.0, corpora=[], speakers=list(speakers))
