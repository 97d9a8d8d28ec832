"""``affectd enroll``: asks, listens or reads, and says what it came to."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.text import Text

from edge.analyze import find_audio
from edge.bundle import Bundle
from edge.capture import FileSource, Source, open_source
from edge.cli.kit.display import confirmed, new_table, say, screen
from edge.commands.guide import Guide, Log
from edge.errors import AudioFileError, UsageError
from edge.people.clip_labels import read_labels, real_path
from edge.people.consent import CONSENT_VERSION, consent_text
from edge.people.enrolment import Enrolled, Enrolment, Omission, listen
from edge.people.roster import known_person
from edge.people.store import SpeakerStore
from edge.people.store.person import Consent, Person, clean_name
from edge.pipeline import new_segmenter
from edge.recognizer import Recognizer
from edge.settings import Settings

NEUTRAL = "neutral"


@dataclass(frozen=True)
class Wish:
    """What the command line asks for."""

    name: str
    paths: tuple[Path, ...]
    """Files and folders; none is the settings' source."""
    neutral: bool
    labels: Path | None
    clips: int
    """Enough from a source, together with ``seconds``."""
    seconds: float
    yes: bool
    may_refine: bool


class Stop:
    """A request to end that closes the source at hand."""

    def __init__(self) -> None:
        self.wanted = False
        self.source: Source | None = None

    def __call__(self) -> None:
        """Ask to end."""
        self.wanted = True
        if self.source:
            self.source.close()


def enroll_person(wish: Wish, settings: Settings, as_json: bool) -> int:
    """Enrol; return the exit code, 1 when the consent was refused or nothing was of use."""
    name = clean_name(wish.name)
    bundle = Bundle.load(settings.encoder.bundle_folder)
    label_of = _labels(wish, bundle)
    files = find_audio(wish.paths) if wish.paths else []
    if wish.labels and not any(label_of(file) for file in files):
        raise UsageError(f"{wish.labels}: names none of the files to enrol")
    with SpeakerStore.open(settings.speakers.store_folder) as store:
        known = known_person(store, name)
        person = _greet(known, wish, store) if known else _newcomer(name, wish, store.path.parent)
        if person is None:
            say(f"{name} has not agreed, so nothing was kept")
            return 1
        recognizer = Recognizer(bundle, settings.encoder)
        recognizer.load(voiceprints=bundle.manifest.speaker is not None)
        enrolment = Enrolment(store, recognizer, person, is_new=known is None)
        with _interruptible() as stop:
            if files:
                _read_files(enrolment, recognizer, settings, files, label_of, stop)
            else:
                _listen(enrolment, recognizer, settings, wish, stop)
        enrolled = enrolment.finish()
    _tell(enrolled, bundle, as_json)
    return 0 if enrolled.added or enrolled.repeated or enrolled.revision else 1


def _labels(wish: Wish, bundle: Bundle) -> Callable[[Path], str | None]:
    """Return what tells a file's emotion.

    Raises:
        UsageError: the options contradict each other, or the labels are not the bundle's.
    """
    if wish.neutral and wish.labels:
        raise UsageError("--neutral and --labels contradict each other")
    if wish.labels and not wish.paths:
        raise UsageError("--labels needs the recordings that it names: affectd enroll NAME PATH... --labels FILE")
    if wish.labels:
        labels = read_labels(wish.labels, bundle.manifest.labels)
        return lambda file: labels.get(real_path(file))
    if wish.neutral and NEUTRAL not in bundle.manifest.labels:
        raise UsageError(f"--neutral: this bundle only knows {', '.join(bundle.manifest.labels)}")
    return lambda _file: NEUTRAL if wish.neutral else None


