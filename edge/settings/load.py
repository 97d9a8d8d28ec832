"""From a file, the environment and the command line to settings, with the origin of each value.

Environment variables are ``AFFECTD_<SECTION>_<KEY>``, for example ``AFFECTD_SEGMENTER_END_SILENCE_S=0.4``, and
``AFFECTD_SOURCES_0_DEVICE`` for the first of a list.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge.errors import UsageError, nearest
from edge.settings.tree import LISTS, SECTIONS, Settings, entry_keys, setting_keys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ENV_PREFIX = "AFFECTD_"
COMMAND_LINE = "command line"

ENTRY = re.compile(rf"(?:{'|'.join(LISTS)})[._](0|[1-9][0-9]{{0,2}})[._]", re.IGNORECASE)
"""The number in the key or the environment variable of an entry of a list."""

SERVICE = re.compile(
    r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|(?P<address>PORT(_\d+_(TCP|UDP|SCTP))?)|PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR))$"
)
"""The end of a variable that says where a service is; an address is one that has a protocol."""

Layer = Iterator[tuple[str, Any, str]]
"""Key, value and origin."""


@dataclass(frozen=True)
class LoadedSettings:
    """Settings with the origin of each value."""

    settings: Settings
    origins: Mapping[str, str]
    """``section.key``, and ``sources.0.key``, to ``default``, ``file PATH``, ``environment NAME``, ``command line``."""
    again: Callable[[], LoadedSettings] | None = None
    """Reads them once more, from where they were read; raises UsageError. None: they are from nowhere."""

    def differences(self, other: LoadedSettings) -> list[str]:
        """Return the keys whose values differ, of a list that is longer or shorter its name."""
        mine, others = self.settings.model_dump(), other.settings.model_dump()
        found = [key for key in setting_keys() if _value(mine, key) != _value(others, key)]
        for section in LISTS:
            pairs = list(zip(mine[section], others[section], strict=False))
            found += [f"{section}.{number}" for number, (one, another) in enumerate(pairs) if one != another]
            found += [section] * (len(mine[section]) != len(others[section]))
        return found


def load_settings(
    file: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    overrides_from: str = COMMAND_LINE,
) -> LoadedSettings:
    """Merge the four layers and validate the result.

    A source that the command line gives to ``[capture]`` stands for all sources of the other layers.

    Args:
        file: TOML file with one table per section, or None.
        environment: variables to read, ``os.environ`` unless given.
        overrides: ``section.key`` to value, above all others; None values are ignored.
        overrides_from: what errors and origins call these.

    Raises:
        UsageError: an unknown section or key (with the nearest name), or a value out of range (with what is allowed).
    """
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    values: dict[str, Any] = {}
    origins = dict.fromkeys(setting_keys(), "default")
    one_source = not given.keys().isdisjoint({"capture.source", "capture.device"})
    for key, value, origin in (
        *_from_file(file),
        *_from_environment(os.environ if environment is None else environment),
        *((key, value, overrides_from) for key, value in given.items()),
    ):
        known = _keys_like(key)
        if key not in known:
            raise UsageError(f"unknown setting {key!r} from {origin}{nearest(key, known)}")
        if not (one_source and key.startswith("sources.") and origin != overrides_from):
            values[key], origins[key] = value, origin
    nested = _nested(values)
    for section in LISTS:
        for number in range(len(nested.get(section, ()))):
            origins |= {key: origins.pop(key, "default") for key in entry_keys(section, number)}
    try:
        return LoadedSettings(Settings.model_validate(nested), origins)
    except ValidationError as error:
        raise UsageError(_explained(error, origins)) from None


def _value(tree: Mapping[str, Any], key: str) -> Any:
    section, name = key.split(".")
    return tree[section][name]


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return sections of keys, and lists of entries of keys."""
    nested: dict[str, Any] = {}
    entries: dict[str, dict[int, dict[str, Any]]] = {}
    for key, value in values.items():
        section, *number, name = key.split(".")
        if number:
            entries.setdefault(section, {}).setdefault(int(number[0]), {})[name] = value
        else:
            nested.setdefault(section, {})[name] = value
    for section, tables in entries.items():
        missing = next((number for number in range(len(tables)) if number not in tables), None)
        if missing is not None:
            raise UsageError(f"{section}.{max(tables)} is set, but there is no {section}.{missing}")
        nested[section] = [tables[number] for number in sorted(tables)]
    return nested


def _explained(error: ValidationError, origins: Mapping[str, str]) -> str:
    first, *others = error.errors()
    parts = [str(part) for part in first["loc"]]
    if first["type"] == "value_error":
        return f"{'.'.join(parts)} {first['ctx']['error']}"
    # A value of one of several types has an error for each, at a place below its key.
    depth = next((depth for depth in range(len(parts), 0, -1) if ".".join(parts[:depth]) in origins), len(parts))
    reasons = [first["msg"], *(other["msg"] for other in others if other["loc"][:depth] == first["loc"][:depth])]
    key = ".".join(parts[:depth])
    return f"setting {key} = {first['input']!r} from {origins.get(key, 'default')}: {'; or '.join(reasons)}"


def _keys_like(text: str) -> list[str]:
    """Return all keys that there are; of the lists those of the entry that a key or variable names, or the first."""
    entry = ENTRY.match(text.removeprefix(ENV_PREFIX))
    number = int(entry[1]) if entry else 0
    return [*setting_keys(), *(key for section in LISTS for key in entry_keys(section, number))]


def _from_file(file: str | Path | None) -> Layer:
    if file is None:
        return
    try:
        tables = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read settings file {file}: {error.strerror}") from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, or an integer of thousands of digits
        raise UsageError(f"settings file {file} is not valid TOML: {error}") from None
    for section, found in tables.items():
        if section in SECTIONS and isinstance(found, dict):
            yield from ((f"{section}.{key}", value, f"file {file}") for key, value in found.items())
        elif section in LISTS and isinstance(found, list) and all(isinstance(table, dict) for table in found):
            for number, table in enumerate(found):
                # An entry that says nothing is one with all defaults.
                for key, value in (table or LISTS[section]().model_dump()).items():
                    yield f"{section}.{number}.{key}", value, f"file {file}"
        else:
            raise UsageError(f"settings file {file}: {_misplaced(section, found)}")


def _misplaced(section: str, found: object) -> str:
    """Return what is wrong with a table, or what stands in its place."""
    if section in LISTS:
        return f"{section} is a list: write [[{section}]] above each entry"
    if section in SECTIONS and isinstance(found, list):
        return f"there is only one {section}: write [{section}]"
    if isinstance(found, (dict, list)):
        return f"unknown section [{section}]{nearest(section, [*SECTIONS, *LISTS])}"
    keys = (key.split(".")[1] for key in setting_keys())
    return f"{section!r} stands outside of a [section]{nearest(section, keys)}"


def _is_service(name: str, value: str) -> bool:
    """Return whether Kubernetes, or Docker for a link, has set a variable: beside a service called affectd it has."""
    match = SERVICE.search(name)
    return bool(match and (not match["address"] or re.match(r"(tcp|udp|sctp)://", value)))


def _from_environment(environment: Mapping[str, str]) -> Layer:
    for name, value in environment.items():
        if not name.startswith(ENV_PREFIX) or _is_service(name, value):
            continue
        known = {ENV_PREFIX + key.replace(".", "_").upper(): key for key in _keys_like(name)}
        if name not in known:
            raise UsageError(f"unknown environment variable {name}{nearest(name, known)}")
        yield known[name], value, f"environment {name}"
