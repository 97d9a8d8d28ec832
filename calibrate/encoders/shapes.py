"""The shapes that a student may have, see ``calibrate.encoders.students``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from edge.records import Record


class WhisperStudentShape(Record):
    """Whisper's first layers on fewer frames: a token every ``hop * stride`` samples, where Whisper has 320."""

    kind: Literal["whisper"] = "whisper"
    """The first layers of Whisper, or of the teacher."""
    layers: Annotated[int, Field(ge=1)] = 3
    """Transformer layers."""
    width: Annotated[int, Field(ge=8)] = 512
    """Numbers a token, as in what it starts from."""
    heads: Annotated[int, Field(ge=1)] = 8
    """Of attention, in each layer."""
    hidden: Annotated[int, Field(ge=8)] = 2048
    """Width inside the feed-forward layers."""
    stem: Annotated[int, Field(ge=0)] = 0
    """Channels between the two convolutions of the front end; 0: as many as ``width``, as in Whisper."""
    mels: int = 80
    """Bands of the log-mel spectrum."""
    hop: Annotated[int, Field(ge=160)] = 320
    """Samples between log-mel frames, 160 for Whisper: the same weights on frames twice as far apart."""
    stride: Annotated[int, Field(ge=1)] = 2
    """Log-mel frames a token, 2 for Whisper: with ``hop = 160``, 4 keeps every other one of Whisper's own tokens."""
    positions: Annotated[int, Field(ge=1)] = 300
    """Longest input in tokens."""
    merge: bool = False
    """Pairs of tokens become one in the first layer, see ``WhisperEncoder``: hidden states are twice as far apart."""


class CompactShape(Record):
    """A small transformer on stacked log-mel frames, with convolutions in its feed-forward layers."""

    kind: Literal["compact"] = "compact"
    """From scratch, for teachers that are no Whisper."""
    layers: Annotated[int, Field(ge=1)] = 4
    """Transformer layers."""
    width: Annotated[int, Field(ge=8)] = 160
    """Numbers a token."""
    heads: Annotated[int, Field(ge=1)] = 4
    """Of attention, in each layer."""
    hidden: Annotated[int, Field(ge=8)] = 320
    """Width inside the feed-forward layers."""
    mels: int = 80
    """Bands of the log-mel spectrum."""
    hop: Annotated[int, Field(ge=80)] = 320
    """Samples between log-mel frames."""
    stack: Annotated[int, Field(ge=1)] = 2
    """Log-mel frames a token: 2 of 20 ms make one every 40 ms."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of what every half of a block adds, while it learns."""


StudentShape = Annotated[WhisperStudentShape | CompactShape, Field(discriminator="kind")]
SHAPE: TypeAdapter[WhisperStudentShape | CompactShape] = TypeAdapter(StudentShape)
