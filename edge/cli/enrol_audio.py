"""Where ``affectd enroll`` has its utterances from: recordings, or someone who speaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from edge.bundle import Bundle
from edge.capture import FileSource, Source, is_recording, open_source
from edge.cli.guide import Guide, Log
from edge.cli.kit.display import progress_bar
from edge.errors import AudioFileError
from edge.guided_enrolment import Enough, listen_guided
from edge.hearing import SoundMeter, Window, why_unheard
from edge.people.enrolment import Enrolment, Omission
from edge.recognizer import Recognizer
from edge.room import Room
from edge.room_store import RoomStore
from edge.segmenter import segmented
from edge.settings import Settings
from edge.stream import new_segmenter


class Stop:
    """A request to end, with what there is, that closes the source at hand."""

    def __init__(self) -> None:
        self.wanted = False
        self.source: Source | None = None

    def __call__(self) -> None:
        """Ask to end."""
        self.wanted = True
        if self.source:
            self.source.close()


def read_files(
    enrolment: Enrolment,
    recognizer: Recognizer,
    settings: Settings,
    files: Sequence[Path],
    label_of: Callable[[Path], str | None],
    stop: Stop,
) -> None:
    """Enrol every utterance of the files; one that cannot be read is left out."""
    with progress_bar() as progress:
        for file in progress.track(files):
            if stop.wanted:
                return
            stop.source = FileSource(file)
            meter, windows, voices = SoundMeter(), list[Window](), 0
            try:
                for block, segments in segmented(stop.source.blocks(), new_segmenter(recognizer, settings)):
                    windows += [] if voices else meter.windows(block)
                    enrolment.remarks += [f"{file}: {note.message}" for note in block.notes]
                    for segment in segments:
                        voices += 1
                        enrolment.take(segment, str(file), label_of(file))
                if not voices:
                    why = why_unheard(windows + meter.last(), settings.vad.gate_dbfs)
                    enrolment.left_out.append(Omission(str(file), why))
            except AudioFileError as error:
                enrolment.left_out.append(Omission(str(file), str(error).removeprefix(f"{file}: ")))


def room_of(source: Source | None, bundle: Bundle, settings: Settings) -> Room | None:
    """Return the room of a source as ``affectd run`` has left it; None where that is not remembered."""
    if source is None or is_recording(source) or not (settings.room.enabled and settings.room.remember):
        return None
    return RoomStore(settings).load(source.name, bundle, settings.room)


def listen(
    enrolment: Enrolment,
    recognizer: Recognizer,
    settings: Settings,
    label: str | None,
    enough: Enough,
    stop: Stop,
) -> None:
    """Enrol from the settings' source until there is enough, and show what to say."""
    stop.source = source = open_source(settings.capture)
    console = Console(stderr=True)
    view = Guide(console, enrolment, enough, label is not None) if console.is_terminal else Log()
    try:
        with view:
            segmenter = new_segmenter(recognizer, settings)
            listen_guided(enrolment, source, segmenter, enough, view, label)
    finally:
        source.close()
