"""What is written as JSON and read again: complete records, checked when they are read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError


class Record(BaseModel):
    """Immutable, without unknown fields, and every number in it is finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def first_problem(error: ValidationError) -> str:
    """Return where a file breaks its format first, and how, as in ``encoder.opset: Field required``."""
    first = error.errors(include_input=False)[0]
    where = ".".join(map(str, first["loc"])) or "file"
    return f"{where}: {first['msg']}"
