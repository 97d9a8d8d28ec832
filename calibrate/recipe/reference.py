"""The reference of every key of a training recipe, from the code that reads it."""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel

from calibrate.recipe.recipe import Recipe
from calibrate.recipe.sections import CorpusRecipe
from edge.settings.reference import keys_table, meaning

__all__ = ["meaning", "recipe_markdown"]


def recipe_markdown() -> str:
    """Return a table for each section: key, type, default, allowed values and meaning."""
    tables = [keys_table("above all sections", Recipe), keys_table("[[corpora]]", CorpusRecipe)]
    return "\n\n".join([*tables, *_sections(Recipe, "")]) + "\n"


def _sections(kind: type[BaseModel], above: str) -> list[str]:
    """Return the tables of the sections within a section."""
    tables: list[str] = []
    for key, field in kind.model_fields.items():
        for section in get_args(field.annotation) or (field.annotation,):
            if isinstance(section, type) and issubclass(section, BaseModel) and section is not CorpusRecipe:
                tables += [keys_table(f"[{above}{key}]", section), *_sections(section, f"{above}{key}.")]
    return tables
