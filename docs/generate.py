"""Write ``docs/api.md`` from the code: ``make docs``. A test holds the page to it."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from types import FunctionType
from typing import Any, get_type_hints

import edge
from edge.event import Event, SpeakerMatch
from edge.outputs.csv_table import COLUMNS
from edge.settings.reference import settings_markdown

PAGE = Path(__file__).with_name("api.md")
HEADER = """\
# affectd as a library

Generated from the code by `make docs`. `import edge` is light: what a name needs is imported when it is first used.
"""


def page() -> str:
    """Return the page as Markdown."""
    return "\n".join([HEADER, *_names(), *_events(), "## Settings\n", settings_markdown()])


def _names() -> Iterator[str]:
    yield "## Names\n"
    objects = [(name, getattr(edge, name)) for name in edge.__all__]
    for name, found in sorted(objects, key=lambda item: (isinstance(item[1], type), item[0])):
        if isinstance(found, type) and issubclass(found, Exception):
            continue
        yield from _described(f"edge.{name}", found)
        for member, value in vars(found).items() if isinstance(found, type) else ():
            if not member.startswith("_") and isinstance(value, (FunctionType, property, classmethod)):
                yield from _described(f"{name}.{member}", value, level=4)
    yield "### Errors\n"
    yield "| class | of | exit code of the commands | |\n|---|---|---|---|"
    for name, found in objects:
        if isinstance(found, type) and issubclass(found, Exception):
            yield f"| `edge.{name}` | `{found.__bases__[0].__name__}` | {found.exit_code} | {_first(found)} |"
    yield ""


def _described(name: str, found: Any, level: int = 3) -> Iterator[str]:
    plain = found.fget if isinstance(found, property) else found
    yield f"{'#' * level} `{name}`\n"
    if isinstance(found, FunctionType):
        yield f"```python\n{name}{_signature(found)}\n```\n"
    yield _as_markdown(inspect.getdoc(plain) or "") + "\n"


def _signature(function: FunctionType) -> str:
    """Return a function's signature without ``self``, annotations as they are written."""
    signature = inspect.signature(function)
    parameters = [parameter for name, parameter in signature.parameters.items() if name != "self"]
    return re.sub(r"(?<=[:>] )'([^']*)'", r"\1", str(signature.replace(parameters=parameters)))


def _as_markdown(docstring: str) -> str:
    """Return a docstring as Markdown: code in single backticks, arguments and errors as lists, examples as code."""
    lines: list[str] = []
    in_list = in_example = False
    for line in docstring.replace("``", "`").splitlines():
        stripped = line.strip()
        if in_example and not stripped:
            lines += ["```", ""]
            in_example = False
        elif stripped.startswith(">>>") and not in_example:
            lines += ["```python", stripped]
            in_example = True
        elif stripped in ("Args:", "Raises:"):
            lines += [f"**{'Arguments' if stripped == 'Args:' else 'Errors'}**", ""]
            in_list = True
        elif in_list and line.startswith("    ") and not line.startswith("        ") and ": " in stripped:
            name, _, text = stripped.partition(": ")
            lines.append(f"- `{name}`: {text}")
        elif in_list and line.startswith("        "):
            lines[-1] += f" {stripped}"
        else:
            lines.append(stripped if not in_example else line)
    return "\n".join([*lines, "```"] if in_example else lines)


def _events() -> Iterator[str]:
    yield "## Events\n"
    yield _as_markdown(inspect.getdoc(Event) or "") + "\n"
    yield from _fields(Event)
    yield f"`speaker` is null, or has these fields ({_first(SpeakerMatch).removesuffix('.').lower()}):\n"
    yield from _fields(SpeakerMatch)
    yield (
        "CSV (`affectd analyze --csv`, an output of type `csv`) has a line for each `utterance` and `error` under the "
        f"heading `{','.join(COLUMNS)}` and a column for each label. They are the fields of these names; `speaker` is "
        "the person's name alone, `path` the source's where there is no file, `error` the message.\n"
    )


def _fields(record: type) -> Iterator[str]:
    meanings, hints = _meanings(record), get_type_hints(record)
    yield "| field | type | default | meaning |\n|---|---|---|---|"
    for field in fields(record):
        hint = hints[field.name]
        kind = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "").replace("edge.event.", "")
        has_default = field.default is not MISSING
        default = f"`{field.default}`" if has_default else "empty" if field.default_factory is not MISSING else ""
        yield f"| `{field.name}` | {kind.replace('|', 'or')} | {default} | {meanings.get(field.name, '')} |"
    yield ""


def _meanings(record: type) -> dict[str, str]:
    """Return the docstrings that stand under the fields of a class, by field."""
    (body,) = ast.parse(inspect.getsource(record)).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[ast.unparse(field.target)] = " ".join(str(text.value.value).replace("``", "`").split())
    return found


def _first(found: Any) -> str:
    return (inspect.getdoc(found) or "").replace("``", "`").splitlines()[0]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.name} written", file=sys.stderr)
