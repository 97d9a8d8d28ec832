"""``affectd-calibrate init``."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calibrate.cli.options import Debug, Force, Json
from edge.cli.kit.entry import examples
from edge.errors import UsageError

if TYPE_CHECKING:
    from calibrate.discovery.names import Part

EXAMPLES = examples(
    "affectd-calibrate init my-corpus/",
    "affectd-calibrate init my-corpus/ --label-column mood --speaker-column who --label joyous=happy",
    "affectd-calibrate init clips/ --speaker-pattern '^[a-z]+/([a-z]+)_' --out recipes/clips.toml",
)
Column = Annotated[str | None, typer.Option(metavar="NAME", show_default="as such columns are usually called")]


def init(
    folder: Annotated[Path, typer.Argument(help="Folder of recordings, or a table of them.")],
    *,
    out: Annotated[
        Path | None, typer.Option(help="Recipe to write.", dir_okay=False, metavar="FILE", show_default="FOLDER.toml")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="ravdess, nemo, …; table: a CSV; names: sub-folders or file names called after emotions.",
            metavar="NAME", show_default="found out",
        ),
    ] = None,
    path_column: Column = None,
    label_column: Column = None,
    speaker_column: Column = None,
    speaker_pattern: Annotated[
        str | None,
        typer.Option(help="Regular expression whose group is who speaks, in a path.", show_default="found out"),
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="Another word for a label: joyous=happy. Repeatable.")] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="Hub name or folder of the pretrained encoder.", show_default="openai/whisper-base"),
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Of the recordings, for the model card.")] = None,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Look at a folder of recordings, say what is in it and what is missing, and write the recipe that fits it.

    Labels and speakers come from a layout that a reader knows, from a CSV, or from sub-folders and file names. Where
    names leave open who speaks, it asks on a terminal.
    """
    from calibrate.discovery.findings import examine
    from calibrate.discovery.layout import Hints
    from calibrate.discovery.recipe_file import default_path, write_recipe
    from calibrate.discovery.tables import Columns

    may_ask = sys.stdin.isatty() and sys.stderr.isatty()
    columns = Columns(path_column, label_column, speaker_column)
    hints = Hints(layout, columns, speaker_pattern, _words(label or []), _choose if may_ask else None)
    findings = examine(folder, hints)
    if not findings.may_train:
        raise UsageError(
            f"{folder}: is {findings.found.reader}, whose licence allows evaluation only; nothing may learn from it"
        )
    target = out or default_path(folder)
    recipe = write_recipe(findings, target, encoder, licence, force)
    findings.report().show(json)
    if json:
        return
    print(f"recipe written to {target}; next:")
    for line in next_commands(target, recipe.name, bool(recipe.splits.fractions[2])):
        print(f"  {line}")


def next_commands(recipe: Path, name: str, is_tested: bool) -> list[str]:
    """Return the commands that lead from a recipe to a bundle that runs; without test speakers, to a run."""
    data = f"--data {recipe.parent}"
    train = f"affectd-calibrate train {recipe} {data}"
    if not is_tested:
        return [train]
    return [
        train,
        f"affectd-calibrate evaluate runs/{name} {data}",
        f"affectd-export bundle runs/{name} {data} --out bundles/{name}",
        f"affectd run --bundle bundles/{name}",
    ]


def _words(pairs: Sequence[str]) -> Mapping[str, str]:
    """Return the user's words for labels, in lower case."""
    from calibrate.corpora.labels import to_label

    found = {}
    for pair in pairs:
        word, _, label = pair.rpartition("=")
        if not word:
            raise UsageError(f"--label {pair!r} is not WORD=LABEL, such as joyous=happy")
        to_label(label)
        found[word.casefold()] = label
    return found


def _choose(possible: "Sequence[Part]") -> "Part | None":
    """Ask which part of the names is who speaks."""
    typer.echo("Who speaks is not certain. Is it:", err=True)
    for number, part in enumerate(possible, start=1):
        typer.echo(f"  {number}  {part.shown}", err=True)
    typer.echo("  0  none of these", err=True)
    answer = -1
    while not 0 <= answer <= len(possible):
        answer = typer.prompt("Number", type=int, err=True)
    return possible[answer - 1] if answer else None
