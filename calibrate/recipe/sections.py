"""The sections of a training recipe, see ``calibrate.recipe``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from edge.records import Record

Decay = Annotated[float, Field(ge=0.01, le=5)]
Count = Annotated[int, Field(ge=1)]
Gain = Annotated[float, Field(ge=-100, le=100)]
Number = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


def ascending(limits: tuple[float, float]) -> tuple[float, float]:
    """Validate a range: lower limit first."""
    if limits[0] > limits[1]:
        raise ValueError(f"the lower limit {limits[0]} exceeds the upper one {limits[1]}")
    return limits


Checked = TypeVar("Checked", bound=Record)


def accepted(record: Checked, wrong: Sequence[str]) -> Checked:
    """Return a record whose keys fit each other; all that does not is one error."""
    if wrong:
        raise ValueError("; ".join(wrong))
    return record


def _symmetric(limits: object) -> object:
    """Take a number as the range from minus to plus that."""
    return (-limits, limits) if isinstance(limits, (int, float)) and not isinstance(limits, bool) else limits


class SplitRecipe(Record):
    """Who trains, validates and tests; never the same speaker twice."""

    file: str = ""
    """CSV of ``corpus,speaker,split`` relative to the data folder; empty draws speakers by ``fractions``."""
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Shares of the speakers that train, validate and test."""

    @property
    def origin(self) -> str:
        """Where the split comes from, for protocols."""
        if self.fractions[0] == 1 and not self.file:
            return "a recipe by which everyone else trains"
        return self.file or "a seeded draw"


class EncoderRecipe(Record):
    """The pretrained encoder and what is taken from it."""

    name: str
    """Hub name or local folder; ``--encoder`` replaces it."""
    licence: str
    """Of the pretrained weights, for the model card."""
    layers: Annotated[int, Field(ge=1)]
    """Transformer layers kept."""
    pooled: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    """Layers whose mean and standard deviation are features; 0 is the input of the first."""
    voiced_db: Weight = 0.0
    """Only tokens at most so many dB below the utterance's loudest are pooled, so that silence matters less, and voices
    that are too quiet for the encoder are amplified; 0: all, as they are."""
    merge: bool = False
    """Whisper only: pairs of tokens become one in the first layer, see ``WhisperEncoder``; half the time, untrained."""
    finetune: Annotated[int, Field(ge=0)] = 0
    """Last layers to train by ``[finetune]`` once the head has learned; 0 keeps the encoder frozen."""
    max_s: Annotated[float, Field(gt=0, le=30)] = 12.0
    """Longest input; the exported position table ends here."""


OFF = (0, (0.0, 0.0))
"""Values of an augmentation that do nothing."""


