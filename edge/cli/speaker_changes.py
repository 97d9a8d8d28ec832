"""``affectd speakers``: what changes people in the store, or hands them out. Needs no onnxruntime."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.cli.kit.display import confirmed, print_json, say
from edge.cli.kit.entry import examples
from edge.cli.kit.options import Debug, Json, Yes, with_settings
from edge.errors import StoreError, UsageError
from edge.files import write_file

if TYPE_CHECKING:
    from edge.people.store import SpeakerStore
    from edge.people.store.person import Person
    from edge.settings import LoadedSettings

Name = Annotated[str, typer.Argument(help="Who, in any case.", metavar="NAME", show_default=False)]
app = typer.Typer()


@app.command(epilog=examples("affectd speakers rename anna 'Anna K.'"))
@with_settings("store")
def rename(
    old: Annotated[str, typer.Argument(help="Who.", metavar="OLD", show_default=False)],
    new: Annotated[str, typer.Argument(help="The new name.", metavar="NEW", show_default=False)],
    *,
    loaded: LoadedSettings,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Give someone another name; a running affectd follows."""
    with open_store(loaded) as store:
        person = store.rename(old, new)
    _done(f"{old} is now called {person.name}", person, json)


@app.command(epilog=examples("affectd speakers forget anna", "affectd speakers forget anna --yes"))
@with_settings("store")
def forget(name: Name, *, yes: Yes = False, loaded: LoadedSettings, json: Json = False, debug: Debug = False) -> None:
    """Remove someone and every trace of them from the store and the journal, after asking.

    All rooms that affectd remembers are reset, too: they are averages of whoever spoke there, named or not. The
    journals are that of the settings and that beside the store. Needs neither the model nor the key, and a running
    affectd follows. Exports, other outputs and backups are yours to delete.
    """
    from edge import forgetting

    with open_store(loaded) as store:
        person = store.person(name)
        if not yes:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise UsageError(f"forgetting {person.name} cannot be undone: run this on a terminal, or with --yes")
            if not confirmed(f"Forget {person.name}? It cannot be undone."):
                say(f"{person.name} is still known")
                raise typer.Exit(1)
        forgotten = forgetting.forget(store, person, loaded.settings)
    _done(str(forgotten), person, json, rooms=forgotten.rooms, journal=forgotten.journal)


@app.command(epilog=examples("affectd speakers export anna --out anna.json"))
@with_settings("store")
def export(
    name: Name,
    *,
    out: Annotated[
        str | None,
        typer.Option(help="File to write, or - for standard output.", metavar="FILE|-", show_default="- in a pipe"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    loaded: LoadedSettings,
    debug: Debug = False,
) -> None:
    """Write everything about someone to a JSON file that only you can read, to move it to another device.

    It is voice data in the clear: keep it like a password, and delete it when it is imported.
    """
    if out is None and sys.stdout.isatty():
        raise UsageError("an export is not for reading: give --out FILE, or --out - to see it nevertheless")
    with open_store(loaded) as store:
        person = store.person(name)
        data = store.export_person(name)
    if out is None or out == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        if os.path.isfile(out) and not force:
            raise UsageError(f"{out} exists already; --force replaces it")
        write_file(Path(out), data, private=True, replace=force)
    say(f"this is the voice data of {person.name} in the clear: keep it like a password, and delete it when imported")


@app.command("import", epilog=examples("affectd speakers import anna.json --name 'Anna K.'"))
@with_settings("store")
def import_(
    file: Annotated[str, typer.Argument(help="What export wrote, or - for standard input.", metavar="FILE|-")],
    *,
    name: Annotated[
        str | None, typer.Option(help="Another name.", metavar="NAME", show_default="the one in the file")
    ] = None,
    loaded: LoadedSettings,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Add the person of an export, with the consent they gave."""
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    with open_store(loaded) as store:
        try:
            person = store.import_person(data, name)
        except StoreError as error:
            raise StoreError(f"{file}: {error}") from None
    _done(f"{person.name} is imported", person, json)


@app.command(epilog=examples("affectd speakers show anna      lists the revisions", "affectd speakers revert anna 3"))
@with_settings("store", "bundle")
def revert(
    name: Name,
    revision: Annotated[int, typer.Argument(help="Number of the revision, see show.", metavar="REVISION")],
    *,
    loaded: LoadedSettings,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make an earlier revision of someone's profile the newest one."""
    from edge.bundle import Bundle

    bundle = Bundle.load(loaded.settings.encoder.bundle_folder)
    with open_store(loaded) as store:
        person = store.person(name)
        number = store.revert(person, bundle.encoder_hash, revision)
    _done(f"revision {number} of {person.name} is now what revision {revision} was", person, json, revision=number)


@app.command(epilog=examples("affectd speakers refine anna --allow", "affectd speakers refine anna --deny"))
@with_settings("store")
def refine(
    name: Name,
    *,
    allow: Annotated[bool | None, typer.Option("--allow/--deny", help="Whether they agree to it.")] = None,
    loaded: LoadedSettings,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Record whether someone agrees that affectd refines their profile while it runs. Without it, it does not."""
    if allow is None:
        raise UsageError("refine needs what they said: --allow or --deny")
    with open_store(loaded) as store:
        person = store.allow_refinement(name, allow)
    _done(f"the profile of {person.name} {'may' if allow else 'may not'} be refined while running", person, json)


def open_store(loaded: LoadedSettings) -> SpeakerStore:
    """Return the speaker store of the settings, open."""
    from edge.people.store import SpeakerStore

    return SpeakerStore.open(loaded.settings.speakers.store_folder)


def _done(text: str, person: Person, as_json: bool, **facts: Any) -> None:
    say(text)
    if as_json:
        print_json({"name": person.name, **facts})
