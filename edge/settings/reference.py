"""The reference of all settings, from the code that reads them."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from edge.docstrings import field_docstrings
from edge.settings.tree import LISTS, SECTIONS

TYPES = {
    "string": "text",
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "object": "table",
}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
HEAD = "| Key | Type | Default | Allowed | Meaning |\n| --- | --- | --- | --- | --- |"


def settings_markdown() -> str:
    """Return a table for each section: key, type, default, allowed values and meaning."""
    sections = {f"[{name}]": kind for name, kind in SECTIONS.items()}
    lists = {f"[[{name}]]": kind for name, kind in LISTS.items()}
    return "\n\n".join(keys_table(title, kind) for title, kind in (sections | lists).items()) + "\n"


def keys_table(title: str, kind: type[BaseModel]) -> str:
    """Return the table of a section: every key that holds a value and no section of its own."""
    schema = kind.model_json_schema()
    rows = [
        _row(key, described | {"description": meaning(kind, key)})
        for key, described in schema["properties"].items()
        if not _is_section(described)
    ]
    return "\n".join([f"### `{title}`\n\n{_line(schema['description'])}\n", HEAD, *rows])


def _is_section(described: dict[str, Any]) -> bool:
    kinds = described.get("anyOf") or described.get("oneOf") or [described]
    return any("$ref" in kind or "$ref" in kind.get("items", {}) for kind in kinds)


def meaning(kind: type[BaseModel], key: str) -> str:
    """Return the docstring of a key, that of the class it was taken over from where it has none of its own."""
    return _line(field_docstrings(kind).get(key, ""))


def _type(kind: dict[str, Any]) -> str:
    """Return the type of a value in words."""
    if kind["type"] != "array":
        return TYPES[kind["type"]]
    if "prefixItems" in kind:
        return f"list of {len(kind['prefixItems'])} {_plural(kind['prefixItems'][0])}"
    return f"list of {_plural(kind['items'])}"


def _plural(kind: dict[str, Any]) -> str:
    return f"{TYPES[kind['type']]}s"


def _row(key: str, described: dict[str, Any]) -> str:
    kinds = described.get("anyOf", [described])
    types = " or ".join(map(_type, kinds))
    # The bounds of a list are those of its items.
    kinds = [{**kind, **kind.get("items", {}), **next(iter(kind.get("prefixItems", ())), {})} for kind in kinds]
    bounds = [f"{sign} {kind[bound]:,}" for kind in kinds for bound, sign in BOUNDS.items() if bound in kind]
    choices = [choice for kind in kinds for choice in [*kind.get("enum", ()), kind.get("const")] if choice is not None]
    allowed = ", ".join(bounds + [f"`{json.dumps(choice)}`" for choice in choices])
    default = f"`{json.dumps(described['default'])}`" if "default" in described else "required"
    return f"| `{key}` | {types} | {default} | {allowed} | {described['description'].replace('|', '&#124;')} |"


def _line(docstring: str) -> str:
    """Return a docstring as one line of Markdown."""
    return " ".join(docstring.split()).replace("``", "`")
