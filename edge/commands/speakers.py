"""``affectd speakers``: the people in the store. Imports no onnxruntime."""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.text import Text

from edge.bundle import Bundle
from edge.cli.kit.display import confirmed, new_table, print_json, say, screen
from edge.errors import ModelError, StoreError, UsageError
from edge.people.roster import Dossier, Entry, State, dossier_of, entry_of
from edge.people.store import SpeakerStore
from edge.people.store.person import Person
from edge.settings import Settings

STATES = {
    State.READY: "ready",
    State.BOUND_ONLY: "no voiceprints: known only where --speaker names them",
    State.ENROL_AGAIN: "must enrol again with this bundle",
    State.UNKNOWN: "unknown",
}


def list_people(settings: Settings, as_json: bool) -> None:
    """Print everyone."""
    bundle = _bundle(settings)
    with _open(settings) as store:
        entries = [entry_of(store, person, bundle) for person in store.people()]
        folder = store.path.parent
    for trouble in dict.fromkeys(entry.trouble for entry in entries if entry.trouble):
        say(trouble)
    if as_json:
        print_json([_record(entry) for entry in entries])
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
                "allowed" if entry.person.may_refine else "no",
                STATES[entry.state],
            )
        screen().print(table)


def show_person(settings: Settings, name: str, as_json: bool) -> None:
    """Print what is kept of someone."""
    bundle = _bundle(settings)
    with _open(settings) as store:
        person = store.person(name)
        entry = entry_of(store, person, bundle)
        dossier = dossier_of(store, person, bundle) if bundle and not entry.trouble else None
    if entry.trouble:
        say(entry.trouble)
    if as_json:
        print_json(_record(entry) | _details(dossier))
        return
    facts = new_table("", "")
    facts.show_header = False
    consent = f"{_local(person.consent.given_at)} to text {person.consent.text_version} ({person.consent.how})"
    rows = {"name": person.name, "agreed": consent, "refinement": "allowed" if person.may_refine else "no"}
    rows |= {"state": STATES[entry.state], "clips": str(entry.clips), "speech": _seconds(entry.speech_s)}
    if dossier:
        rows["labels"] = ", ".join(f"{count} {label}" for label, count in dossier.labels.items()) or "none"
        rows["trust"] = "—" if dossier.trust is None else f"{dossier.trust:.0%}"
    if dossier and dossier.similar:
        rows["sounds like"] = f"{', '.join(dossier.similar)}: they may be taken for each other"
    for key, value in rows.items():
        facts.add_row(key, Text(value))
    screen().print(facts)
    if dossier and dossier.revisions:
        revisions = new_table("revision", "made", "reason")
        for number, profile in dossier.revisions.items():
            revisions.add_row(str(number), _local(profile.created_at), Text(profile.reason))
        screen().print(revisions)


def rename_person(settings: Settings, old: str, new: str, as_json: bool) -> None:
    """Give someone another name."""
    with _open(settings) as store:
        person = store.rename(old, new)
    _done(f"{old} is now called {person.name}", person, as_json)


def forget_person(settings: Settings, name: str, yes: bool, as_json: bool) -> int:
    """Remove someone; return the exit code, 1 when the answer was no."""
    with _open(settings) as store:
        person = store.person(name)
        if not yes:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise UsageError(f"forgetting {person.name} cannot be undone: run this on a terminal, or with --yes")
            if not confirmed(f"Forget {person.name}? It cannot be undone."):
                say(f"{person.name} is still known")
                return 1
        store.forget(person.name)
    _done(f"{person.name} is forgotten", person, as_json)
    return 0


def export_person(settings: Settings, name: str, out: str | None, force: bool) -> None:
    """Write everything about someone to a file or standard output."""
    if out is None and sys.stdout.isatty():
        raise UsageError("an export is not for reading: give --out FILE, or --out - to see it nevertheless")
    with _open(settings) as store:
        person = store.person(name)
        data = store.export_person(name)
    if out is None or out == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        _write_private(Path(out), data, force)
    say(f"this is the voice data of {person.name} in the clear: keep it like a password, and delete it when imported")


def import_person(settings: Settings, file: str, name: str | None, as_json: bool) -> None:
    """Add the person of an export."""
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    with _open(settings) as store:
        try:
            person = store.import_person(data, name)
        except StoreError as error:
            raise StoreError(f"{file}: {error}") from None
    _done(f"{person.name} is imported", person, as_json)


def revert_profile(settings: Settings, name: str, revision: int, as_json: bool) -> None:
    """Make an earlier revision of a profile the newest one."""
    bundle = Bundle.load(settings.encoder.bundle_folder)
    with _open(settings) as store:
        person = store.person(name)
        number = store.revert(person, bundle.encoder_hash, revision)
    _done(f"revision {number} of {person.name} is now what revision {revision} was", person, as_json, revision=number)


def allow_refinement(settings: Settings, name: str, allowed: bool, as_json: bool) -> None:
    """Record what someone said about refinement."""
    with _open(settings) as store:
        person = store.allow_refinement(name, allowed)
    _done(f"the profile of {person.name} {'may' if allowed else 'may not'} be refined while running", person, as_json)


def _open(settings: Settings) -> SpeakerStore:
    return SpeakerStore.open(settings.speakers.store_folder)


def _bundle(settings: Settings) -> Bundle | None:
    """Return the bundle; without one there is less to tell, but people are still listed."""
    try:
        return Bundle.load(settings.encoder.bundle_folder)
    except ModelError as error:
        say(f"the state of people is unknown: {error}")
        return None


def _write_private(path: Path, data: bytes, force: bool) -> None:
    """Write a file that only its owner can read, complete or not at all."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise UsageError(f"cannot write {path}: it is no file")
    try:
        descriptor, new = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)  # 0600
        try:
            with open(descriptor, "wb") as stream:
                stream.write(data)
            if force:
                os.replace(new, path)
            else:
                os.link(new, path)
        finally:
            Path(new).unlink(missing_ok=True)
    except FileExistsError:
        raise UsageError(f"{path} exists already; --force replaces it") from None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def _done(text: str, person: Person, as_json: bool, **facts: Any) -> None:
    say(text)
    if as_json:
        print_json({"name": person.name, **facts})


def _record(entry: Entry) -> dict[str, Any]:
    person = entry.person
    return {
        "name": person.name,
        "state": entry.state.value,
        "clips": entry.clips,
        "speech_s": None if entry.speech_s is None else round(entry.speech_s, 2),
        "changed_at": entry.changed_at.isoformat(),
        "may_refine": person.may_refine,
        "consent": person.consent.model_dump(mode="json"),
    }


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


def _seconds(duration_s: float | None) -> str:
    return "unknown" if duration_s is None else f"{duration_s:.0f} s"


def _local(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M}"
