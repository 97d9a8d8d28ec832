"""Rows as they come, for a person at a terminal."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from edge.event import Event
from edge.head import LEAST_SPEECH
from edge.meter import Meter
from edge.outputs.meter_line import bar, meter_line
from edge.people.usual import AS_USUAL, than_usual

BAR_CELLS = 6
BAR_WIDTH, WHOLE_WIDTH = 50, 80
"""Columns of a terminal that the bar and what follows the confidence need; on fewer they are left out, and a file is
named above its rows."""
LEAST_PATH = 12
"""Columns that a path has beside values."""
UNFINISHED = frozenset({"speech_start", "partial", "provisional", "resumed"})
UNREPORTED = {"too_slow": "too slow", "other_voice": "by others"}
EMOTION_STYLES = {
    "happy": "yellow",
    "surprise": "bright_yellow",
    "sad": "blue",
    "angry": "red",
    "fear": "magenta",
    "disgust": "green",
}


class LiveTable:
    """A row per event under one heading. Colours only where the terminal has them and ``NO_COLOR`` is not set.

    On a terminal the last line shows what the sources hear and who is speaking, and then the provisional answer, until
    the final row replaces it.
    """

    name = "table"

    def __init__(self, console: Console) -> None:
        self.console = console
        self.can_refresh = console.is_terminal and not console.is_dumb_terminal
        """The terminal can erase its last line."""
        self._headed = self._has_last_line = False
        self._path: str | None = None
        """File of the latest row."""
        self._unfinished: dict[int, Event] = {}
        """The latest of each utterance that is not over, by id; the last one is on the terminal."""
        self._meters: Sequence[Meter] = ()
        self._unreported: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Name of a source to why there was no answer, or a doubtful one, to how often."""

    def open(self) -> None:
        """Nothing is to prepare."""

    def write(self, event: Event) -> None:
        """Print the event's row."""
        with self.console:  # all at once, so that the line does not flicker
            self._erase()
            if event.id is not None:
                self._unfinished.pop(event.id, None)
            if event.type in UNFINISHED:
                if event.id is not None and self.can_refresh:
                    self._unfinished[event.id] = event
            elif event.type == "utterance":
                self._print_heading(event)
                self._print(_utterance_row(event, self.console.width))
                self._unreported[event.source]["not speech"] += _is_no_speech(event)
            else:
                self.console.print(_message_row(event))
                if event.reason in UNREPORTED:
                    self._unreported[event.source][UNREPORTED[event.reason]] += 1
            self._print_last_line()

    def refresh(self, meters: Sequence[Meter]) -> None:
        """Show what the sources hear, unless the terminal is somebody else's: a shell's that it runs behind."""
        is_ours = _in_foreground(self.console)
        self._meters = meters if is_ours else ()
        if is_ours:
            with self.console:
                self._erase()
                self._print_last_line()

    def close(self) -> None:
        """Leave the terminal's last line to what comes next."""
        self._erase()

    def _print_heading(self, event: Event) -> None:
        width = self.console.width
        if not self._headed:
            self._headed = True
            self._print(_heading(event, width))
        if event.path and event.path != self._path and width < WHOLE_WIDTH:
            self.console.print(Text(_end_of(event.path, width), style="dim"))
        self._path = event.path

    def _print(self, row: Text, end: str = "\n") -> None:
        self.console.print(row, no_wrap=True, overflow="ellipsis", crop=True, end=end)

    def _print_last_line(self) -> None:
        width = self.console.width - 1  # a full line would wrap
        event = list(self._unfinished.values())[-1] if self._unfinished else None
        if event is None:
            row = meter_line(self._meters, self._unreported, width)
        elif event.type in ("speech_start", "resumed"):
            row = Text(f"{_clock(event.start_s or 0.0)}-{'…':<8}", style="dim")
            row = Text("  ").join([row, meter_line(self._meters, self._unreported, width - row.cell_len - 2)])
        else:
            row = _utterance_row(event, self.console.width)
            row.stylize("dim")
        self._has_last_line = bool(row)
        if event:
            self._print_heading(event)
        if row:
            self._print(row, end="")

    def _erase(self) -> None:
        if self._has_last_line:
            self._has_last_line = False
            self.console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))


def _heading(event: Event, width: int) -> Text:
    if width < BAR_WIDTH:
        return Text(f"{'time':<15} {'speaker':<8} {'emotion':<8} conf", style="bold")
    last = "" if width < WHOLE_WIDTH else " file" if event.path else f"room  {'then':<13}  latency"
    return Text(f"{'time':<15}  {'speaker':<8}  {'emotion':<9} {'confidence':<13} {last}", style="bold")


def _utterance_row(event: Event, width: int) -> Text:
    emotion, confidence = event.emotion or "", event.confidence or 0.0
    style = EMOTION_STYLES.get(emotion, "")
    speaker = event.speaker.name if event.speaker else "—"
    if width < BAR_WIDTH:
        row = Text(f"{_span(event):<15} {speaker:<8.8} ")
        row.append(f"{emotion:<8} ", style=f"bold {style}")
        row.append(f"{confidence:4.0%}{'?' if event.needs_review else ''}")
        return row
    row = Text(f"{_span(event):<15}  {speaker:<8.8}  ")
    row.append(f"{emotion:<9} ", style=f"bold {style}")
    row.append(bar(confidence, BAR_CELLS), style=style)
    row.append(f" {confidence:4.0%}{' ?' if event.needs_review else '  '}")
    if width < WHOLE_WIDTH:
        return row
    if event.path:
        row.append("  ")
        row.append(_end_of(event.path, max(LEAST_PATH, width - row.cell_len - len(_values(event)))), style="dim")
    else:
        (label, score), *_ = sorted(event.scores.items(), key=lambda item: -item[1])[1:] or [("", 0.0)]
        row.append(
            f" {event.room:4.0%}  {label:<8} {score:4.0%}  {event.latency_ms.get('total', 0):.0f} ms", style="dim"
        )
    if event.relative:
        change = than_usual(event.relative)
        row.append(f"  {change}", style="dim" if change == AS_USUAL else "bold")
    row.append(_values(event), style="dim")
    if _is_no_speech(event):
        row.append(" not speech?", style="yellow")
    if event.truncated:
        row.append(" …", style="dim")
    if event.dropped_s:
        row.append(f" {event.dropped_s:.1f} s lost", style="yellow")
    return row


def _values(event: Event) -> str:
    return "".join(f"  {name} {each.value:.2f}" for name, each in (event.values or {}).items())


def _message_row(event: Event) -> Text:
    style = {"skipped": "yellow", "error": "red"}.get(event.type, "dim")
    span = f"{_span(event):<15}  " if event.start_s is not None else ""
    kind = "" if event.type == "status" else f"{event.type}: "
    return Text(f"{span}{kind}{event.message}", style=style)


def _is_no_speech(event: Event) -> bool:
    return event.speech is not None and event.speech < LEAST_SPEECH


def _span(event: Event) -> str:
    return f"{_clock(event.start_s or 0.0)}-{_clock(event.end_s or 0.0)}"


def _clock(time_s: float) -> str:
    tenths = round(time_s * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02}.{tenths % 10}"


def _end_of(path: str, width: int) -> str:
    return path if len(path) <= width else "…" + path[max(0, len(path) - width + 1) :]


def _in_foreground(console: Console) -> bool:
    try:
        return os.tcgetpgrp(console.file.fileno()) == os.getpgrp()
    except OSError:  # no terminal of a shell
        return True
