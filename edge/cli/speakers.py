"""``affectd speakers``: who is enrolled. Needs no onnxruntime, and less is shown without a model."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from edge.cli import speaker_changes
from edge.cli.journal_options import open_journal
from edge.cli.kit.display import new_table, print_json, print_table, say
from edge.cli.kit.entry import examples
from edge.cli.kit.options import Debug, Json, with_settings
from edge.cli.speaker_changes import Name, open_store
from edge.errors import AffectdError, ModelError

if TYPE_CHECKING:
    from edge.bundle import Bundle
    from edge.journal.journal import Extent
    from edge.people.roster import Dossier, Entry
    from edge.people.store.person import Person
    from edge.settings import LoadedSettings

STATES = {
    "no voiceprints": "no voiceprints: known only where --speaker names them",
    "must enrol again": "must enrol again with this bundle",
}
"""States that need a word of explanation."""

app = typer.Typer(
    help="Who is enrolled: list, show, rename, forget, export, import, revert, refine.",
    no_args_is_help=True,
    epilog=examples(
        "affectd enroll anna             get to know someone first",
        "affectd speakers list           who is enrolled, and can this bundle recognise them?",
        "affectd speakers forget anna    removes every trace, even without the model or the key",
    ),
)
app.add_typer(speaker_changes.app)


@app.command("list", epilog=examples("affectd speakers list --json | jq '.[].name'"))
@with_settings("store", "bundle")
def list_(*, loaded: LoadedSettings, json: Json = False, debug: Debug = False) -> None:
    """List who is enrolled: clips, seconds of speech, last change, whether refinement is allowed, and the state.

    ready: is recognised. no voiceprints: known only where --speaker names them. must enrol again: another model
    embedded their clips. unknown: the model or the key is missing.
    """
    from edge.people.roster import entry_of

    bundle = _bundle(loaded)
    with open_store(loaded) as store:
        entries = [entry_of(store, person, bundle) for person in store.people()]
        folder = store.path.parent
    for trouble in dict.fromkeys(entry.trouble for entry in entries if entry.trouble):
        say(trouble)
    if json:
        print_json([entry.to_dict() for entry in entries])
    elif not entries:
        say(f"nobody is enrolled in {folder}: affectd enroll NAME")
    else:
        table = new_table("name", "clips", "speech", "last change", "refinement", "state")
        for entry in entries:
            table.add_row(
                Text(entry.person.name),
                str(entry.clips),
                _seconds(entry.speech_s),
                _local(entry.changed_at),
                _refinement(entry),
                _state(entry),
            )
        print_table(table)


@app.command(epilog=examples("affectd speakers show anna"))
@with_settings("store", "bundle")
def show(name: Name, *, loaded: LoadedSettings, json: Json = False, debug: Debug = False) -> None:
    """Show what is kept of someone: consent, clips by label, revisions of the profile, who sounds alike."""
    from edge.people.roster import dossier_of, entry_of

    bundle = _bundle(loaded)
    with open_store(loaded) as store:
        person = store.person(name)
        entry = entry_of(store, person, bundle)
        dossier = dossier_of(store, person, bundle) if bundle and not entry.trouble else None
    if entry.trouble:
        say(entry.trouble)
    said = _said(person, loaded)
    if json:
        print_json(entry.to_dict() | _details(dossier) | {"journal": said and said.rows})
        return
    facts = new_table("", "")
    facts.show_header = False
    in_journal = {"journal": f"{said.rows} utterances since {_local(said.first)}"} if said and said.first else {}
    for key, value in (_facts(entry, dossier) | in_journal).items():
        facts.add_row(key, Text(value))
    print_table(facts)
    if dossier and dossier.revisions:
        revisions = new_table("revision", "made", "reason")
        for number, profile in dossier.revisions.items():
            revisions.add_row(str(number), _local(profile.created_at), Text(profile.reason))
        print_table(revisions)


def _bundle(loaded: LoadedSettings) -> Bundle | None:
    """Return the bundle; without one there is less to show, but people are still listed."""
    from edge.bundle import Bundle

    try:
        return Bundle.load(loaded.settings.encoder.bundle_folder)
    except ModelError as error:
        say(f"the state of people is unknown: {error}")
        return None


def _said(person: Person, loaded: LoadedSettings) -> Extent | None:
    """Return how much of what somebody said is in the journal; None where that cannot be read, after saying so."""
    try:
        with open_journal(loaded, None) as journal:
            return journal.extent(person.id)
    except AffectdError as error:
        say(f"what is in the journal is unknown: {error}")
        return None


def _facts(entry: Entry, dossier: Dossier | None) -> dict[str, str]:
    consent = entry.person.consent
    facts = {
        "name": entry.person.name,
        "agreed": f"{_local(consent.given_at)} to text {consent.text_version} ({consent.how})",
        "refinement": _refinement(entry),
        "state": _state(entry),
        "clips": str(entry.clips),
        "speech": _seconds(entry.speech_s),
    }
    if dossier:
        facts["labels"] = ", ".join(f"{count} {label}" for label, count in dossier.labels.items()) or "none"
        facts["trust"] = "—" if dossier.trust is None else f"{dossier.trust:.0%}"
    if dossier and dossier.similar:
        facts["sounds like"] = f"{', '.join(dossier.similar)}: they may be taken for each other"
    return facts


def _details(dossier: Dossier | None) -> dict[str, Any]:
    if dossier is None:
        return {}
    return {
        "labels": dict(dossier.labels),
        "trust": None if dossier.trust is None else round(dossier.trust, 4),
        "similar": list(dossier.similar),
        "revisions": [
            {"revision": number, "created_at": profile.created_at.isoformat(), "reason": profile.reason}
            for number, profile in dossier.revisions.items()
        ],
    }


def _state(entry: Entry) -> str:
    return STATES.get(entry.state.value, entry.state.value)


def _refinement(entry: Entry) -> str:
    return "allowed" if entry.person.may_refine else "no"


def _seconds(duration_s: float | None) -> str:
    return "unknown" if duration_s is None else f"{duration_s:.0f} s"


def _local(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M}"
