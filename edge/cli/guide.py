"""What is seen while someone enrols by voice: what to read, how loud they are, how much has been collected."""

from __future__ import annotations

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from edge.audio import Waveform
from edge.cli.kit.display import say
from edge.meter import Meter
from edge.outputs.meter_line import bar, level_bar
from edge.people.enrolment import Enrolment, Take
from edge.people.quality import QUIET_DBFS, recording_doubts

METER_CELLS, COUNT_CELLS = 40, 8

ENDING = " · Ctrl-C ends it and keeps what there is"
PROMPTS = (
    ("as you usually talk", "The ferry leaves the harbour at a quarter past eight, unless thick fog rolls in."),
    ("happy, with good news", "You won't believe it: they loved the whole idea, and we start on Thursday!"),
    ("annoyed", "I have asked four times now, and nobody bothers to give me a clear answer."),
    ("calm and slow", "Just breathe out, put both feet on the ground, and watch the clouds go by."),
    ("surprised", "Wait, is that a young fox, sitting right there on the kitchen chair?"),
    ("tired or sad", "The old house is sold, so this was our last evening under the cherry tree."),
    ("in a hurry", "Grab the blue jacket, check the gas, and shut the door, the bus is coming!"),
    ("worried", "Something was moving behind the shed, though I could hardly see a thing."),
    ("telling a joke", "My uncle taught his parrot to whistle, and now it judges how we sing."),
    ("as you usually talk", "Put three large onions, some ginger and a pinch of sugar into the pan."),
)
"""A mood and a sentence for each utterance, in turn; together they have nearly all the sounds of English."""


class Log:
    """One line per utterance, for a log."""

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None: ...

    def follow_level(self, samples: Waveform) -> None:
        """Say nothing."""

    def show(self, take: Take) -> None:
        """Say what became of an utterance."""
        say(f"{take.place}: {_outcome(take)}")


class Guide:
    """A live display on a terminal."""

    def __init__(self, console: Console, enrolment: Enrolment, clips: int, seconds: float, neutral: bool) -> None:
        self._enrolment, self._clips, self._seconds, self._neutral = enrolment, clips, seconds, neutral
        self._level, self._utterances = Meter(), 0
        self._last = Text("listening …", style="dim")
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=10, transient=True)

    def __enter__(self) -> Guide:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def follow_level(self, samples: Waveform) -> None:
        """Move the meter."""
        self._level.follow(samples)

    def show(self, take: Take) -> None:
        """Go on to the next sentence, or say what was wrong."""
        doubts = recording_doubts([take.sound])
        self._last = Text(_outcome(take), style="yellow" if take.fault or doubts else "green")
        self._utterances += take.fault is None

    def _render(self) -> Group:
        mood, sentence = PROMPTS[self._utterances % len(PROMPTS)]
        said = self._enrolment.speech_s
        return Group(
            Text.assemble(("Enrolling ", "dim"), (self._enrolment.person.name, "bold"), (ENDING, "dim")),
            Text(""),
            Text.assemble(("Read this aloud, or say what you like, ", "dim"), "calmly" if self._neutral else mood, ":"),
            Text(f"  {sentence}\n", style="bold"),
            self._meter(),
            Text.assemble(
                ("heard  ", "dim"),
                bar(min(1.0, len(self._enrolment.added) / self._clips), COUNT_CELLS),
                f" {len(self._enrolment.added)} of {self._clips} utterances, {said:.0f} of {self._seconds:.0f} s",
            ),
            Text.assemble(("last   ", "dim"), self._last),
        )

    def _meter(self) -> Text:
        level_dbfs = self._level.level_dbfs
        drawn = level_bar(self._level, METER_CELLS, "green" if level_dbfs > QUIET_DBFS else "yellow")
        note = " too loud" if self._level.is_clipping else ""
        return Text.assemble(("level  ", "dim"), drawn, f" {level_dbfs:3.0f} dBFS", (note, "red"))


def _outcome(take: Take) -> str:
    if take.fault:
        return f"left out, {take.fault}"
    return "; ".join([f"kept {take.duration_s:.1f} s", *recording_doubts([take.sound])])
