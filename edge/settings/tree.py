"""All settings together: the sections in the order of the pipeline, then lists of sources and outputs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from edge.folders import expanded
from edge.settings.doors import MqttSettings, WebSettings
from edge.settings.section import Names, Section
from edge.settings.sections import (
    CaptureSettings,
    DecisionSettings,
    EncoderSettings,
    EventSettings,
    OverloadSettings,
    PartialSettings,
    RoomSettings,
    SegmenterSettings,
    SpeakerSettings,
    VadSettings,
)


class SourceSettings(CaptureSettings):
    """One of several sources of `affectd run`; without any, `[capture]` is the only one. At most one is `-`."""

    name: str = ""
    """What its events call it, and its room is kept under; empty is the name of the microphone or file, or `-`."""
    speakers: Names = ()
    """Enrolled people whom this source is bound to, separated by commas; empty is as `speakers.only` says."""

    @property
    def people(self) -> tuple[str, ...]:  # noqa: D102
        return self.speakers

    @property
    def key(self) -> str:  # noqa: D102
        return self.name or super().key

    @property
    def label(self) -> str:
        """What tells it from the others."""
        return self.name or (self.device if self.source == "mic" else "") or Path(self.source).name


class OutputSettings(Section):
    """One of several outputs of `affectd run`, which all get every event; without any, it is a table on a terminal
    and JSON lines in a pipe."""

    type: Literal["table", "json", "csv", "journal"] = "json"
    """Rows for people, JSON lines for programs, a line per utterance for a spreadsheet, or an encrypted journal for
    `affectd history`, one at most."""
    path: str = ""
    """File that it is written to. One of an earlier run is replaced, and no other file, but a journal is continued;
    empty is standard output, for one output at most, and of a journal `journal.db` beside the speaker store. A table is
    never in a file."""
    append: bool = False
    """Continue the file of an earlier run instead of replacing it, as a service that may be started again wants."""
    days: Annotated[int, Field(ge=1, le=3_650)] = 30
    """Days for which a journal keeps what was heard."""

    @property
    def is_shown(self) -> bool:
        """It is on standard output."""
        return not self.path and self.type != "journal"


class Settings(Section):
    """Every setting of the device side: a section per stage, then the lists."""

    capture: CaptureSettings = CaptureSettings()
    vad: VadSettings = VadSettings()
    segmenter: SegmenterSettings = SegmenterSettings()
    partials: PartialSettings = PartialSettings()
    encoder: EncoderSettings = EncoderSettings()
    overload: OverloadSettings = OverloadSettings()
    speakers: SpeakerSettings = SpeakerSettings()
    room: RoomSettings = RoomSettings()
    decision: DecisionSettings = DecisionSettings()
    events: EventSettings = EventSettings()
    web: WebSettings = WebSettings()
    mqtt: MqttSettings = MqttSettings()
    sources: tuple[SourceSettings, ...] = ()
    outputs: tuple[OutputSettings, ...] = ()

    @property
    def entries(self) -> tuple[CaptureSettings, ...]:
        """What is listened to: the sources, or without any the one of ``capture``."""
        return self.sources or (self.capture,)

    @field_validator("sources")
    @classmethod
    def _sources_differ(cls, sources: tuple[SourceSettings, ...]) -> tuple[SourceSettings, ...]:
        seen: dict[str, int] = {}
        places: dict[str, int] = {}
        for number, source in enumerate(sources):
            if "://" in source.source or source.source.startswith("unix:"):
                other = places.setdefault(source.source.rstrip("/"), number)
                if other != number:
                    raise ValueError(f"{other} and {number} both wait at {source.source}: give each an address")
            same = seen.setdefault(source.label, number)
            if same != number:
                raise ValueError(f"{same} and {number} are both called {source.label!r}: give each a name of its own")
        _at_most_one("on standard input, where only one of sources can be", [each.source == "-" for each in sources])
        return sources

    @field_validator("outputs")
    @classmethod
    def _outputs_differ(cls, outputs: tuple[OutputSettings, ...], info: ValidationInfo) -> tuple[OutputSettings, ...]:
        sources = info.data.get("sources") or [info.data.get("capture", CaptureSettings())]
        taken = {_real(each.source): "which is read" for each in sources if each.source not in {"mic", "-"}}
        for number, output in enumerate(outputs):
            if output.type == "table" and output.path:
                raise ValueError(f"{number} is a table, which is only for standard output: a file is json or csv")
            if output.path:
                if how := taken.get(_real(output.path)):
                    raise ValueError(f"{number} would replace {output.path}, {how}")
                taken[_real(output.path)] = f"which {number} writes"
        is_journal = [output.type == "journal" for output in outputs]
        _at_most_one("journals, of which there can be only one", is_journal)
        _at_most_one("on standard output, where only one of outputs can be", [each.is_shown for each in outputs])
        return outputs


SECTIONS: dict[str, type[BaseModel]] = {
    name: type(field.default) for name, field in Settings.model_fields.items() if isinstance(field.default, BaseModel)
}
LISTS: dict[str, type[BaseModel]] = {"sources": SourceSettings, "outputs": OutputSettings}
"""Sections of which there may be several, ``[[sources]]``: their keys are ``sources.0.name`` and so on."""


def setting_keys() -> list[str]:
    """Return every ``section.key`` in the order of the pipeline, without those of the lists."""
    return [f"{section}.{key}" for section, kind in SECTIONS.items() for key in kind.model_fields]


def entry_keys(section: str, number: int) -> list[str]:
    """Return every key of an entry of a list."""
    return [f"{section}.{number}.{key}" for key in LISTS[section].model_fields]


def _real(path: str) -> str:
    return os.path.realpath(expanded(path))


def _at_most_one(what: str, there: list[bool]) -> None:
    numbers = [str(number) for number, is_there in enumerate(there) if is_there]
    if len(numbers) > 1:
        raise ValueError(f"{' and '.join(numbers)} are all {what}")
