"""Write ``api.md``, ``recipe.md`` and ``events.schema.json`` from the code: ``make docs``. A test holds them to it."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from types import FunctionType
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter

import edge
from calibrate.recipe.reference import recipe_markdown
from edge.docstrings import field_docstrings
from edge.errors import ExitCode
from edge.event import FIELDS, OPTIONAL_FIELDS, SCHEMA, Event, EventType, SkipReason, SpeakerMatch, StatusReason
from edge.outputs.csv_table import COLUMNS
from edge.settings.reference import settings_markdown
from export.distil.student_recipe import DistilRecipe

PAGE = Path(__file__).with_name("api.md")
RECIPE_PAGE = Path(__file__).with_name("recipe.md")
EVENT_SCHEMA = Path(__file__).with_name("events.schema.json")
REASONS = {
    "skipped": get_args(SkipReason),
    "status": get_args(StatusReason),
    "utterance": ("repaired", "partial", "no_speech"),
}
RELATIVE = {"neutral": -1.62, "happy": 2.31, "sad": -0.4, "angry": -0.2, "fear": 0.1, "disgust": 0.0, "surprise": 0.3}
HEADER = """\
# affectd as a library

Generated from the code by `make docs`. `import edge` is light: what a name needs is imported when it is first used.
"""
RECIPE_HEADER = """\
# A training recipe

Generated from the code by `make docs`. A recipe is one TOML file: which corpora, encoder, head and schedule make a
model. `affectd-calibrate init FOLDER` writes one that fits a folder of recordings; [that of the default
bundle](../configs/default-train.toml) is another. Keys that are left out have their default; all that is missing or
wrong is reported at once.
"""
DISTIL_HEADER = """\
## A distillation recipe

