"""``affectd history``: what was heard, from the journal. Needs neither onnxruntime nor a model."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.cli.journal_options import WHEN, JournalPath, Person, id_of, moment, open_journal
from edge.cli.kit.display import confirmed, print_json, say, screen
from edge.cli.kit.entry import examples
from edge.cli.kit.options import Debug, Json, OutputOption, Yes, with_settings
from edge.cli.speaker_changes import open_store
from edge.errors import UsageError, one_of

if TYPE_CHECKING:
    from edge.journal import Journal
    from edge.journal.history import By, History
    from edge.settings import LoadedSettings

BY: tuple[By, ...] = ("day", "hour", "person", "source")
EACH = "utterance"
HOW = (
    "affectd run --set outputs.0.type=table --set outputs.1.type=journal, or an entry of [[outputs]] with "
    'type = "journal" in the settings file, switches it on'
)
PLOT_MARK = b"affectd history"
MINUTE = "%Y-%m-%d %H:%M"

app = typer.Typer(
    epilog=examples(
        "affectd history                               the last seven days, by day and person",
        "affectd history --by hour --since yesterday   was it on, and was anybody there?",
        "affectd history --person anna --since 30d --plot anna.svg",
        "affectd history --by utterance --person anna --csv anna.csv",
        "affectd history clear --before 2026-01-01     or --person anna, or all of it",
    )
)


@app.callback(invoke_without_command=True)
@with_settings("store")
def history(
    context: typer.Context,
    *,
    person: Person = None,
    source: Annotated[
        str | None, typer.Option(help="Only what was heard there.", metavar="NAME", show_default="all")
    ] = None,
    since: Annotated[str, typer.Option(help=f"{WHEN}.", metavar="WHEN")] = "7d",
    until: Annotated[
        str | None, typer.Option(help="The same; a day is meant whole.", metavar="WHEN", show_default="now")
    ] = None,
    by: Annotated[
        str, typer.Option(help="Some of day, hour, person, source, or utterance for each by itself.", metavar="WHAT,…")
    ] = "day,person",
    csv: Annotated[
        Path | None, OutputOption(help="Also write a CSV file; an earlier one is replaced.", metavar="FILE")
    ] = None,
    plot: Annotated[
        Path | None, OutputOption(help="Also write a plot, SVG; an earlier one is replaced.", metavar="FILE")
    ] = None,
    journal: JournalPath = None,
    loaded: LoadedSettings,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show how those who were heard sounded: utterances, the share of each emotion, and doubts.

    It is read from the journal, an output of affectd run that is off by default. "review" is the share of answers that
    a person should check, "than usual" how else somebody sounds than in the clips they enrolled with. Without persons
    "else" counts why there was no utterance: skipped ones, and what became of the source.
    """
    if context.invoked_subcommand:
        _refuse_options_before(context)
        return
    from edge.cli.history_views import CSV_MARK
    from edge.files import check_replaceable, check_writable
    from edge.journal.history import History, utterance_record
    from edge.people.store.vault import Vault

    for path, kind, mark in ((csv, "CSV", CSV_MARK), (plot, "plot", PLOT_MARK)):
        if path:
            check_replaceable(path, f"{kind} of affectd history", mark)
    check_writable((csv, plot))
    if by == EACH and plot:
        raise UsageError("a plot is by day, hour, person or source: give --by one of these")
    chosen = () if by == EACH else _chosen(by)
    first, end = moment(since), moment(until, is_end=True) if until else None
    with open_journal(loaded, journal) as opened, open_store(loaded) as store:
        who = id_of(person, opened, store) if person else None
        names = {each.id: each.name for each in store.people()}
        entries = opened.entries(cache(lambda: Vault.load(store.path.parent)), first, end, who, source)
        if chosen:
            is_empty = not _show_groups(History.of(entries, chosen, names), csv, plot, json)
        else:
            is_empty = not _show_each(
                [utterance_record(each, names) for each in entries if each.fact == EACH], csv, json
            )
        if is_empty:
            say(_why_empty(opened))


def _show_groups(found: History, csv: Path | None, plot: Path | None, as_json: bool) -> bool:
    """Show what there is, and return whether there is anything."""
    from edge.cli.history_views import history_csv, history_table
    from edge.files import write_file
    from edge.journal.history import UNREADABLE
    from edge.journal.plot import history_plot

    if unreadable := sum(group.notes[UNREADABLE] for group in found.groups):
        say(f"how {unreadable} of the utterances sounded cannot be read: they were sealed with another key")
    if as_json:
        print_json(found.records())
    elif found.groups:
        screen().print(history_table(found, screen()))
    if csv:
        write_file(csv, history_csv(found))
    if plot and found.groups:
        write_file(plot, history_plot(found))
    return bool(found.groups)


def _show_each(records: Sequence[Mapping[str, Any]], csv: Path | None, as_json: bool) -> bool:
    """Show each utterance, and return whether there is any."""
    from edge.cli.history_views import utterance_csv, utterance_table
    from edge.files import write_file

    if as_json:
        print_json(records)
    elif records:
        screen().print(utterance_table(records))
    if csv:
        write_file(csv, utterance_csv(records))
    return bool(records)


@app.command(
    epilog=examples(
        "affectd history clear                                 all of it",
        "affectd history clear --before 2026-01-01 --yes",
        "affectd history clear --person anna                   she stays enrolled",
    )
)
@with_settings("store")
def clear(
    *,
    before: Annotated[
        str | None, typer.Option(help=f"Only what is from before: {WHEN}.", metavar="WHEN", show_default="all")
    ] = None,
    person: Person = None,
    journal: JournalPath = None,
    yes: Yes = False,
    loaded: LoadedSettings,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Delete the journal, or a part of it, for good, after asking. Needs no key, and affectd run may be running."""
    until = moment(before) if before else None
    with open_journal(loaded, journal) as opened, open_store(loaded) as store:
        who = id_of(person, opened, store) if person else None
        limits = [f"of {person}" if person else "", f"from before {until:{MINUTE}}" if until else ""]
        what = " ".join(filter(None, ["everything", *limits, "in", str(opened.path)]))
        if not yes:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise UsageError(f"deleting {what} cannot be undone: run this on a terminal, or with --yes")
            if not confirmed(f"Delete {what}? It cannot be undone."):
                say("nothing is deleted")
                raise typer.Exit(1)
        count = opened.delete(until, who)
    say(f"deleted {what}, rows: {count}")
    if json:
        print_json({"journal": str(opened.path), "deleted": count})


def _chosen(by: str) -> tuple[By, ...]:
    """Return what to group by; raises UsageError for anything else."""
    return tuple(dict.fromkeys(one_of("--by", each.strip(), BY, EACH) for each in by.split(",")))


def _refuse_options_before(context: typer.Context) -> None:
    """Raise UsageError if there are options before the name of a command, where they would mean nothing."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = f"--{name.rstrip('_').replace('_', '-')}"
            raise UsageError(
                f"{option} stands before {context.invoked_subcommand}, where it has no effect: put it behind it"
            )


def _why_empty(journal: Journal) -> str:
    extent = journal.extent()
    if extent.first and extent.last:
        return (
            f"nothing of that is in {journal.path}, which goes from {extent.first:{MINUTE}} to {extent.last:{MINUTE}}"
        )
    return f"nothing is in {journal.path} yet: {HOW}"
