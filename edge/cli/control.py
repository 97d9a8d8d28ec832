"""What an ``affectd run`` that is running does, hears, and is told to do. Needs no onnxruntime."""

from __future__ import annotations

import json as json_format
import re
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from edge.cli.kit.display import new_table, print_json, print_table, say
from edge.cli.kit.entry import examples
from edge.cli.kit.options import Debug, Json
from edge.errors import UsageError

UNITS_S = {"s": 1, "m": 60, "h": 3600}

Pid = Annotated[
    int | None,
    typer.Option("--pid", help="Process id, where several run.", metavar="PID", show_default="the only one"),
]
SourceName = Annotated[
    str | None, typer.Argument(help="A source, as its events call it.", metavar="SOURCE", show_default="all of them")
]
app = typer.Typer()


@app.command(epilog=examples("affectd status", "affectd status --json | jq '.sources[].state'"))
def status(*, pid: Pid = None, json: Json = False, debug: Debug = False) -> None:
    """What the running affectd does: its model, its sources, what was heard and lost, and how long answers take."""
    facts = ask(pid, "status")
    if json:
        print_json(facts)
        return
    table = new_table("", "")
    table.show_header = False
    for name, value in _rows(facts):
        table.add_row(name, Text(value))
    print_table(table)
    sources = new_table("source", "state", "heard", "lost", "paused")
    for source in facts["sources"]:
        times = (f"{source[key]:.0f} s" for key in ("audio_s", "lost_s", "paused_s"))
        sources.add_row(Text(source["name"]), source["state"], *times)
    print_table(sources)


@app.command(
    epilog=examples(
        "affectd pause                 hear nothing; microphones are closed",
        "affectd pause kitchen --for 30m",
    )
)
def pause(
    source: SourceName = None,
    *,
    for_: Annotated[
        str | None, typer.Option("--for", help="As in 90s, 30m, 8h.", metavar="TIME", show_default="until resume")
    ] = None,
    pid: Pid = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Stop listening to a source, or to all: what was being said is finished, and a microphone is closed."""
    answer = ask(pid, "pause", source=source, for_s=None if for_ is None else seconds(for_))
    _done(answer, json, f"paused: {', '.join(answer['paused'])}")


@app.command(epilog=examples("affectd resume", "affectd resume kitchen"))
def resume(source: SourceName = None, *, pid: Pid = None, json: Json = False, debug: Debug = False) -> None:
    """Listen again."""
    answer = ask(pid, "resume", source=source)
    _done(answer, json, f"listening: {', '.join(answer['resumed'])}")


@app.command(epilog=examples("affectd reload"))
def reload(*, pid: Pid = None, json: Json = False, debug: Debug = False) -> None:
    """Let the running affectd read its settings again. What works goes on; settings that do not change nothing."""
    answer = ask(pid, "reload")
    _done(answer, json, f"changed: {', '.join(answer['changed'])}" if answer["changed"] else "nothing has changed")


@app.command(
    epilog=examples(
        "affectd events                      each event from now on, one JSON object a line",
        "affectd events --after 0 | jq .emotion",
    )
)
def events(
    *,
    after: Annotated[
        int | None,
        typer.Option(help="Begin after the event of this number; 0: all of the latest.", min=0, show_default="now"),
    ] = None,
    pid: Pid = None,
    debug: Debug = False,
) -> None:
    """Print what the running affectd hears, as JSON lines, until it ends. Ctrl-C leaves it running.

    Each event has a number: who comes back goes on after the last one.
    """
    from edge.daemon.client import attach

    with closing(attach(pid)) as client:
        for event in client.events(after):
            print(json_format.dumps(event, ensure_ascii=False), flush=True)


def ask(pid: int | None, to: str, **fields: Any) -> Any:
    """Return the answer of a running ``affectd run``; raises UsageError as ``edge.daemon.client``."""
    from edge.daemon.client import attach

    with closing(attach(pid)) as client:
        return client.ask(to, **fields)


def seconds(text: str) -> float:
    """Return a time such as ``90s``, ``30m`` or ``8h`` in seconds; raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if not found or not float(found[1]):
        raise UsageError(f"--for {text!r} is no time: write 90s, 30m or 8h")
    return float(found[1]) * UNITS_S[found[2]]


def _done(answer: Mapping[str, Any], json: bool, message: str) -> None:
    say(message)
    if json:
        print_json(answer)


def _rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    since = datetime.fromisoformat(facts["started_at"])
    rows = [
        ("process", f"{facts['pid']}, since {since:%Y-%m-%d %H:%M}"),
        ("model", f"{facts['bundle']} {facts['version']} on {facts['provider']}"),
        ("utterances", f"{facts['utterances']}, and {facts['skipped']} skipped"),
        ("left out", f"{facts['left_out']} (step {facts['overload_step']})"),
    ]
    if facts["total_p50_ms"] is not None:
        answer = (
            f"{facts['provisional_p50_ms']:.0f} ms after the end of speech, final after {facts['total_p50_ms']:.0f}"
        )
        rows.append(("answers", f"{answer} (p50), {facts['total_p95_ms']:.0f} (p95)"))
    rows += [("lost events", f"{count} of {name}") for name, count in facts["lost_events"].items()]
    return rows
