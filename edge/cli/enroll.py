"""``affectd enroll``."""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from edge.cli.kit.display import confirmed, new_table, print_table, say
from edge.cli.kit.entry import examples
from edge.cli.kit.options import Debug, Json, with_settings
from edge.cli.kit.signals import stop_on_signals
from edge.errors import UsageError

if TYPE_CHECKING:
    from edge.bundle import Bundle
    from edge.people.enrolment import Enrolled
    from edge.people.store import SpeakerStore
    from edge.people.store.person import Person
    from edge.settings import LoadedSettings

NEUTRAL = "neutral"
EnrolmentOption = partial(typer.Option, rich_help_panel="Enrolment")
app = typer.Typer()


@app.command(
    epilog=examples(
        "affectd enroll anna                           at the microphone, guided",
        "affectd enroll anna recordings/ --yes         from files; she has agreed",
        "affectd enroll anna calm/ --neutral           all of them spoken calmly",
        "affectd enroll anna clips/ --labels clips.csv their emotions are known: a CSV file path,emotion",
        "affectd speakers list                         who is enrolled; forget, export and more are there too",
    )
)
@with_settings("source", "rate", "realtime", "device", "store", "bundle", "provider")
def enroll(
    name: Annotated[str, typer.Argument(help="Who it is; adds to the profile of someone enrolled.", metavar="NAME")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Their recordings, and folders to search.", metavar="PATH", show_default="microphone"),
    ] = None,
    *,
    neutral: Annotated[bool, EnrolmentOption("--neutral", help="All of it is spoken calmly.")] = False,
    labels: Annotated[
        Path | None, EnrolmentOption(help="CSV file path,emotion of known emotions.", metavar="FILE")
    ] = None,
    clips: Annotated[int, EnrolmentOption(help="Utterances that are enough, without PATH.", min=1)] = 8,
    seconds: Annotated[float, EnrolmentOption(help="Speech that is enough, without PATH.", min=0)] = 20.0,
    yes: Annotated[bool, EnrolmentOption("--yes", help="They have agreed; do not ask. Recorded as such.")] = False,
    may_refine: Annotated[
        bool, EnrolmentOption("--may-refine", help="They agree that running refines their profile.")
    ] = False,
    loaded: LoadedSettings,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Get to know someone's voice, so that they are recognised and judged by how they usually sound.

    Asks for their consent first. What is kept is numbers, encrypted, and no recording; every clip is safe as soon as
    it is heard, so Ctrl-C and power cuts lose nothing, and a repeated enrolment adds only what is new. Eight
    utterances in different moods are a good start.
    """
    from edge.bundle import Bundle
    from edge.cli.enrol_audio import Stop, listen, read_files, room_of
    from edge.guided_enrolment import Enough
    from edge.people.enrolment import Enrolment
    from edge.people.store import SpeakerStore
    from edge.people.store.person import clean_name
    from edge.recognizer import Recognizer
    from edge.recordings import find_audio

    settings = loaded.settings
    if paths and loaded.origins["capture.source"] == "command line":
        raise UsageError("enroll takes recordings from PATH or from --source, not both")
    name = clean_name(name)
    bundle = Bundle.load(settings.encoder.bundle_folder)
    label_of = _label_of(paths, neutral, labels, bundle)
    files = find_audio(paths) if paths else []
    if labels and not any(label_of(file) for file in files):
        raise UsageError(f"{labels}: names none of the files to enrol")
    with SpeakerStore.open(settings.speakers.store_folder) as store:
        known = store.find(name)
        person = _greeted(known, may_refine, store) if known else _newcomer(name, yes, may_refine, store.path.parent)
        if person is None:
            say(f"{name} has not agreed, so nothing was kept")
            raise typer.Exit(1)
        recognizer = Recognizer(bundle, settings.encoder)
        recognizer.load(voiceprints=bundle.manifest.speaker is not None)
        enrolment = Enrolment(store, recognizer, person, is_new=known is None)
        stop = Stop()
        with stop_on_signals(stop):
            if files:
                read_files(enrolment, recognizer, settings, files, label_of, stop)
            else:
                enough = Enough(clips, seconds)
                listen(enrolment, recognizer, settings, NEUTRAL if neutral else None, enough, stop)
        enrolled = enrolment.finish(room_of(stop.source, bundle, settings))
    _report(enrolled, bundle, json)
    raise typer.Exit(0 if enrolled.added or enrolled.repeated or enrolled.revision else 1)


def _label_of(
    paths: list[Path] | None, neutral: bool, labels: Path | None, bundle: Bundle
) -> Callable[[Path], str | None]:
    """Return what gives a file's emotion, where it is known.

    Raises:
        UsageError: the options contradict each other, or the labels are not the bundle's.
    """
    from edge.people.clip_labels import read_labels, real_path

    if neutral and labels:
        raise UsageError("--neutral and --labels contradict each other")
    if labels and not paths:
        raise UsageError("--labels needs the recordings that it names: affectd enroll NAME PATH... --labels FILE")
    if labels:
        emotions = read_labels(labels, bundle.manifest.labels)
        return lambda file: emotions.get(real_path(file))
    if neutral and NEUTRAL not in bundle.manifest.labels:
        raise UsageError(f"--neutral: this bundle only knows {', '.join(bundle.manifest.labels)}")
    return lambda _file: NEUTRAL if neutral else None


def _newcomer(name: str, yes: bool, may_refine: bool, store: Path) -> Person | None:
    """Return someone who has agreed, not in the store yet; None if they have not.

    Raises:
        UsageError: there is nobody to ask.
    """
    from edge.people.consent import CONSENT_VERSION, consent_text
    from edge.people.store.person import Consent, Person

    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(f"{name} must agree first: run this on a terminal, or with --yes if they have agreed")
        Console(stderr=True).print(Text(consent_text(name, store)), end="\n\n")
        if not confirmed(f"Does {name} agree?"):
            return None
    consent = Consent(text_version=CONSENT_VERSION, how="--yes" if yes else "asked")
    return Person(name=name, consent=consent, may_refine=may_refine)


def _greeted(person: Person, may_refine: bool, store: SpeakerStore) -> Person:
    clips = sum(store.clip_counts(person).values())
    say(f"{person.name} agreed on {person.consent.given_at:%Y-%m-%d} and has {clips} clips; adding to these")
    if may_refine and not person.may_refine:
        return store.allow_refinement(person.name, True)
    return person


def _report(enrolled: Enrolled, bundle: Bundle, as_json: bool) -> None:
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
        print(json_format.dumps(asdict(enrolled)))
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
        print_table(table)
