"""``affectd demo``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.kit.display import say
from edge.cli.kit.entry import examples
from edge.cli.kit.options import Debug, Json, with_settings
from edge.cli.kit.signals import stop_on_signals
from edge.errors import UsageError

if TYPE_CHECKING:
    from edge.cli.enrol_audio import Stop
    from edge.model import Model
    from edge.settings import LoadedSettings

CONVERSATION, PEOPLE = "conversation.flac", "people"
app = typer.Typer()


@app.command(
    epilog=examples(
        "affectd demo                     in a checkout: two people talk, first as strangers, then enrolled",
        "affectd demo --fast              without waiting for them",
        "affectd demo mine/               mine/conversation.flac, and a folder of clips for each person in mine/people",
    )
)
@with_settings("realtime", "bundle", "provider")
def demo(
    folder: Annotated[
        Path, typer.Argument(help=f"Has {CONVERSATION}, and {PEOPLE}/NAME/ with clips of each person.", metavar="DIR")
    ] = Path("examples"),
    *,
    loaded: LoadedSettings,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what enrolment does: a conversation heard by who knows nobody, then by who knows both people.

    They are enrolled in a store of the demo's own, which is gone afterwards.
    """
    from edge.cli.enrol_audio import Stop
    from edge.model import open_model

    people, stop = _people(folder), Stop()
    with tempfile.TemporaryDirectory(prefix="affectd-demo-") as store, stop_on_signals(stop):
        speakers = loaded.settings.speakers.model_copy(update={"store": store, "enabled": True, "only": ()})
        settings = loaded.settings.model_copy(update={"speakers": speakers, "sources": ()})
        model = open_model(settings)
        say("two people talk; nobody is known:")
        _play(model, folder, json, stop, realtime=False)
        for name, clips in people.items():
            _enrol(model, name, clips, stop)
        say(f"the same once {' and '.join(people)} are enrolled:")
        _play(model, folder, json, stop, realtime=settings.capture.realtime)


def _people(folder: Path) -> dict[str, list[Path]]:
    """Return names and clips.

    Raises:
        UsageError: something of the demo is not there.
    """
    from edge.recordings import find_audio

    if not (folder / CONVERSATION).is_file():
        raise UsageError(f"{folder}: has no {CONVERSATION}: run it in a checkout of affectd, or name a folder with one")
    people = sorted(path for path in (folder / PEOPLE).glob("*") if path.is_dir())
    if not people:
        raise UsageError(f"{folder / PEOPLE}: has no folder of clips of somebody, named like them")
    return {person.name: find_audio([person]) for person in people}


def _enrol(model: Model, name: str, clips: list[Path], stop: Stop) -> None:
    from edge.cli.enrol_audio import read_files
    from edge.people.consent import CONSENT_VERSION
    from edge.people.enrolment import Enrolment
    from edge.people.store import SpeakerStore
    from edge.people.store.person import Consent, Person

    model.recognizer.load(voiceprints=model.recognizer.bundle.manifest.speaker is not None)
    person = Person(name=name, consent=Consent(text_version=CONSENT_VERSION, how="--yes"))
    with SpeakerStore.open(model.settings.speakers.store_folder) as store:
        enrolment = Enrolment(store, model.recognizer, person, is_new=True)
        read_files(enrolment, model.recognizer, model.settings, clips, lambda _clip: None, stop)
        enrolled = enrolment.finish()
    say(f"enrolled {name} by {enrolled.clips} clips, {enrolled.speech_s:.0f} s, for this demo only")


def _play(model: Model, folder: Path, json: bool, stop: Stop, realtime: bool) -> None:
    from edge.capture import open_source
    from edge.listening import listen
    from edge.outputs import open_output

    if stop.wanted:
        return
    capture = model.settings.capture.model_copy(update={"source": str(folder / CONVERSATION), "realtime": realtime})
    stop.source = open_source(capture)
    summary = listen(stop.source, model=model, outputs=[open_output(json)]).run()
    say(str(summary))
