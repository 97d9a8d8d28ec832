"""What is seen while someone enrols by voice: what to read, how loud they are, how much has been collected."""

from __future__ import annotations

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from edge.audio import Waveform
from edge.cli.kit.display import say
from edge.guided_enrolment import Enough, outcome
from edge.meter import Meter
from edge.outputs.meter_line import bar, level_bar
from edge.people.enrolment import Enrolment, Take
from edge.people.prompts import PROMPTS
from edge.people.quality import QUIET_DBFS, recording_doubts

METER_CELLS, COUNT_CELLS = 40, 8

ENDING = " · Ctrl-C ends it and keeps what there is"


class Log:
    """One line per utterance, for a log."""

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None: ...

    def follow(self, samples: Waveform, voiced: bool) -> None:
        """Say nothing."""

    def show(self, take: Take) -> None:
        """Say what became of an utterance."""
        say(f"{take.place}: {outcome(take)}")


class Guide:
    """A live display on a terminal."""

    def __init__(self, console: Console, enrolment: Enrolment, enough: Enough, neutral: bool) -> None:
        self._enrolment, self._enough, self._neutral = enrolment, enough, neutral
        self._level, self._utterances = Meter(), 0
        self._last = Text("listening …", style="dim")
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=10, transient=True)

    def __enter__(self) -> Guide:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def follow(self, samples: Waveform, voiced: bool) -> None:
        """Move the meter."""
        self._level.follow(samples, voiced)

    def show(self, take: Take) -> None:
        """Go on to the next sentence, or say what was wrong."""
        doubts = recording_doubts([take.sound])
        self._last = Text(outcome(take), style="yellow" if take.fault or doubts else "green")
        self._utterances += take.fault is None

    def _render(self) -> Group:
        mood, sentence = PROMPTS[self._utterances % len(PROMPTS)]
        said, enough = self._enrolment.speech_s, self._enough
        return Group(
            Text.assemble(("Enrolling ", "dim"), (self._enrolment.person.name, "bold"), (ENDING, "dim")),
            Text(""),
            Text.assemble(("Read this aloud, or say what you like, ", "dim"), "calmly" if self._neutral else mood, ":"),
            Text(f"  {sentence}\n", style="bold"),
            self._meter(),
            Text.assemble(
                ("heard  ", "dim"),
                bar(min(1.0, len(self._enrolment.added) / enough.clips), COUNT_CELLS),
                f" {len(self._enrolment.added)} of {enough.clips} utterances, {said:.0f} of {enough.speech_s:.0f} s",
            ),
            Text.assemble(("last   ", "dim"), self._last),
        )

    def _meter(self) -> Text:
        level_dbfs = self._level.level_dbfs
        drawn = level_bar(self._level, METER_CELLS, "green" if level_dbfs > QUIET_DBFS else "yellow")
        note = " too loud" if self._level.is_clipping else ""
        return Text.assemble(("level  ", "dim"), drawn, f" {level_dbfs:3.0f} dBFS", (note, "red"))
