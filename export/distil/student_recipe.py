"""A distillation recipe: student, losses and schedule in one TOML file."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from calibrate.encoders.shapes import StudentShape
from calibrate.recipe.sections import AugmentationRecipe, ascending
from edge.records import Record

Share = Annotated[float, Field(ge=0)]
Nothing = Annotated[float, Field(ge=0, le=0)]
UNDISTURBED = {
    "gain_db": (0.0, 0.0),
    "noise_probability": 0.0,
    "room_probability": 0.0,
    "telephone_probability": 0.0,
    "codec_probability": 0.0,
    "mask": 0.0,
}
"""An augmentation that does nothing to speech but to move it in time."""


class StudentAugmentation(AugmentationRecipe):
    """What happens to an utterance on its way to the student, drawn anew every time; the teacher gets it without.

    So the student learns to recognise through noise, voices, rooms and lines, and hardly gets the same utterance twice.
    Nothing here may move speech in time: the hidden states of teacher and student are compared token by token.
    """

    copies: Annotated[int, Field(ge=0)] = 0
    """0: the student gets the same audio as the teacher, with all of the teacher's own augmentation."""
    voices_probability: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the utterances with one to six others in the background."""
    voices_db: Annotated[tuple[Share, Share], AfterValidator(ascending)] = (0.0, 25.0)
    """How far these are below, together."""
    trim_probability: Nothing = 0.0
    speed: Nothing = 0.0
    tempo: Nothing = 0.0


class DistilRecipe(Record):
    """Everything that makes a student, besides its teacher."""

    name: str
    """Of the run and of the bundle."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of new weights, augmentation and training: the same recipe makes the same student."""
    student: StudentShape
    start: str = ""
    """Hub name or folder of a pretrained encoder that a Whisper student starts from; empty: the teacher's."""
    start_licence: str = ""
    """Of those weights, for the model card."""
    pooled: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (1, 2, 3)
    """Layers of the student whose mean and standard deviation make the embedding."""
    rank: Annotated[int, Field(ge=0)] = 0
    """Of the weights from there to the embedding, see ``head.rank`` of a training recipe; 0: full."""
    weights: tuple[Share, Share, Share, Share] = (1.0, 1.0, 1.0, 0.0)
    """Of the losses: hidden states, embedding, logits, labels."""
    views: Annotated[int, Field(ge=1)] = 4
    """Passes over the utterances that the teacher answers, the first clean and the others augmented."""
    speed: Annotated[float, Field(ge=0, lt=0.5)] = 0.1
    """Views play up to this share faster or slower."""
    mixed: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the utterances in these views that have another laid over them, 0 to 10 dB below.

    The teacher gets the mixture too: more to imitate than there is speech (Beyer et al. 2022, function matching).
    """
    augmentation: StudentAugmentation = StudentAugmentation()
    epochs: Annotated[int, Field(ge=1)] = 12
    """Each draws one view of every utterance; the best on validation speakers is kept."""
    batch_s: Annotated[float, Field(gt=0)] = 96.0
    """Audio a batch, padding included."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """The highest; it falls as a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Of AdamW."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the steps in which the learning rate rises."""
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the running mean of the weights, which is what is kept."""

    def of_views(self, teachers: AugmentationRecipe) -> AugmentationRecipe:
        """Return what is done to a view: what moves speech in time, and the rest unless the student has its own."""
        return teachers.model_copy(update=UNDISTURBED) if self.augmentation.copies else teachers
