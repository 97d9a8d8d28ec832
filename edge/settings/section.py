"""What all sections of settings have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic.fields import FieldInfo


def _names(value: object) -> object:
    """Split what comes from the environment or ``--set``."""
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Secret = Annotated[str, Field(json_schema_extra={"format": "password"})]
"""What nobody is shown."""


def is_secret(field: FieldInfo) -> bool:
    """Return whether the value of a setting is not to be shown to anybody."""
    return isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("format") == "password"


class Section(BaseModel):
    """Settings of one stage; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _without_null(cls, value: object) -> object:
        if isinstance(value, str) and "\0" in value:
            raise ValueError("holds a null character, which no name and no path can")
        return value
