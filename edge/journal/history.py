"""The history: rows of the journal, grouped by day, hour, person and source, or each utterance by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from edge.head import LEAST_SPEECH
from edge.journal.entry import UTTERANCE, Answer, Entry
from edge.people.usual import than_usual

By = Literal["day", "hour", "person", "source"]
NOBODY = "—"
"""In place of a name: a stranger, or somebody uncertain."""
UNREADABLE = "unreadable"
"""Note on an utterance that was sealed with another key."""
ID_CHARS = 8
"""Of the id of somebody who is not enrolled any more, in place of a name."""


@dataclass
class Group:
    """Utterances that have in common what they are grouped by, and what else happened."""

    keys: tuple[str, ...]
    """One for each of ``History.by``."""
    utterances: int = 0
    duration_s: float = 0.0
    emotions: Counter[str] = field(default_factory=Counter)
    """How often each was the most probable, where it was speech."""
    needs_review: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    """Why there was no utterance, or none with an emotion, to how often."""
    _changes: dict[str, float] = field(default_factory=dict)
    _changed: int = 0

    @property
    def relative(self) -> dict[str, float] | None:
        """Label to how far its log-odds were above the usual ones in the mean; None where nobody's usual is known."""
        return {label: change / self._changed for label, change in self._changes.items()} or None

    def share(self, emotion: str) -> float:
        """Return the share of an emotion among what was speech, 0 to 1."""
        return self.emotions[emotion] / max(1, self.emotions.total())

    def add(self, entry: Entry) -> None:
        """Count a row of the journal."""
        if entry.fact != UTTERANCE:
            self.notes[entry.fact] += 1
            return
        self.utterances += 1
        if entry.answer is None:
            self.notes[UNREADABLE] += 1
        else:
            self._add(entry.answer)

    def _add(self, answer: Answer) -> None:
        self.duration_s += answer.duration_s
        self.needs_review += answer.needs_review
        if answer.speech is not None and answer.speech < LEAST_SPEECH:
            self.notes["no_speech"] += 1
            return
        self.emotions[answer.emotion] += 1
        self._changed += bool(answer.relative)
        for label, change in (answer.relative or {}).items():
            self._changes[label] = self._changes.get(label, 0.0) + change


@dataclass(frozen=True)
class History:
    """Groups in order, and the labels of their emotions."""

    by: tuple[By, ...]
    groups: Sequence[Group]
    labels: Sequence[str]
    """In the order of the bundle."""

    @classmethod
    def of(cls, entries: Iterable[Entry], by: tuple[By, ...], names: Mapping[str, str]) -> History:
        """Group the rows of a journal.

        Args:
            entries: in the order of time.
            by: what to group by, in this order. With persons, what is about nobody is left out.
            names: of people, by id.
        """
        groups: dict[tuple[str, ...], Group] = {}
        labels: dict[str, None] = {}
        for entry in entries:
            if entry.fact == UTTERANCE or "person" not in by:
                keys = tuple(_key(entry, each, names) for each in by)
                groups.setdefault(keys, Group(keys)).add(entry)
            if entry.answer:
                labels.update(dict.fromkeys(entry.answer.scores))
        return cls(by, sorted(groups.values(), key=lambda group: group.keys), list(labels))

    def records(self) -> list[dict[str, Any]]:
        """Return the groups for programs."""
        return [
            dict(zip(self.by, group.keys, strict=True))
            | {
                "utterances": group.utterances,
                "duration_s": round(group.duration_s, 1),
                "needs_review": group.needs_review,
                "emotions": {label: round(group.share(label), 4) for label in self.labels},
                **_relative(group.relative),
                "notes": dict(group.notes.most_common()),
            }
            for group in self.groups
        ]


def utterance_record(entry: Entry, names: Mapping[str, str]) -> dict[str, Any]:
    """Return an utterance for programs; without ``emotion`` and what follows where it was sealed with another key."""
    record = {
        "time": entry.time.isoformat(timespec="milliseconds"),
        "source": entry.source,
        "person": name_of(entry.person, names),
    }
    answer = entry.answer
    if answer is None:
        return record
    return record | {
        "certainty": answer.certainty,
        "emotion": answer.emotion,
        "confidence": answer.confidence,
        "speech": answer.speech,
        "duration_s": answer.duration_s,
        "needs_review": answer.needs_review,
        "scores": answer.scores,
        **_relative(answer.relative),
    }


def name_of(person: str | None, names: Mapping[str, str]) -> str:
    """Return what to call whoever has this id."""
    return NOBODY if person is None else names.get(person, person[:ID_CHARS])


def _relative(relative: dict[str, float] | None) -> dict[str, Any]:
    rounded = relative and {label: round(change, 4) for label, change in relative.items()}
    return {"than_usual": than_usual(relative) if relative else None, "relative": rounded}


def _key(entry: Entry, by: By, names: Mapping[str, str]) -> str:
    if by == "person":
        return name_of(entry.person, names)
    if by == "source":
        return entry.source
    return entry.time.strftime("%Y-%m-%d" if by == "day" else "%Y-%m-%d %H:00")
