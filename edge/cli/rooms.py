"""``affectd rooms``: what is remembered of the rooms that sources are in. Needs no onnxruntime."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from edge.cli.kit.display import confirmed, new_table, print_json, print_table, say
from edge.cli.kit.entry import examples
from edge.cli.kit.options import Debug, Json, Yes, with_settings
from edge.errors import ModelError, StoreError, UsageError, nearest, printable

if TYPE_CHECKING:
    from edge.bundle import Bundle
    from edge.room import Room
    from edge.room_store import StoredRoom
    from edge.settings import LoadedSettings

ANOTHER_MODEL = "another model"
COLUMNS = ("source", "model", "utterances", "share", "last change")
"""Of the list, which are facts of ``show`` as well."""

Name = Annotated[str, typer.Argument(help="The source, as its events call it.", metavar="NAME", show_default=False)]
app = typer.Typer(
    help="What is remembered of rooms and microphones: list, show, reset.",
    no_args_is_help=True,
    epilog=examples(
        "affectd rooms list              which sources are known, and how well?",
        "affectd rooms show 'USB Audio'  what was heard there, and how far from usual it is",
        "affectd rooms reset 'USB Audio' start anew, as after moving the microphone",
    ),
)


@app.command("list", epilog=examples("affectd rooms list --json | jq '.[].source'"))
@with_settings("store", "bundle")
def list_(*, loaded: LoadedSettings, json: Json = False, debug: Debug = False) -> None:
    """List the rooms: the source, the model it is for, utterances, how far the estimate is trusted, last change."""
    from edge.room_store import RoomStore

    store, bundle = RoomStore(loaded.settings), _bundle(loaded)
    records = [_record(stored, bundle, loaded) for stored in store.rooms()]
    if json:
        print_json(records)
    elif not records:
        say(f"no room is remembered in {store.folder}: affectd run learns them")
    else:
        table = new_table(*COLUMNS)
        for record in records:
            facts = _facts(record)
            table.add_row(*(Text(facts[column]) for column in COLUMNS))
        print_table(table)


@app.command(epilog=examples("affectd rooms show 'USB Audio'"))
@with_settings("store", "bundle")
def show(name: Name, *, loaded: LoadedSettings, json: Json = False, debug: Debug = False) -> None:
    """Show what is remembered of a source's room: how well it is known, how one-sided, and how far from usual.

    The distance is 1 for what the model's training speakers typically have from their average.
    """
    bundle = _bundle(loaded)
    records = [_record(stored, bundle, loaded) for stored in _found(name, loaded)]
    if json:
        print_json(records)
        return
    for record in records:
        table = new_table("", "")
        table.show_header = False
        for key, value in _facts(record).items():
            table.add_row(key, Text(value))
        print_table(table)


@app.command(epilog=examples("affectd rooms reset 'USB Audio' --yes", "affectd rooms reset --all"))
@with_settings("store")
def reset(
    name: Annotated[str | None, typer.Argument(help="As in list.", metavar="NAME", show_default="none")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every room, and files that are damaged.")] = False,
    yes: Yes = False,
    loaded: LoadedSettings,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Forget the room of a source, for every model, after asking; a running affectd starts anew, too."""
    from edge.room_store import RoomStore

    if (name is not None) == every:
        raise UsageError("reset needs the NAME of a source, or --all")
    store = RoomStore(loaded.settings)
    found = [] if name is None else _found(name, loaded)
    what = f"the room of {found[0].source}" if found else "every room"
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(f"resetting {what} cannot be undone: run this on a terminal, or with --yes")
        if not confirmed(f"Forget {what}? It cannot be undone."):
            say(f"{what} is still known")
            raise typer.Exit(1)
    count = store.clear() if every else store.reset(found)
    say(f"{what} is forgotten")
    if json:
        print_json({"source": found[0].source if found else None, "reset": count})


def _found(name: str, loaded: LoadedSettings) -> list[StoredRoom]:
    """Return the rooms of a source, one for each model; raises UsageError, with the nearest name, if there is none."""
    from edge.room_store import RoomStore

    store = RoomStore(loaded.settings)
    rooms = store.rooms()
    found = [stored for stored in rooms if stored.source == printable(name)]
    if not found:
        hint = nearest(name, sorted({stored.source for stored in rooms}))
        raise UsageError(f"no room of {name!r} is remembered in {store.folder}{hint}")
    return found


def _bundle(loaded: LoadedSettings) -> Bundle | None:
    """Return the bundle; without one there is less to show."""
    from edge.bundle import Bundle

    try:
        return Bundle.load(loaded.settings.encoder.bundle_folder)
    except ModelError as error:
        say(f"less is known of the rooms: {error}")
        return None


def _record(stored: StoredRoom, bundle: Bundle | None, loaded: LoadedSettings) -> dict[str, Any]:
    room = _room(stored, bundle, loaded)
    record: dict[str, Any] = {
        "source": stored.source,
        "model": stored.bundle,
        "for_this_model": None if bundle is None else stored.encoder_hash == bundle.encoder_hash,
        "utterances": round(stored.utterances, 1),
        "changed_at": stored.changed_at.isoformat(),
        "share": None,
        "labels": {},
        "distance": None,
    }
    if bundle and room:
        shares = zip(bundle.manifest.labels, room.label_shares.tolist(), strict=True)
        record |= {
            "share": round(room.share, 4),
            "labels": {label: round(share, 4) for label, share in shares},
            "distance": round(room.distance, 2),
        }
    return record


def _room(stored: StoredRoom, bundle: Bundle | None, loaded: LoadedSettings) -> Room | None:
    """Return the room as this bundle has it; None for that of another model, or where it cannot be read."""
    from edge.room_store import RoomStore

    if bundle is None or stored.encoder_hash != bundle.encoder_hash:
        return None
    try:
        return RoomStore(loaded.settings).unseal(stored, bundle, loaded.settings.room)
    except (ModelError, StoreError) as error:
        say(f"less is known of the room of {stored.source}: {error}")
        return None


def _facts(record: dict[str, Any]) -> dict[str, str]:
    from datetime import datetime

    facts = {
        "source": record["source"],
        "model": f"{ANOTHER_MODEL}: {record['model']}" if record["for_this_model"] is False else record["model"],
        "utterances": f"{record['utterances']:.0f}",
        "share": "—" if record["share"] is None else f"{record['share']:.0%}",
        "last change": f"{datetime.fromisoformat(record['changed_at']).astimezone():%Y-%m-%d %H:%M}",
    }
    if record["labels"]:
        commonest = sorted(record["labels"].items(), key=lambda item: -item[1])
        facts["heard"] = ", ".join(f"{label} {share:.0%}" for label, share in commonest if share >= 0.005)
        facts["distance"] = f"{record['distance']:.2f} of a typical training corpus's"
    return facts
