"""People, and what is kept about them: JSON in an export, and the same JSON, sealed, in the store."""

from __future__ import annotations

import base64
import re
import unicodedata
import uuid
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AwareDatetime, Field, JsonValue, PlainSerializer, PlainValidator

from edge.arrays import Matrix
from edge.errors import UsageError
from edge.records import Record

NAME_LENGTH = 64
JOINERS = "\u200c\u200d"
"""Zero-width, yet part of Persian names and of emoji."""
REFUSED_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")


def clean_name(name: str) -> str:
    """Return a name as it is stored: Unicode NFC without white space around it.

    Raises:
        UsageError: it does not have 1 to 64 characters, or some that control the text instead of being seen.
    """
    margin = rf"[\s{JOINERS}]+"
    cleaned = re.sub(rf"^{margin}|{margin}\Z", "", unicodedata.normalize("NFC", name))
    refused = {char for char in cleaned if unicodedata.category(char) in REFUSED_CATEGORIES} - set(JOINERS)
    if refused or not 1 <= len(cleaned) <= NAME_LENGTH:
        raise UsageError(
            f"name {name!r} is not allowed: 1 to {NAME_LENGTH} characters, none of them a control character"
        )
    return cleaned


def fold_name(name: str) -> str:
    """Return what two names have in common that differ only in case (Unicode 3.13, canonical caseless matching)."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", clean_name(name)).casefold())


def _to_tensor(value: Any) -> Matrix:
    if not isinstance(value, np.ndarray):
        record = _TensorJson.model_validate(value)
        value = np.frombuffer(base64.b64decode(record.float32, validate=True), "<f4").reshape(record.shape)
    if value.dtype != np.float32 or not np.isfinite(value).all():
        raise ValueError("must be float32 and finite")
    tensor: Matrix = value
    return tensor


def _to_vector(value: Any) -> Matrix:
    vector = _to_tensor(value)
    if vector.ndim != 1 or not len(vector):
        raise ValueError("must be a vector")
    return vector


def _to_json(tensor: Matrix) -> dict[str, Any]:
    return {"shape": tensor.shape, "float32": base64.b64encode(tensor.astype("<f4").tobytes()).decode()}


Tensor = Annotated[Matrix, PlainValidator(_to_tensor), PlainSerializer(_to_json, when_used="json")]
Vector = Annotated[Matrix, PlainValidator(_to_vector), PlainSerializer(_to_json, when_used="json")]
Word = Annotated[str, Field(min_length=1, max_length=128)]


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(timezone.utc)


class _TensorJson(Record):
    shape: tuple[Annotated[int, Field(ge=0, le=1_000_000)], ...]
    float32: str
    """Little-endian values, the last axis fastest, in base64."""


class Consent(Record):
    """That someone agreed, before anything of their voice was kept."""

    given_at: AwareDatetime = Field(default_factory=now)
    text_version: Word
    """Of the text they agreed to."""
    how: Literal["asked", "--yes"]
    """``--yes``: whoever ran the command vouched for it."""


class Person(Record):
    """Someone enrolled. Readable without the key, so that people can always be listed and forgotten."""

    id: Word = Field(default_factory=lambda: str(uuid.uuid4()))
    name: str
    consent: Consent
    may_refine: bool = False
    """Agreed that the profile is refined while running."""


class VoiceRecord(Record):
    """Something derived from a voice by two encoders; what different encoders made never mixes."""

    encoder_hash: Word
    """SHA-256 of the emotion encoder."""
    speaker_hash: Word
    """SHA-256 of the speaker-verification encoder, or ``none``."""
    created_at: AwareDatetime = Field(default_factory=now)


class EnrolledClip(VoiceRecord):
    """What is kept of one clip of speech: not the audio."""

    embedding: Vector
    """``float32[dim]``, of the emotion encoder."""
    voiceprint: Vector | None = None
    """``float32[speaker_dim]``, of the speaker-verification encoder; None when the bundle had none."""
    label: Word | None = None
    """The emotion, where it is known."""
    duration_s: float = Field(gt=0)


class StoredProfile(VoiceRecord):
    """A voice profile as it is stored. The store knows nothing of what the tensors and facts mean."""

    tensors: dict[str, Tensor]
    facts: dict[str, JsonValue] = Field(default_factory=dict)
    reason: str = "enrolled"
    """Why this revision was made."""
