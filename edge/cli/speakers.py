"""``affectd speakers``: the options of its commands. Those that need no model work without one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.kit.entry import examples
from edge.cli.kit.options import Bundle, Config, Debug, Json, Set, Store, Yes, load
from edge.errors import UsageError

if TYPE_CHECKING:
    from edge.settings import Settings

speakers_app = typer.Typer(
    help="Who is enrolled: list, show, rename, forget, export, import, revert, refine.",
    no_args_is_help=True,
    epilog=examples(
        "affectd enroll anna             get to know someone first",
        "affectd speakers list           who is enrolled, and can this bundle recognise them?",
        "affectd speakers forget anna    removes every trace, even without the model or the key",
    ),
)

Name = Annotated[str, typer.Argument(help="Who, in any case.", metavar="NAME", show_default=False)]


def _settings(store: str | None, bundle: str | None, config: Path | None, set_: list[str] | None) -> Settings:
    return load(config, set_, {"speakers.store": store, "encoder.bundle": bundle}).settings


@speakers_app.command("list", epilog=examples("affectd speakers list --json | jq '.[].name'"))
def list_(
    *,
    store: Store = None,
    bundle: Bundle = None,
    config: Config = None,
    set_: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List who is enrolled: clips, seconds of speech, last change, whether refinement is allowed, and the state.

    ready: is recognised. no voiceprints: known only where --speaker names them. must enrol again: another model
    embedded their clips. unknown: the model or the key is missing.
    """
    from edge.commands.speakers import list_people

    list_people(_settings(store, bundle, config, set_), json)


@speakers_app.command(epilog=examples("affectd speakers show anna"))
def show(
    name: Name,
    *,
    store: Store = None,
    bundle: Bundle = None,
    config: Config = None,
    set_: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what is kept of someone: consent, clips by label, revisions of the profile, who sounds alike."""
    from edge.commands.speakers import show_person

    show_person(_settings(store, bundle, config, set_), name, json)


@speakers_app.command(epilog=examples("affectd speakers rename anna 'Anna K.'"))
def rename(
    old: Annotated[str, typer.Argument(help="Who.", metavar="OLD", show_default=False)],
    new: Annotated[str, typer.Argument(help="The new name.", metavar="NEW", show_default=False)],
    *,
    store: Store = None,
    config: Config = None,
    set_: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Give someone another name; a running affectd follows."""
    from edge.commands.speakers import rename_person

    rename_person(_settings(store, None, config, set_), old, new, json)


@speakers_app.command(epilog=examples("affectd speakers forget anna", "affectd speakers forget anna --yes"))
def forget(
    name: Name,
    *,
    yes: Yes = False,
    store: Store = None,
    config: Config = None,
    set_: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Remove someone and every trace of them from the store, after asking.

    Needs neither the model nor the key, and a running affectd follows. Exports and backups are yours to delete.
    """
    from edge.commands.speakers import forget_person

    raise typer.Exit(forget_person(_settings(store, None, config, set_), name, yes, json))


@speakers_app.command(epilog=examples("affectd speakers export anna --out anna.json"))
def export(
    name: Name,
    *,
    out: Annotated[
        str | None,
        typer.Option(help="File to write, or - for standard output.", metavar="FILE|-", show_default="- in a pipe"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    store: Store = None,
    config: Config = None,
    set_: Set = None,
    debug: Debug = False,
) -> None:
    """Write everything about someone to a JSON file that only you can read, to move it to another device.

    It is voice data in the clear: keep it like a password, and delete it when it is imported.
    """
    from edge.commands.speakers import export_person

    export_person(_settings(store, None, config, set_), name, out, force)


@speakers_app.command("import", epilog=examples("affectd speakers import anna.json --name 'Anna K.'"))
def import_(
    file: Annotated[str, typer.Argument(help="What export wrote, or - for standard input.", metavar="FILE|-")],
    *,
    name: Annotated[
        str | None, typer.Option(help="Another name.", metavar="NAME", show_default="the one in the file")
    ] = None,
    store: Store = None,
    config: Config = None,
    set_: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Add the person of an export, with the consent they gave."""
    from edge.commands.speakers import import_person

    import_person(_settings(store, None, config, set_), file, name, json)


@speakers_app.command(
    epilog=examples("affectd speakers show anna      lists the revisions", "affectd speakers revert anna 3")
)
def revert(
    name: Name,
    revision: Annotated[int, typer.Argument(help="Number of the revision, see show.", metavar="REVISION")],
    *,
    store: Store = None,
    bundle: Bundle = None,
    config: Config = None,
    set_: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make an earlier revision of someone's profile the newest one."""
    from edge.commands.speakers import revert_profile

    revert_profile(_settings(store, bundle, config, set_), name, revision, json)


@speakers_app.command(epilog=examples("affectd speakers refine anna --allow", "affectd speakers refine anna --deny"))
def refine(
    name: Name,
    *,
    allow: Annotated[bool | None, typer.Option("--allow/--deny", help="Whether they agree to it.")] = None,
    store: Store = None,
    config: Config = None,
    set_: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Record whether someone agrees that affectd refines their profile while it runs. Without it, it does not."""
    from edge.commands.speakers import allow_refinement

    if allow is None:
        raise UsageError("refine needs what they said: --allow or --deny")
    allow_refinement(_settings(store, None, config, set_), name, allow, json)
