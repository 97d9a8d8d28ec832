"""The options that several commands of ``affectd-export`` share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

import typer

from edge.cli.kit.entry import set_debug
from edge.errors import UsageError, nearest

EncoderName = Annotated[
    str | None,
    typer.Option("--encoder", help="Hub name or folder of the pretrained encoder, over the run's."),
]
Threads = Annotated[int, typer.Option(min=1, help="Threads of torch and onnxruntime.")]
Debug = Annotated[bool, typer.Option("--debug", callback=set_debug, help="Show tracebacks.")]

Choice = TypeVar("Choice", bound=str)


def one_of(what: str, name: str, allowed: Sequence[Choice], *others: str) -> Choice:
    """Return the choice of this name.

    Raises:
        UsageError: there is none; names the nearest of the allowed and the ``others``.
    """
    for choice in allowed:
        if choice == name:
            return choice
    names: list[str] = [*allowed, *others]
    raise UsageError(f"{what} {name!r} is not one of {', '.join(names)}{nearest(name, names)}")