def _newcomer(name: str, wish: Wish, store: Path) -> Person | None:
    """Return someone who has agreed, not in the store yet; None if they have not.

    Raises:
        UsageError: there is nobody to ask.
    """
    if wish.yes:
        consent = Consent(text_version=CONSENT_VERSION, how="--yes")
        return Person(name=name, consent=consent, may_refine=wish.may_refine)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"{name} must agree first: run this on a terminal, or with --yes if they have agreed")
    print(f"{consent_text(name, store)}\n", file=sys.stderr)
    if not confirmed(f"Does {name} agree?"):
        return None
    return Person(name=name, consent=Consent(text_version=CONSENT_VERSION, how="asked"), may_refine=wish.may_refine)


def _greet(person: Person, wish: Wish, store: SpeakerStore) -> Person:
    clips = sum(store.clip_counts(person).values())
    say(f"{person.name} agreed on {person.consent.given_at:%Y-%m-%d} and has {clips} clips; adding to these")
    if wish.may_refine and not person.may_refine:
        return store.allow_refinement(person.name, True)
    return person


def _read_files(
    enrolment: Enrolment,
    recognizer: Recognizer,
    settings: Settings,
    files: Sequence[Path],
    label_of: Callable[[Path], str | None],
    stop: Stop,
) -> None:
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        for file in progress.track(files):
            if stop.wanted:
                return
            stop.source = FileSource(file)
            voices = 0
            try:
                for _, segments in listen(stop.source, new_segmenter(recognizer, settings)):
                    for segment in segments:
                        voices += 1
                        enrolment.take(segment, str(file), label_of(file))
                if not voices:
                    enrolment.left_out.append(Omission(str(file), "no voice in it"))
            except AudioFileError as error:
                enrolment.left_out.append(Omission(str(file), str(error).removeprefix(f"{file}: ")))


def _listen(enrolment: Enrolment, recognizer: Recognizer, settings: Settings, wish: Wish, stop: Stop) -> None:
    label = NEUTRAL if wish.neutral else None
    stop.source = source = open_source(settings.capture)
    console = Console(stderr=True)
    view = Guide(console, enrolment, wish.clips, wish.seconds, wish.neutral) if console.is_terminal else Log()
    try:
        with view:
            for block, segments in listen(source, new_segmenter(recognizer, settings)):
                view.hear(block.samples)
                for segment in segments:
                    view.show(enrolment.take(segment, source.name, label))
                if len(enrolment.added) >= wish.clips and enrolment.speech_s >= wish.seconds:
                    return
    except AudioFileError as error:
        enrolment.left_out.append(Omission(source.name, str(error).removeprefix(f"{source.name}: ")))
    finally:
        source.close()


@contextmanager
def _interruptible() -> Iterator[Stop]:
    """Let the first Ctrl-C or SIGTERM keep what there is; the second ends the process."""
    stop = Stop()

    def handle(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(enrolled: Enrolled, bundle: Bundle, as_json: bool) -> None:
    for omission in enrolled.left_out:
        say(f"left out {omission.place}: {omission.reason}")
    if enrolled.repeated:
        say(f"{enrolled.repeated} clips were enrolled already")
    for doubt in enrolled.doubts:
        say(f"warning: {doubt}")
    if enrolled.clips and not enrolled.recognisable:
        lack = "no speaker encoder" if bundle.manifest.speaker is None else "another speaker encoder"
        say(f"warning: this bundle has {lack}: {enrolled.name} is known only where --speaker names them")
    if not enrolled.clips:
        say(f"nothing of use was heard, so nothing of {enrolled.name} is kept")
    if as_json:
        print(json.dumps(asdict(enrolled)))
    elif enrolled.clips:
        table = new_table("name", "added", "clips", "speech", "trust", "recognised", "revision", "warnings")
        table.add_row(
            Text(enrolled.name),
            str(enrolled.added),
            str(enrolled.clips),
            f"{enrolled.speech_s:.1f} s",
            f"{enrolled.trust:.0%}",
            "yes" if enrolled.recognisable else "no",
            str(enrolled.revision or "unchanged"),
            str(len(enrolled.doubts)),
        )
        screen().print(table)
