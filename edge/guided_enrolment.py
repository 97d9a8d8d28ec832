"""Enrolment of somebody who speaks now, at a terminal or in a browser, and of what they said until it is enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge.audio import Waveform
from edge.capture import Source
from edge.errors import AudioFileError
from edge.people.enrolment import Enrolment, Omission, Take
from edge.people.quality import recording_doubts
from edge.segmenter import Segmenter, segmented


@dataclass(frozen=True)
class Enough:
    """When to stop listening."""

    clips: int = 8
    speech_s: float = 20.0

    def is_met(self, enrolment: Enrolment) -> bool:
        """There are so many clips, and so much speech in them."""
        return len(enrolment.added) >= self.clips and enrolment.speech_s >= self.speech_s


class View(Protocol):
    """What somebody sees while they speak."""

    def follow(self, samples: Waveform, voiced: bool) -> None:
        """Take the next ``float32[n]`` (16 kHz, ±1), and whether voice activity hears a voice in it."""

    def show(self, take: Take) -> None:
        """Show what became of an utterance."""


def listen_guided(
    enrolment: Enrolment,
    source: Source,
    segmenter: Segmenter,
    enough: Enough,
    view: View,
    label: str | None = None,
) -> None:
    """Enrol each utterance of a source until there is enough, or it ends.

    Args:
        enrolment: takes the utterances.
        source: that is heard, and left to the caller to close; one that fails is left out from there on.
        segmenter: that has heard nothing.
        enough: when to stop.
        view: is told of everything.
        label: emotion of all of it, where that is known.

    Raises:
        StoreError: a clip cannot be written.
        AudioDeviceError: the microphone cannot be opened.
    """
    try:
        for block, segments in segmented(source.blocks(), segmenter):
            view.follow(block.samples, segmenter.hears_voice)
            enrolment.remarks += [f"{source.name}: {note.message}" for note in block.notes]
            for segment in segments:
                view.show(enrolment.take(segment, source.name, label))
            if enough.is_met(enrolment):
                return
    except AudioFileError as error:
        enrolment.left_out.append(Omission(source.name, str(error).removeprefix(f"{source.name}: ")))


def outcome(take: Take) -> str:
    """Return in a line what became of an utterance."""
    if take.fault:
        return f"left out, {take.fault}"
    return "; ".join([f"kept {take.duration_s:.1f} s", *recording_doubts([take.sound])])
