"""The sections of a training recipe about what is learned from, and which values: see ``calibrate.recipe``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from calibrate.corpora.circumplex import DERIVABLE
from calibrate.recipe.sections import Positive, accepted
from edge.errors import nearest
from edge.records import Record
from edge.values import ANNOTATED, DERIVED, ValueName, ValueRecord


def not_empty(limits: tuple[float, float]) -> tuple[float, float]:
    """Validate a range or scale: the lower end first, and not the same."""
    if limits[0] >= limits[1]:
        raise ValueError(f"the lower end {limits[0]:g} is not below the upper one {limits[1]:g}")
    return limits


Origin = Literal["annotations", "circumplex"]
Range = Annotated[tuple[float, float], AfterValidator(not_empty)]


class CorpusRecipe(Record):
    """One corpus."""

    name: str
    """Reader, see ``calibrate.corpora``."""
    folder: str
    """Relative to the data folder given on the command line."""
    licence: str
    """Goes into the model card: it binds the weights."""
    licence_verified: bool = True
    """Whether somebody has read it; the model card says so where not."""
    role: Literal["train", "test"] = "train"
    """``test``: it is only tested on, whatever the splits; nothing ever learns from it."""
    weight: Positive = 1.0
    """In training and calibration, beside the other corpora."""
    scales: dict[ValueName, Range] = Field(default={})
    """Value to the scale that it is annotated on, lowest and highest, such as ``{ arousal = [1, 5] }``; what is left
    out is on that of the corpus's reader, and of a plain CSV on the range of ``[[values]]``."""

    def __hash__(self) -> int:
        # A table has no hash, and what is equal has the same folder.
        return hash((self.name, self.folder))


class SoundsRecipe(Record):
    """Recordings without speech, by which a bundle tells it from other sounds."""

    folder: str
    """Relative to the data folder given on the command line; every audio file below it counts."""
    origin: str
    """Where they are from and under which licence, for the model card."""


class ValueRecipe(Record):
    """One value that is estimated beside the labels, by a second linear output on the same embedding.

    Only clips that have it take part in fitting it.
    """

    name: ValueName
    """``arousal``, ``valence``, ``dominance`` or ``intensity``."""
    range: Range
    """Lowest and highest answer; the scale of every corpus is mapped to it, end to end."""
    origin: Origin = "annotations"
    """``annotations``: what the corpora say of each clip; ``circumplex``: derived from its label by Russell's
    circumplex (``calibrate.corpora.circumplex``), arousal and valence only: a demonstration, no ground truth, and
    marked as such wherever the value is named."""

    @classmethod
    def of(cls, record: ValueRecord) -> ValueRecipe:
        """Return the section that a value of a bundle would come from."""
        origin: Origin = "circumplex" if record.origin == DERIVED else "annotations"
        return cls(name=record.name, range=(record.low, record.high), origin=origin)

    @property
    def record(self) -> ValueRecord:
        """The value as the manifest of a bundle names it."""
        origin = ANNOTATED if self.origin == "annotations" else DERIVED
        return ValueRecord(name=self.name, low=self.range[0], high=self.range[1], origin=origin)

    @model_validator(mode="after")
    def _derivable(self) -> ValueRecipe:
        derived = self.origin == "circumplex" and self.name not in DERIVABLE
        hint = nearest(self.name, DERIVABLE)
        return accepted(
            self, [f"origin = 'circumplex' knows {' and '.join(DERIVABLE)}, not {self.name}{hint}"] * derived
        )
