"""A profile: rows of samples with their quantiles, and what they are about. Schema 1, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from edge.errors import UsageError
from edge.model_facts import ModelFacts
from edge.profiling.facts import Machine
from edge.records import Record, first_problem

SCHEMA = 1

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
Part = Literal["pipeline", "direct", "start", "sweep", "overhead", "streams"]
"""From a replayed or attached pipeline, from the stages called directly, from fresh processes, of a candidate setting,
of the profiler itself, or of many sources at once."""
Samples = Annotated[tuple[float, ...], Field(min_length=1)]
Key = tuple[str, str, float | None, int | None]


class Row(Record):
    """Every sample of one stage at one length and batch size."""

    part: Part
    stage: str
    bucket_s: float | None = None
    """None: all lengths together."""
    batch: int | None = None
    """Utterances per inference; None where batches form by themselves, or are not a matter."""
    sources: int | None = None
    """That were listened to at once, where that is the matter."""
    unit: Literal["ms", "MB"] = "ms"
    audio_s: float | None = None
    """Audio that all the samples together are about; None for waiting, which no faster machine would shorten."""
    rounds: Annotated[tuple[Samples, ...], Field(min_length=1)]
    """The samples, by the round they were measured in; rounds alternate with those of the other rows."""

    @property
    def key(self) -> Key:
        """What makes two rows of different reports the same one."""
        return self.part, self.stage, self.bucket_s, self.batch

    @property
    def name(self) -> str:
        """The stage, and the length and batch if it has them."""
        length = "" if self.bucket_s is None else f" {self.bucket_s:g} s"
        return f"{self.stage}{length}{'' if self.batch is None else f' x {self.batch}'}"

    @property
    def samples(self) -> tuple[float, ...]:
        """All of them, in the order of measurement."""
        return tuple(sample for samples in self.rounds for sample in samples)

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.samples)

    @property
    def real_time_factor(self) -> float | None:
        """Time spent per time of audio: below 1 it keeps up."""
        return sum(self.samples) / 1e3 / self.audio_s if self.audio_s else None

    def quantile(self, share: float) -> float:
        """Return a quantile, interpolated between samples."""
        return float(np.quantile(self.samples, share))

    @model_serializer(mode="wrap")
    def _with_summary(self, as_fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Put the quantiles and ``n`` of the samples beside them, for programs and people who read the report."""
        quantiles = rounded(self.quantile(share) for share in QUANTILES.values())
        return {**as_fields(self), **dict(zip(QUANTILES, quantiles, strict=True)), "n": self.n}

    @model_validator(mode="before")
    @classmethod
    def _without_summary(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Read a row with them, which are computed again, or without, as earlier reports are."""
        return {key: value for key, value in values.items() if key not in {*QUANTILES, "n"}}


class Sensor(Record):
    """A reading that was taken every second while the profile ran."""

    name: str
    n: int
    median: float
    highest: float


class Profile(Record):
    """What ``affectd profile`` measured."""

    tool: Literal["affectd profile"] = "affectd profile"
    schema_version: Literal[1] = 1
    time: str
    """Wall clock, ISO 8601."""
    mode: Literal["replay", "attached", "sweep", "overhead", "streams"]
    machine: Machine
    model: ModelFacts
    audio: tuple[str, ...] = ()
    """Names of the recordings that were replayed."""
    audio_s: float = 0.0
    """Of audio that went through the pipeline."""
    rows: tuple[Row, ...]
    sensors: tuple[Sensor, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader has to know, such as what could not be measured."""

    def of(self, part: Part) -> list[Row]:
        """Return the rows of a part."""
        return [row for row in self.rows if row.part == part]

    def to_json(self) -> str:
        """Return the report for programs, and for a later ``--compare``."""
        return self.model_dump_json(indent=1) + "\n"


def read_profile(file: Path) -> Profile:
    """Read what ``to_json`` wrote.

    Raises:
        UsageError: the file cannot be read, or is no report of this schema.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    try:
        header = json.loads(data)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or header.get("tool") != "affectd profile":
        raise UsageError(f"{file}: is no report of affectd profile --json")
    if header.get("schema_version") != SCHEMA:
        raise UsageError(f"{file}: has schema {header.get('schema_version')!r}, this version compares {SCHEMA}")
    try:
        return Profile.model_validate_json(data)
    except ValidationError as error:
        raise UsageError(f"{file}: {first_problem(error)}") from None


def rounded(samples: Iterable[float]) -> tuple[float, ...]:
    """Return samples to a tenth of a microsecond."""
    return tuple(round(sample, 4) for sample in samples)


Progress = Callable[[str], None]
"""Takes a line about what is being measured."""