Which smaller encoder `affectd-export distil` makes of a trained run, and how: [that of the nano
bundle](../configs/distil-nano.toml).
"""


def recipe_page() -> str:
    """Return the reference of both kinds of recipe as Markdown."""
    return f"{RECIPE_HEADER}\n{recipe_markdown()}\n{DISTIL_HEADER}\n{recipe_markdown(DistilRecipe)}"


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
            yield f"| `edge.{name}` | `{found.__bases__[0].__name__}` | {int(found.exit_code)} | {_first(found)} |"
    yield "\n### Exit codes\n"
    yield "| code of `affectd`, `affectd-calibrate` and `affectd-export` | |\n|---|---|"
    yield from (f"| {int(code)} | {code.meaning} |" for code in ExitCode)
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
    yield "| type | meaning | fields, besides `type` and `schema` |\n|---|---|---|"
    meanings = dict(re.findall(r"`(\w+)`: (.*?)[;.](?: |$)", field_docstrings(Event)["type"]))
    for event_type, names in FIELDS.items():
        listed = "those of `utterance`" if event_type in ("partial", "provisional") else ", ".join(names)
        yield f"| `{event_type}` | {meanings[event_type]} | {listed} |"
    yield "\nA line of each, with an utterance that goes on after a pause:\n\n```json"
    yield from (event.to_json() for event in _examples())
    yield "```\n"
    yield (
        f"[{EVENT_SCHEMA.name}]({EVENT_SCHEMA.name}) is the JSON Schema of a line. `events.early = false` leaves out "
        "`speech_start`, `provisional` and `resumed`; `partial` comes with `partials.every_s`. CSV and `affectd "
        "analyze` have only `utterance`, `error` and a `status` of a file. An utterance that is cut, at its maximum "
        "length or by the end of "
        "the source or lost audio, gets its last `provisional` together with its `utterance`. Reasons of `skipped`: "
        f"{_listed('skipped')}; of `status`: {_listed('status')}.\n"
    )
    yield from _fields(Event)
    yield f"`speaker` is null, or has these fields ({_first(SpeakerMatch).removesuffix('.').lower()}):\n"
    yield from _fields(SpeakerMatch)
    yield (
        "CSV (`affectd analyze --csv`, an output of type `csv`) has a line for each `utterance`, `error` and "
        "`status` of a file under the "
        f"heading `{','.join(COLUMNS)}` and a column for each label. They are the fields of these names; `speaker` is "
        "the person's name alone, `path` the source's where there is no file, `error` and `note` the message. A file "
        "of an earlier call is replaced, and no other file.\n"
    )


def _listed(event_type: str) -> str:
    return ", ".join(f"`{reason}`" for reason in REASONS[event_type])


def _examples() -> Iterator[Event]:
    """Yield an event of each type."""
    scores = {"neutral": 0.08, "happy": 0.81, "sad": 0.03, "angry": 0.02, "fear": 0.01, "disgust": 0.01}
    about = {
        "start_s": 4.2, "speaker": SpeakerMatch("Ann", 0.97), "emotion": "happy", "confidence": 0.81,
        "scores": scores | {"surprise": 0.04}, "relative": RELATIVE, "speech": 0.99, "adapted": True,
        "room": 0.25, "bucket_s": 2.5, "provider": "CPUExecutionProvider",
    }  # fmt: skip
    stages = {"queue": 0.4, "encoder": 14.1, "speaker": 6.2, "adapt": 0.1, "head": 0.1}
    early = {"endpoint": 90.0, "capture": 0.2, **stages, "total": 111.1}
    late = {"endpoint": 510.0, "capture": 0.2, **stages, "total": 510.4, "provisional": 111.1}
    at = "2026-01-02T03:04:0"
    for event_type, time, fields_ in (
        ("status", "1.000", {"reason": "ready", "message": "ready: bundle default 4 on CPUExecutionProvider"}),
        ("speech_start", "5.530", {"id": 1, "revision": 0, "start_s": 4.2}),
        ("partial", "6.240", {"id": 1, "revision": 1, "end_s": 5.2, **about, "latency_ms": early}),
        ("provisional", "6.561", {"id": 1, "revision": 2, "end_s": 5.3, **about, "latency_ms": early}),
        ("resumed", "6.630", {"id": 1, "revision": 3, "start_s": 4.2, "end_s": 5.6}),
        ("provisional", "7.861", {"id": 1, "revision": 4, "end_s": 6.6, **about, "latency_ms": early}),
        ("utterance", "8.110", {"id": 1, "revision": 5, "end_s": 6.6, **about, "latency_ms": late}),
        (
            "skipped", "9.940",
            {"id": 2, "revision": 1, "start_s": 7.9, "end_s": 8.4, "reason": "too_slow",
             "message": "the encoder is too slow: 8 newer utterances were waiting"},
        ),
        ("error", "9.990", {"message": "talk.wav: broke off"}),
    ):  # fmt: skip
        yield Event(event_type, "talk.wav", f"{at}{time}+01:00", **fields_)


def event_schema() -> str:
    """Return the JSON Schema of an event, one alternative for each type."""
    described = TypeAdapter(Event).json_schema()
    meanings = field_docstrings(Event)
    speaker = described["$defs"]["SpeakerMatch"]
    properties = {}
    for name, found in described["properties"].items():
        kinds = [kind for kind in found.get("anyOf", [found]) if kind.get("type") != "null"]
        kind = {key: value for key, value in kinds[0].items() if key not in ("default", "title")}
        properties[name] = kind | {"description": meanings.get(name, "Of this event.")}
    people = {name: {"type": kind["type"]} for name, kind in speaker["properties"].items()}
    somebody = {"type": "object", "properties": people, "required": list(people), "additionalProperties": False}
    properties["speaker"] = {"anyOf": [somebody, {"type": "null"}], "description": meanings["speaker"]}
    ranged = described["$defs"]["Value"]
    ranged_value = {"type": "object", "properties": {name: {"type": "number"} for name in ranged["properties"]}}
    ranged_value |= {"required": list(ranged["properties"]), "additionalProperties": False}
    properties["values"] = properties["values"] | {"additionalProperties": ranged_value}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"An event of affectd, schema {SCHEMA}",
        "oneOf": [_type_schema(event_type, properties) for event_type in get_args(EventType)],
    }
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _type_schema(event_type: EventType, properties: dict[str, dict[str, Any]]) -> dict[str, Any]:
    names = FIELDS[event_type]
    own = {name: properties[name] for name in names}
    if event_type in REASONS:
        own["reason"] = {"type": "string", "enum": list(REASONS[event_type])}
    return {
        "title": event_type,
        "type": "object",
        "properties": {"type": {"const": event_type}, "schema": {"const": SCHEMA}} | own,
        "required": ["type", "schema", *(name for name in names if name not in OPTIONAL_FIELDS[event_type])],
        "additionalProperties": False,
    }


def _fields(record: type) -> Iterator[str]:
    meanings, hints = field_docstrings(record), get_type_hints(record)
    yield "| field | type | default | meaning |\n|---|---|---|---|"
    for field in fields(record):
        hint = hints[field.name]
        kind = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "").replace("edge.event.", "")
        has_default = field.default is not MISSING
        default = f"`{field.default}`" if has_default else "empty" if field.default_factory is not MISSING else ""
        yield f"| `{field.name}` | {kind.replace('|', 'or')} | {default} | {meanings.get(field.name, '')} |"
    yield ""


def _first(found: Any) -> str:
    return (inspect.getdoc(found) or "").replace("``", "`").splitlines()[0]


if __name__ == "__main__":
    for file, text in ((PAGE, page()), (RECIPE_PAGE, recipe_page()), (EVENT_SCHEMA, event_schema())):
        file.write_text(text, encoding="utf-8")
        print(f"{file.name} written", file=sys.stderr)
