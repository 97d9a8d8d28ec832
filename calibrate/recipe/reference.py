"""The reference of every key of a training recipe, from the code that reads it."""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel

from calibrate.recipe.material import CorpusRecipe, ValueRecipe
from calibrate.recipe.recipe import Recipe
from edge.settings.reference import keys_table, meaning

__all__ = ["meaning", "recipe_markdown"]
LISTS: dict[str, type[BaseModel]] = {"corpora": CorpusRecipe, "values": ValueRecipe}
"""Sections that come as often as one likes."""


def recipe_markdown(kind: type[BaseModel] = Recipe) -> str:
    """Return a table for each section of a kind of recipe: key, type, default, allowed values and meaning."""
    lists = [keys_table(f"[[{key}]]", section) for key, section in LISTS.items() if key in kind.model_fields]
    return "\n\n".join([keys_table("above all sections", kind), *lists, *_sections(kind, "")]) + "\n"


def _sections(kind: type[BaseModel], above: str) -> list[str]:
    """Return the tables of the sections within a section; one for each kind that it may be of."""
    tables: list[str] = []
    for key, field in kind.model_fields.items():
        kinds = [each for each in get_args(field.annotation) or (field.annotation,) if _is_section(each)]
        brackets = ("[[", "]]") if Ellipsis in get_args(field.annotation) else ("[", "]")
        for section in kinds:
            which = f' kind = "{section.model_fields["kind"].default}"' if len(kinds) > 1 else ""
            tables += [
                keys_table(f"{brackets[0]}{above}{key}{brackets[1]}{which}", section),
                *_sections(section, f"{above}{key}."),
            ]
    return tables


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in LISTS.values()
