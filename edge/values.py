"""Values: what a bundle estimates beside its labels, such as arousal, by a second read-out of the embedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, model_validator

from edge.arrays import Matrix
from edge.errors import ModelError, nearest
from edge.records import Record

VALUES = ("arousal", "valence", "dominance", "intensity")
ANNOTATED = "annotated"
DERIVED = "derived from labels (Russell's circumplex)"


def known_value(name: str) -> str:
    """Validate the name of a value: one of ``VALUES``."""
    if name not in VALUES:
        raise ValueError(f"value {name!r} is not one of {', '.join(VALUES)}{nearest(name, VALUES)}")
    return name


ValueName = Annotated[str, AfterValidator(known_value)]


class ValueRecord(Record):
    """A value as the manifest of a bundle names it."""

    name: ValueName
    low: float
    """Least that is ever answered."""
    high: float
    """Most that is ever answered."""
    origin: str
    """Of what it learned from: ``annotated``, or ``derived from labels`` and how."""

    @model_validator(mode="after")
    def _has_a_range(self) -> ValueRecord:
        if not self.low < self.high:
            raise ValueError(f"{self.name}: the range {self.low:g} to {self.high:g} is empty")
        return self

    def __str__(self) -> str:
        return f"{self.name} {self.low:g} to {self.high:g}"


def distinct(records: tuple[ValueRecord, ...]) -> tuple[ValueRecord, ...]:
    """Validate values: none comes twice."""
    names = [record.name for record in records]
    if len(set(names)) < len(names):
        raise ValueError(f"values {', '.join(names)} name one twice")
    return records


ValueRecords = Annotated[tuple[ValueRecord, ...], AfterValidator(distinct)]


@dataclass(frozen=True)
class Value:
    """One value of an utterance."""

    value: float
    """Within the range."""
    low: float
    """Lower end of the range."""
    high: float
    """Upper end of the range."""

    @property
    def share(self) -> float:
        """Where in its range the value lies, 0 to 1."""
        return (self.value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Readout:
    """Linear regression from the embedding, limited to a range: ``clip(z @ weight.T + bias, low, high)``."""

    records: tuple[ValueRecord, ...]
    """In the order of the rows."""
    weight: Matrix
    """``float32[values, dim]``"""
    bias: Matrix
    """``float32[values]``"""

    @property
    def names(self) -> tuple[str, ...]:
        """The values, in the order of the columns of what is estimated."""
        return tuple(record.name for record in self.records)

    def estimate(self, embeddings: Matrix) -> Matrix:
        """Return ``float32[batch, values]`` for ``float32[batch, dim]``, each within its range."""
        estimates: Matrix = np.clip(embeddings @ self.weight.T + self.bias, *self.bounds).astype(np.float32)
        return estimates

    @property
    def bounds(self) -> tuple[Matrix, Matrix]:
        """Lower and upper ends of the ranges, ``float32[values]`` each."""
        low, high = (np.array([getattr(each, end) for each in self.records], np.float32) for end in ("low", "high"))
        return low, high

    def named(self, estimates: Matrix) -> dict[str, Value]:
        """Return one row of estimates, ``float32[values]``, by name and with their ranges."""
        pairs = zip(self.records, estimates.tolist(), strict=True)
        return {record.name: Value(value, record.low, record.high) for record, value in pairs}

    @property
    def tensors(self) -> dict[str, Matrix]:
        """What ``readout_of`` reads."""
        return {"values_weight": self.weight, "values_bias": self.bias}


def readout_of(path: Path, tensors: Mapping[str, Matrix], dim: int, records: Sequence[ValueRecord]) -> Readout | None:
    """Return the read-out in the tensors of a head, None where neither they nor the manifest have one.

    Raises:
        ModelError: tensors and manifest do not agree, or hold what is not finite.
    """
    weight, bias = tensors.get("values_weight"), tensors.get("values_bias")
    names = ", ".join(map(str, records)) or "a manifest without values"
    if weight is None and bias is None:
        if records:
            raise ModelError(f"{path}: lacks values_weight and values_bias, which {names} need")
        return None
    if weight is None or bias is None:
        raise ModelError(f"{path}: has one of values_weight and values_bias, which come together")
    if weight.shape != (len(records), dim) or bias.shape != (len(records),):
        raise ModelError(
            f"{path}: values_weight of shape {weight.shape} and values_bias of shape {bias.shape} do not fit "
            f"{names} of an embedding of {dim}"
        )
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise ModelError(f"{path}: values_weight or values_bias holds values that are not finite")
    return Readout(tuple(records), weight.astype(np.float32), bias.astype(np.float32))
