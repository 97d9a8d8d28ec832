"""The section ``[pretraining]`` of a recipe: how an encoder goes on learning from speech without labels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from calibrate.recipe.sections import Count, Positive, Probability, Share, Weight, accepted
from edge.records import Record

SpeakerPlace = Literal["last", "first", "prefix", "none"]


class HubertShape(Record):
    """A HuBERT that starts from nothing: raw convolutions, a token every 20 ms, then a transformer."""

    layers: Count = 4
    """Transformer layers."""
    width: Annotated[int, Field(ge=16, multiple_of=16)] = 192
    """Numbers a token."""
    heads: Count = 4
    """Of attention, in each layer."""
    hidden: Count = 768
    """Width inside the feed-forward layers."""
    channels: Annotated[int, Field(ge=8)] = 48
    """Of the convolutions, 512 in HuBERT-base."""

    @model_validator(mode="after")
    def _divides(self) -> HubertShape:
        wrong = f"width = {self.width} is no multiple of heads = {self.heads}"
        return accepted(self, [wrong] if self.width % self.heads else [])


class RoundRecipe(Record):
    """One round: the clusters that are predicted, and for how long."""

    targets: Literal["mfcc", "middle"] | Annotated[int, Field(ge=0)] = "middle"
    """What is clustered: cepstral coefficients with deltas, or the states of a layer of the encoder as it is when the
    round begins; ``middle`` is the one halfway up."""
    clusters: Annotated[int, Field(ge=2)] = 500
    """At most: fewer where the data has too few frames for so many."""
    epochs: Annotated[int, Field(ge=0)] = 10
    """Passes over the audio."""


class PretrainingRecipe(Record):
    """Masked prediction with an embedding a speaker (PAPT, Tran et al. 2023), by HuBERT's objective.

    Schedule and rates of the encoder are the paper's: 10 epochs, Adam, a peak of 1e-5 after 5 %, then linear.
    """

    speakers: SpeakerPlace = "last"
    """Where a speaker's embedding goes: added to the transformer's output, to its input, a token before the first; or
    nowhere, which is task-adaptive pre-training (TAPT)."""
    rounds: Annotated[tuple[RoundRecipe, ...], Field(min_length=1)] = (
        RoundRecipe(targets="mfcc", clusters=100),
        RoundRecipe(targets="middle", clusters=500),
    )
    """One after the other, each from where the one before ended."""
    scratch: HubertShape | None = None
    """Start from a HuBERT that knows nothing; None: from the pretrained encoder."""
    batch_s: Positive = 48.0
    """Audio a step, padding included."""
    max_s: Annotated[float, Field(ge=0.5, le=29)] = 10.0
    """Of longer recordings a random part is taken."""
    learning_rate: Positive = 1e-5
    """Peak, of the encoder."""
    new_learning_rate: Positive = 1e-3
    """Peak, of what starts from nothing: embeddings of clusters, speakers and the mask."""
    warmup: Share = 0.05
    """Share of the steps in which the learning rates rise."""
    decay: Literal["linear", "cosine", "none"] = "linear"
    """How they fall after that."""
    mask_probability: Probability = 0.8
    """Of a token to begin a masked span of 10, times 10; spans overlap."""
    feature_penalty: Weight = 10.0
    """On the mean square of what raw convolutions put out; there are none behind a log-mel spectrum."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of everyone's recordings that only the validation loss is measured on."""
    bfloat16: bool = False
    """Compute in bfloat16 where that is faster: half the time on processors that have it."""
    memory_gb: Weight = 4.0
    """Decoded audio that each process keeps; what does not fit is decoded anew in every epoch."""
