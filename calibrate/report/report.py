"""The report that every experiment returns, and every form that it takes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from rich.console import Console

from calibrate.progress import stage
from calibrate.report.blocks import Block, Note, Picture, Table, sentence
from calibrate.report.page import page
from edge.spreadsheet import CsvWriter


@dataclass(frozen=True)
class Report:
    """What was measured, how, and what it came to.

    Args:
        files: names of the files to write; their suffixes (``.md``, ``.json``, ``.csv``, ``.html``) say as what.
        title: heading, and that of the terminal's tables that have none.
        protocol: how the figures came about; empty where that is plain.
        content: JSON values, for programs.
        blocks: tables, notes and pictures, in reading order.
        sheet: the table of the CSV file.
        parts: subfolder to a report that is written there along with this one.
        attachments: each writes more files to the folder.
        closing: what the terminal says once the report is written.
    """

    files: Sequence[str]
    title: str
    protocol: str
    content: Mapping[str, Any]
    blocks: Sequence[Block]
    sheet: Table | None = None
    parts: Mapping[str, Report] = field(default_factory=dict)
    attachments: Sequence[Callable[[Path], object]] = ()
    closing: str = "report written to {out}"

    def write(self, out: Path | None) -> None:
        """Write files, pictures, parts and attachments to a folder; None writes nothing."""
        if out is None:
            return
        out.mkdir(parents=True, exist_ok=True)
        with stage(f"writing {out}"):
            self._write(out)

    def _write(self, out: Path) -> None:
        for block in self.blocks:
            if isinstance(block, Picture):
                block.write(out)
        for name in self.files:
            (out / name).write_text(self._as(PurePath(name).suffix, out), encoding="utf-8", newline="")
        for folder, part in self.parts.items():
            part.write(out / folder)
        for attach in self.attachments:
            attach(out)

    def show(self, as_json: bool = False, out: Path | None = None) -> None:
        """Print the JSON, or the terminal's tables and notes and where the report was written."""
        if as_json:
            print(json.dumps(self.values))
            return
        console = Console()
        for block in self.blocks:
            if isinstance(block, Picture) or block.medium == "file":
                continue
            if isinstance(block, Table):
                console.print(block.grid(self.title))
            else:
                console.print(block.text, highlight=False, markup=False)
        if out is not None:
            print(self.closing.format(out=out))

    @property
    def values(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {"protocol": self.protocol, **self.content} if self.protocol else dict(self.content)

    @property
    def filed(self) -> list[Block]:
        """The blocks that belong in files."""
        return [block for block in self.blocks if isinstance(block, Picture) or block.medium != "terminal"]

    def markdown(self) -> str:
        """Return the report as Markdown; pictures are named, not held."""
        paragraphs = [f"# {self.title}"] if self.title else []
        paragraphs += [f"Protocol: {self.protocol}."] if self.protocol else []
        for block in self.filed:
            if isinstance(block, Picture):
                paragraphs.append(f"![{block.caption}]({block.file})")
            elif isinstance(block, Note):
                paragraphs.append(block.text)
            else:
                paragraphs += [f"## {block.title}"] if block.title else []
                paragraphs.append("\n".join(block.markdown()))
                paragraphs += [sentence(block.caption)] if block.caption else []
        return "\n\n".join(paragraphs) + "\n"

    def _as(self, suffix: str, out: Path) -> str:
        """Return the text of a file."""
        if suffix == ".md":
            return self.markdown()
        if suffix == ".json":
            return json.dumps(self.values, indent=2) + "\n"
        if suffix == ".html":
            return page(self.title, self.protocol, self.filed, out)
        assert suffix == ".csv"
        assert self.sheet is not None
        text = io.StringIO(newline="")
        CsvWriter(text).writerows([self.sheet.columns, *self.sheet.cells])
        return text.getvalue()
