"""Text encoders of the transformers library as a source of features: words in place of audio, the same trainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from calibrate.dataset import Part, Rows
from calibrate.encoders.hub import no_model, quiet_hub
from calibrate.progress import stage
from calibrate.training.sources import BatchFeatures
from edge.errors import ModelError

BATCH = 64
LONGEST_TOKENS = 128


class TextEncoder(nn.Module):
    """Texts to the masked mean of the last hidden states, ``float32[batch, width]`` (Reimers and Gurevych 2019)."""

    def __init__(self, pretrained: Any, tokenizer: Any) -> None:
        super().__init__()
        self.pretrained, self.tokenizer = pretrained, tokenizer
        self.width: int = pretrained.config.hidden_size

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Return one vector a text."""
        tokens = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=LONGEST_TOKENS, return_tensors="pt"
        )
        states = self.pretrained(**tokens).last_hidden_state
        inside = tokens["attention_mask"][:, :, None].to(states.dtype)
        pooled: Tensor = (states * inside).sum(1) / inside.sum(1)
        return pooled


class TextFeatures:
    """Features of what each utterance says, see ``calibrate.training.sources.FeatureSource``.

    Args:
        encoder: frozen unless it learns.
        finetune: the encoder learns along with the head.
    """

    def __init__(self, encoder: TextEncoder, finetune: bool = False) -> None:
        self.encoder = encoder.requires_grad_(finetune).eval()
        self.learns: nn.Module | None = encoder if finetune else None
        self._known: dict[str, Tensor] = {}

    def copies(self, part: Part) -> list[Tensor]:
        """See ``FeatureSource``; a text is not augmented."""
        return []

    def clean(self, part: Part, spoken_only: bool = False) -> tuple[Part, Tensor]:
        """Return the part and its features ``float32[n, 1, width]``; a frozen encoder reads each text once."""
        texts = texts_of(part)
        known: Mapping[str, Tensor] = self._known
        if self.learns is None:
            self._known |= self._encode({text for text in texts if text not in known})
        else:
            known = self._encode(set(texts))
        return part, torch.stack([known[text] for text in texts])[:, None]

    def augmented(self, part: Part) -> BatchFeatures:
        """Return what encodes the texts of a batch, as they are, with gradients where the encoder learns."""
        if self.learns is None:
            features = self.clean(part)[1]
            return lambda rows, rng: features[rows]
        texts = texts_of(part)

        def batch(rows: Rows, rng: np.random.Generator) -> Tensor:
            self.encoder.train()
            vectors: Tensor = self.encoder([texts[row] for row in rows])
            return vectors[:, None]

        return batch

    def _encode(self, texts: set[str]) -> dict[str, Tensor]:
        self.encoder.eval()
        ordered = sorted(texts, key=len)
        batches = [ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)]
        with torch.no_grad():
            vectors = [vector for batch in batches for vector in self.encoder(batch)]
        return dict(zip(ordered, vectors, strict=True))


def texts_of(part: Part) -> list[str]:
    """Return what each utterance says, empty where it is not known."""
    return [utterance.text or "" for utterance in part.utterances]


def load_text_encoder(name_or_folder: str) -> TextEncoder:
    """Load a pretrained text encoder with its tokenizer, by hub name or local folder.

    Raises:
        ModelError: nothing loads from there, or it is no text encoder.
    """
    quiet_hub()
    try:
        with stage(f"loading {name_or_folder}"):
            tokenizer = AutoTokenizer.from_pretrained(name_or_folder)
            pretrained, found = AutoModel.from_pretrained(name_or_folder, dtype=torch.float32, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(no_model("text encoder", name_or_folder, error)) from None
    # A pooler answers for the whole text in place of the states, and is drawn at random where a release lacks it.
    missing = [name for name in sorted(found["missing_keys"]) if not name.startswith("pooler.")]
    if missing:
        raise ModelError(
            f"{name_or_folder}: lacks {len(missing)} weights of a {type(pretrained).__name__}: {missing[0]}"
        )
    if pretrained.config.is_encoder_decoder or not hasattr(pretrained, "get_input_embeddings"):
        raise ModelError(f"{name_or_folder}: {type(pretrained).__name__} is not a text encoder such as BERT")
    return TextEncoder(pretrained, tokenizer)
