"""``affectd enroll``: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.cli.kit.entry import examples
from edge.cli.kit.options import (
    Bundle,
    Config,
    Debug,
    Device,
    Json,
    Provider,
    Rate,
    Realtime,
    Set,
    Source,
    Store,
    load,
)
from edge.errors import UsageError

ENROLL_EXAMPLES = examples(
    "affectd enroll anna                           at the microphone, guided",
    "affectd enroll anna recordings/ --yes         from files; she has agreed",
    "affectd enroll anna calm/ --neutral           all of them spoken calmly",
    "affectd enroll anna clips/ --labels clips.csv their emotions are known: a CSV file path,emotion",
    "affectd speakers list                         who is enrolled; forget, export and more are there too",
)


def enroll(
    name: Annotated[str, typer.Argument(help="Who it is; adds to the profile of someone enrolled.", metavar="NAME")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Their recordings, and folders to search.", metavar="PATH", show_default="microphone"),
    ] = None,
    *,
    neutral: Annotated[
        bool, typer.Option("--neutral", help="All of it is spoken calmly.", rich_help_panel="Enrolment")
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV file path,emotion of known emotions.", metavar="FILE", rich_help_panel="Enrolment"),
    ] = None,
    clips: Annotated[
        int, typer.Option(help="Utterances that are enough, without PATH.", min=1, rich_help_panel="Enrolment")
    ] = 8,
    seconds: Annotated[
        float, typer.Option(help="Speech that is enough, without PATH.", min=0, rich_help_panel="Enrolment")
    ] = 20.0,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="They have agreed; do not ask. Recorded as such.", rich_help_panel="Enrolment"),
    ] = False,
    may_refine: Annotated[
        bool,
        typer.Option(
            "--may-refine", help="They agree that running refines their profile.", rich_help_panel="Enrolment"
        ),
    ] = False,
    source: Source = None,
    rate: Rate = None,
    realtime: Realtime = None,
    device: Device = None,
    store: Store = None,
    bundle: Bundle = None,
    provider: Provider = None,
    config: Config = None,
    set_: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Get to know someone's voice, so that they are recognised and judged by how they usually sound.

    Asks for their consent first. What is kept is numbers, encrypted, and no recording; every clip is safe as soon as
    it is heard, so Ctrl-C and power cuts lose nothing, and a repeated enrolment adds only what is new. Eight
    utterances in different moods are a good start.
    """
    from edge.commands.enroll import Wish, enroll_person

    options = {
        "capture.source": source,
        "capture.rate_hz": rate,
        "capture.realtime": realtime,
        "capture.device": device,
        "speakers.store": store,
        "encoder.bundle": bundle,
        "encoder.provider": provider,
    }
    if paths and source:
        raise UsageError("enroll takes recordings from PATH or from --source, not both")
    wish = Wish(name, tuple(paths or ()), neutral, labels, clips, seconds, yes, may_refine)
    raise typer.Exit(enroll_person(wish, load(config, set_, options).settings, json))