class AugmentationRecipe(Record):
    """What may happen to copies of the training audio; each step is drawn on its own, and 0 is off."""

    copies: Number = 3
    """Augmented copies beside the clean one; where the encoder learns, any number above 0 draws anew in every epoch."""
    gain_db: Annotated[tuple[Gain, Gain], BeforeValidator(_symmetric), AfterValidator(ascending)] = (-12.0, 12.0)
    """Gain is uniform within this range; a number is plus or minus that."""
    noise_probability: Probability = 0.5
    """Share of copies with noise, white to brown."""
    snr_db: Annotated[tuple[float, float], AfterValidator(ascending)] = (5.0, 30.0)
    """How far the voice is above that noise."""
    room_probability: Probability = 0.3
    """Share of copies in a simulated room."""
    decay_s: Annotated[tuple[Decay, Decay], AfterValidator(ascending)] = (0.1, 0.5)
    """Reverberation time (60 dB) of the simulated room."""
    telephone_probability: Probability = 0.15
    """Share of copies on a telephone line, 300 to 3,400 Hz."""
    trim_probability: Probability = 0.7
    """Share of copies whose leading and trailing silence is cut, as the runtime's segmenter does."""
    crop_probability: Probability = 0.0
    """Share of copies of which only a random piece is left, before anything else is done to it."""
    speed: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Uniform within 1 plus or minus this; 0.1 is speed perturbation as usual: new pitch and formants, new voices."""
    tempo: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """The same at the same pitch."""
    codec_probability: Probability = 0.0
    """Share of copies that a lossy codec has been through."""
    mask: Share = 0.0
    """SpecAugment: longest share of time and of the mel scale that a mask covers, two masks each."""

    @property
    def key(self) -> str:
        """What is on: cached features are found by it, whatever steps there will be."""
        names = [name for name in AugmentationRecipe.model_fields if name != "copies"]
        values = {name: getattr(self, name) for name in names}
        return f"Augmentation({', '.join(f'{name}={value!r}' for name, value in values.items() if value not in OFF)})"


class HeadRecipe(Record):
    """What turns pooled layers into labels."""

    kind: Literal["linear", "logistic", "dense", "stack"] = "linear"
    """``linear``: on principal components; ``logistic``: the same, fitted at once and not by gradient, on utterances
    without the mean of their corpus, see ``calibrate.training.regression``; ``dense`` is dropout, dense, tanh, dropout,
    projection (report B's head); ``stack`` is dense layers, each with ReLU, dropout and batch normalisation (report
    A's)."""
    mix: Literal["concatenate", "weighted", "last"] = "concatenate"
    """Layers side by side, summed with learned softmax weights, or only the last one pooled."""
    pool: Literal["statistics", "mean"] = "statistics"
    """Mean and standard deviation over time, or the mean alone."""
    standardise: bool = True
    """Shift and scale every feature by its statistics over the training utterances."""
    hidden: tuple[Count, ...] = ()
    """Sizes of the layers below the embedding (stack)."""
    dim: Annotated[int, Field(ge=2)] = 256
    """Size of the embedding: principal components kept (linear, logistic) or units of the last hidden layer."""
    favour: Weight = 0.0
    """Exponent of the variance by which strong components are favoured over weak ones (logistic); 0: as they are."""
    penalty: Weight = 0.05
    """L2 penalty, ``penalty / 2 · |weight|²`` beside the mean loss (logistic)."""
    rank: Number = 0
    """Of the weights from features to embedding, which are then stored as two thin matrices (dense); 0: full."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Of the embedding, and of what goes into learned layers, while a head learns by gradient."""
    speaker: Literal["none", "id", "mfcc"] = "none"
    """What is added to the features about who speaks: nothing, a learned vector, or their mean MFCC, by a dense layer.
    Somebody who was not trained on gets the mean of all; no bundle can be made of such a head."""
    speaker_dim: Count = 40
    """Size of that vector: free (id), or the number of cepstral coefficients (mfcc)."""
    scale_mfcc: bool = True
    """Standardise the MFCC over the training speakers; unscaled, the first is hundreds, the others below ten."""

    @property
    def stranger(self) -> str:
        """What the head assumes of a speaker it was not trained on, for a protocol; empty where it takes no speaker."""
        known = self.speaker != "none"
        return f"; the head is told who speaks ({self.speaker}), strangers are told as the mean of all" if known else ""

    @model_validator(mode="after")
    def _learns(self) -> HeadRecipe:
        wrong = []
        if self.kind == "logistic" and (self.mix == "weighted" or self.speaker != "none"):
            wrong.append("kind = 'logistic' is fitted at once; mix = 'weighted' and speakers have to be learned")
        if self.rank and self.kind not in ("dense", "logistic"):
            wrong.append(f"rank needs kind = 'dense', not '{self.kind}'")
        if self.hidden and self.kind != "stack":
            wrong.append(f"hidden needs kind = 'stack'; a {self.kind} head has no layers below its embedding")
        return accepted(self, wrong)


class ScheduleRecipe(Record):
    """Optimisation of the head, on features of the frozen encoder."""

    epochs: Number = 300
    """At most, see ``stop_after``; 0 leaves the head to ``[finetune]``, untrained."""
    batch: Count = 256
    """Utterances a step, over all processes together."""
    learning_rate: Positive = 1e-3
    """Of the head."""
    encoder_learning_rate: Positive = 2e-5
    """Of the encoder's last layer, where it learns: speech encoders do by ``[finetune]``."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the encoder's learning rate from each layer to the one below."""
    weight_decay: Weight = 0.1
    """Of AdamW (Loshchilov & Hutter 2019)."""
    warmup: Share = 0.05
    """Share of the steps in which the learning rate rises."""
    decay: Literal["cosine", "linear", "none"] = "cosine"
    """How the learning rate falls after that."""
    label_smoothing: Share = 0.0
    """Share of the target that all labels have in common."""
    average: Share = 0.0
    """Decay a step of the moving average of the weights that is validated and kept; 0 keeps the last weights."""
    evaluate_every: Number = 0
    """Steps between evaluations on validation speakers; 0: once an epoch."""
    patience: Number = 0
    """Evaluations without a better loss, beyond which the learning rates fall to a tenth; 0: never."""
    stop_after: Number = 20
    """Evaluations without a better loss on validation speakers that end training, which keeps the best weights; 0:
    never, and the last weights are kept."""
    mixup: Weight = 0.0
    """Both parameters of the beta distribution by which pairs of features are mixed (Zhang et al. 2018)."""
    adversarial: Weight = 0.0
    """Weight of classifying speakers, by reversed gradients (Ganin & Lempitsky 2015)."""
    contrastive: Weight = 0.0
    """Weight of the supervised contrastive loss (Khosla et al. 2020)."""


class FinetuneRecipe(ScheduleRecipe):
    """Optimisation of the head and the last layers of the encoder together, after ``[schedule]``.

    Without ``[finetune.augmentation]`` its ``speed``, ``tempo``, ``codec_probability`` and ``mask`` are 0.1.
    """

    epochs: Count = 3
    batch: Count = 32
    learning_rate: Positive = 1e-4
    encoder_learning_rate: Positive = 2e-4
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 0.8
    warmup: Share = 0.1
    stop_after: Number = 0
    label_smoothing: Share = 0.1
    average: Share = 0.99
    rank: Number = 8
    """Of the change to every matrix (LoRA, Hu et al. 2022); 0 trains whole layers."""
    front: bool = False
    """Train what is below the layers too, convolutions for one; needs ``encoder.finetune = encoder.layers``."""
    memory_gb: Weight = 4.0
    """Decoded audio that each process keeps, 35 hours at 4; what does not fit is decoded anew in every epoch."""
    augmentation: AugmentationRecipe = AugmentationRecipe(speed=0.1, tempo=0.1, codec_probability=0.1, mask=0.1)
