"""The report: sections of tables as Markdown for people, and every figure as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from export.measure.machine import Machine

INTRODUCTION = """\
`make bench` repeats all of it. Times are milliseconds, medians with the quartiles in brackets; what is compared in a
table was measured side by side in one run and took turns within every round, after a round to warm up. Every single
value is in [{json}]({json})."""


@dataclass(frozen=True)
class Table:
    """Rows of text under a heading."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def markdown(self) -> str:
        """Return the table with its title."""
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        return "\n".join([f"**{self.title}**", "", *(f"| {' | '.join(line)} |" for line in lines)])


@dataclass(frozen=True)
class Target:
    """Something promised, and what was measured."""

    promise: str
    measured: str
    met: bool


@dataclass(frozen=True)
class Section:
    """What one part of the benchmark found."""

    title: str
    notes: str
    """What was measured and how, as Markdown."""
    tables: list[Table]
    figures: dict[str, Any]
    """Every value, for JSON."""
    targets: list[Target] = field(default_factory=list)
    load: float | None = None
    """Of the machine before, a minute's average: what else was running; None when it was not recorded."""

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Section:
        """Rebuild a section from what a report wrote."""
        tables = [Table(row["title"], tuple(row["header"]), [*map(tuple, row["rows"])]) for row in record["tables"]]
        targets = [Target(**target) for target in record["targets"]]
        return cls(record["title"], record["notes"], tables, record["figures"], targets, record["load"])


@dataclass(frozen=True)
class Report:
    """Everything on a page."""

    machine: Machine
    bundles: dict[str, str]
    """Label to the SHA-256 of the encoder."""
    command: str
    sections: dict[str, Section]
    """Part to what it found."""
    skipped: Sequence[str] = ()
    """What could not be measured, and why."""

    def over(self, page: Path) -> Report:
        """Return the report with the parts that only an older page has, if it is of the same machine and bundles."""
        try:
            record = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
            older = {part: Section.from_json(section) for part, section in record["parts"].items()}
        except (OSError, ValueError, KeyError, TypeError):
            return self
        if (record["machine"], record["bundles"]) != (json.loads(json.dumps(asdict(self.machine))), self.bundles):
            return self
        return replace(self, command=record["command"], sections=older | self.sections)

    def markdown(self, json_name: str = "benchmarks.json") -> str:
        """Return the page."""
        lines = ["# Benchmarks", INTRODUCTION.format(json=json_name)]
        bundles = "; ".join(f"{label} (encoder {sha256[:12]})" for label, sha256 in self.bundles.items())
        lines += [f"Machine: {self.machine}.", f"Bundles: {bundles}.", f"Command: `{self.command}`"]
        lines += [f"Not measured: {reason}." for reason in self.skipped]
        targets = [target for section in self.sections.values() for target in section.targets]
        if targets:
            rows = [(target.promise, target.measured, "yes" if target.met else "**no**") for target in targets]
            lines += ["## Targets", _bare(Table("", ("promise", "measured", "met"), rows))]
        for part, section in self.sections.items():
            lines += [f"## {section.title}", section.notes, *(table.markdown() for table in section.tables)]
            again = f'Again: `make bench ARGS="--only {part}"`, with the options of the command above.'
            lines += [again if section.load is None else f"{again} Load before: {section.load:g}."]
        return "\n\n".join(lines) + "\n"

    def as_json(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "machine": asdict(self.machine),
            "bundles": self.bundles,
            "command": self.command,
            "skipped": list(self.skipped),
            "parts": {part: asdict(section) for part, section in self.sections.items()},
        }

    def write(self, page: Path) -> None:
        """Write the page, and the JSON beside it."""
        page.parent.mkdir(parents=True, exist_ok=True)
        beside = page.with_suffix(".json")
        beside.write_text(json.dumps(self.as_json(), indent=1) + "\n", encoding="utf-8")
        page.write_text(self.markdown(beside.name), encoding="utf-8")


def _bare(table: Table) -> str:
    return table.markdown().partition("\n\n")[2]
