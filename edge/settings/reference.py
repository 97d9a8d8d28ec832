"""The reference of all settings, from the code that reads them."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from edge.settings.tree import LISTS, SECTIONS

TYPES = {
    "string": "text",
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "array": "list of texts",
}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
HEAD = "| Key | Type | Default | Allowed | Meaning |\n| --- | --- | --- | --- | --- |"


def settings_markdown() -> str:
    """Return a table for each section: key, type, default, allowed values and meaning."""
    sections = {f"[{name}]": kind for name, kind in SECTIONS.items()}
    lists = {f"[[{name}]]": kind for name, kind in LISTS.items()}
    return "\n\n".join(_table(title, kind) for title, kind in (sections | lists).items()) + "\n"


def _table(title: str, kind: type[BaseModel]) -> str:
    schema = kind.model_json_schema()
    rows = [_row(key, described) for key, described in schema["properties"].items()]
    return "\n".join([f"### `{title}`\n\n{_line(schema['description'])}\n", HEAD, *rows])


def _row(key: str, described: dict[str, Any]) -> str:
    kinds = described.get("anyOf", [described])
    types = " or ".join(TYPES[kind["type"]] for kind in kinds)
    bounds = [f"{sign} {kind[bound]:,}" for kind in kinds for bound, sign in BOUNDS.items() if bound in kind]
    choices = [choice for kind in kinds for choice in [*kind.get("enum", ()), kind.get("const")] if choice is not None]
    allowed = ", ".join(bounds + [f"`{json.dumps(choice)}`" for choice in choices])
    default = json.dumps(described["default"])
    return f"| `{key}` | {types} | `{default}` | {allowed} | {_line(described['description'])} |"


def _line(docstring: str) -> str:
    """Return a docstring as one line of Markdown."""
    return " ".join(docstring.split()).replace("``", "`")
