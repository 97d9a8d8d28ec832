"""The recipe that fits what was found, as a file with comments, and the table that it needs where no reader fits."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from pydantic import BaseModel

from calibrate.discovery.findings import FEW_SPEAKERS, Findings
from calibrate.finished import keep_finished
from calibrate.recipe import CorpusRecipe, Recipe, read_recipe
from calibrate.recipe.reference import meaning
from edge.errors import UsageError
from edge.files import write_file
from edge.spreadsheet import CsvWriter

BASE = "default-train"
"""The shipped recipe whose encoder, head and augmentation are taken over."""
MOST_COPIED = 20_000
"""Clips; more vary enough of themselves, and would not fit into memory with copies."""
COMMENT_COLUMNS = 110
HEADER = """\
Written by `affectd-calibrate init` for {folder}: {found}.
  affectd-calibrate train {recipe} --data {data}
Paths are relative to that folder. docs/recipe.md lists every key; what is left out here has its default."""


def recipe_for(findings: Findings, source: str, name: str, encoder: str | None, licence: str | None) -> Recipe:
    """Return the recipe that fits the size of a corpus: the shipped one's head, with as many components as it can fill.

    Args:
        findings: what is in the folder.
        source: folder or table of the reader, relative to the data folder.
        name: of the recipe.
        encoder: over the shipped recipe's.
        licence: of the recordings; None: not stated.
    """
    base = read_recipe(Path(BASE))
    corpus = CorpusRecipe(
        name=findings.found.reader,
        folder=source,
        licence=licence or "not stated",
        licence_verified=licence is not None,
    )
    fractions = split_fractions(len(findings.speakers))
    train_clips = fractions[0] * len(findings.clips)
    dim = max(2, min(base.head.dim, 2 ** (int(train_clips / 2).bit_length() - 1)))
    copies = base.augmentation.copies if len(findings.clips) <= MOST_COPIED else 0
    return base.model_copy(
        update={
            "name": name,
            "labels": findings.labels,
            "corpora": (corpus,),
            "sounds": None,
            "splits": base.splits.model_copy(update={"fractions": fractions}),
            "encoder": base.encoder.model_copy(update={"name": encoder, "licence": "not stated"} if encoder else {}),
            "augmentation": base.augmentation.model_copy(update={"copies": copies}),
            "head": base.head.model_copy(update={"dim": dim}),
        }
    )


def split_fractions(speakers: int) -> tuple[float, float, float]:
    """Return the shares of speakers that train, validate and test: two or more test where there are four.

    A logistic head needs nobody to validate on; of many speakers some are kept for choices.
    """
    if speakers < 2:
        return 1.0, 0.0, 0.0
    if speakers >= 2 * FEW_SPEAKERS:
        return 0.7, 0.15, 0.15
    tested = max(min(2, speakers // 2), round(0.3 * speakers))
    share = round(tested / speakers, 2)
    return round(1 - share, 2), 0.0, share


def write_recipe(findings: Findings, out: Path, encoder: str | None, licence: str | None, force: bool) -> Recipe:
    """Write the recipe, and beside it, where no reader takes the folder as it is, a table of its clips.

    Raises:
        UsageError: one of them exists and may not be replaced, or cannot be written.
    """
    table = out.with_suffix(".csv")
    source = findings.found.source or table
    for path in {out, *([table] if source == table else [])}:
        keep_finished(path, force)
        if path.exists() and path.resolve() == findings.folder.resolve():
            raise UsageError(f"{path} is what was examined; --out writes elsewhere")
    out.parent.mkdir(parents=True, exist_ok=True)
    recipe = recipe_for(findings, os.path.relpath(source, out.parent), out.stem, encoder, licence)
    if source == table:
        write_file(table, table_text(findings, table))
    write_file(out, recipe_text(recipe, findings, out))
    return recipe


def table_text(findings: Findings, table: Path) -> str:
    """Return the clips as the plain CSV that the reader ``csv`` takes."""
    text = StringIO(newline="")
    writer = CsvWriter(text)
    writer.writerow(("path", "speaker", "emotion"))
    for clip, word in zip(findings.clips, findings.words, strict=True):
        writer.writerow((os.path.relpath(clip.path, table.parent), clip.speaker or "unknown", word))
    return text.getvalue()


def recipe_text(recipe: Recipe, findings: Findings, out: Path) -> str:
    """Return a recipe as TOML, the meaning of every key above it, and what is doubtful at the head."""
    header = HEADER.format(
        folder=findings.folder, found=findings.found.layout, recipe=out, data=os.path.relpath(out.parent)
    )
    lines = [*_comment(header), *_comment("".join(f"\n! {doubt}" for doubt in findings.doubts()))]
    sections = {key: getattr(recipe, key) for key in ("splits", "encoder", "augmentation", "head", "schedule")}
    lines += _keys(recipe, {"name", "seed", "labels"})
    for corpus in recipe.corpora:
        lines += ["", "[[corpora]]", *_keys(corpus, corpus.model_fields_set)]
    for name, section in sections.items():
        lines += ["", f"[{name}]", *_keys(section, section.model_fields_set)]
    return "\n".join(lines) + "\n"


def _keys(record: BaseModel, wanted: set[str]) -> Iterator[str]:
    for key in type(record).model_fields:
        if key in wanted:
            yield from _comment(meaning(type(record), key))
            yield f"{key} = {json.dumps(getattr(record, key), ensure_ascii=False)}"


def _comment(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield from textwrap.wrap(line, COMMENT_COLUMNS, initial_indent="# ", subsequent_indent="#   ")


def default_path(folder: Path) -> Path:
    """Return where the recipe of a folder or table lies: beside it, under its name."""
    place = folder.resolve()
    stem = re.sub(r"[^\w.-]+", "-", place.stem if place.is_file() else place.name) or "corpus"
    return Path(os.path.relpath(place.parent)) / f"{stem}.toml"
