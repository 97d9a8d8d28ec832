"""A profile as tables of plain text, the same on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge.profiling.compare import LEVEL, Change, Comparison, Verdict
from edge.profiling.measurements import QUANTILES, Profile, Row

TITLES = {
    "start": "Start: fresh processes of affectd run",
    "pipeline": "Pipeline: from the end of speech to the event",
    "direct": "Lengths and batches: each stage by itself, ms per inference",
    "sweep": "Settings: ms per inference of the encoder",
    "streams": "Live sources on one core that talk half of the time: the answer, and the final event, silence apart",
    "overhead": "The profiler itself: CPU time with (on) and without (off), and telling of one utterance",
}
MEANINGS = {
    "endpoint": "silence that ends an utterance",
    "capture": "from the deciding sample to the queue",
    "vad": "voice activity, pauses included",
    "queue": "waiting for the encoder",
    "speaker": "voiceprint",
    "adapt": "who it is, and their profile",
    "publish": "handing the event to the outputs",
    "provisional": "end of speech → provisional answer ready",
    "answer": "speech known to be over → final event out",
    "total": "end of speech → final event ready",
    "cold start": "process start → READY, all lengths warm",
    "first inference": "shortest length, nothing warm",
    "first utterance": "its inference, after READY",
    "peak memory": "resident, after one utterance",
}


@dataclass(frozen=True)
class TextTable:
    """A table."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[int] = frozenset()
    """Rows that matter most."""
    numbers_from: int = 1
    """The columns before are names."""

    def without_meanings(self) -> TextTable:
        """Return it without a last column that has no head."""
        if self.heads[-1]:
            return self
        return replace(self, heads=self.heads[:-1], rows=tuple(row[:-1] for row in self.rows))

    def as_list(self) -> TextTable:
        """Return it in two columns: the name of each row, and what the other columns say with their heads."""
        rows = [
            (
                row[0],
                ", ".join(f"{head} {cell}".strip() for head, cell in zip(self.heads[1:], row[1:], strict=True) if cell),
            )
            for row in self.rows
        ]
        title = f"{self.title}: {self.heads[0]}" if self.heads[0] else self.title
        return replace(self, title=title, heads=("", ""), rows=tuple(rows), numbers_from=2)


def facts_table(profile: Profile) -> TextTable:
    """Return what was measured on what."""
    machine, model = profile.machine, profile.model
    memory = "" if machine.memory_mb is None else f", {machine.memory_mb} MB"
    rows = {
        "machine": f"{machine.cpu}, {machine.cores} cores{memory}, governor {machine.governor or 'unknown'}",
        "system": machine.system,
        "versions": ", ".join(f"{name} {version}" for name, version in machine.versions.items()),
        "model": f"{model.bundle} {model.version} ({model.sha256[:12]}), {model.architecture}, {model.precision}",
        "runs on": f"{model.provider or 'not loaded yet'}, {model.threads} thread(s), batches up to {model.max_batch}",
    }
    if profile.audio_s:
        rows["heard"] = f"{profile.audio_s:.1f} s{' of ' if profile.audio else ''}{', '.join(profile.audio)}"
    for sensor in profile.sensors:
        rows[sensor.name] = f"median {sensor.median:g}, highest {sensor.highest:g}, n {sensor.n}"
    notes = tuple(("note", note) for note in profile.notes)
    return TextTable(f"affectd profile, {profile.time}", ("", ""), (*rows.items(), *notes), numbers_from=2)


def profile_tables(profile: Profile, every_length: bool) -> list[TextTable]:
    """Return the tables of the figures; ``every_length`` also breaks the pipeline's stages down by length."""
    tables = []
    for part, title in TITLES.items():
        rows = [row for row in profile.rows if row.part == part and _is_shown(row, every_length)]
        if rows:
            tables.append(_direct_table(title, rows) if part == "direct" else _quantile_table(title, rows))
    return tables


def comparison_table(comparison: Comparison, every_length: bool) -> TextTable:
    """Return the change of each row; those beyond noise are bold. ``every_length`` as for ``profile_tables``."""
    changes = [change for change in comparison.changes if _is_shown(change.new, every_length)]
    rows = [_change_cells(change) for change in changes]
    for alone, word in ((comparison.only_old, "gone"), (comparison.only_new, "new")):
        for row in alone:
            if not _is_shown(row, every_length):
                continue
            median = f"{_figure(row.quantile(0.5))} {row.unit}"
            then, now = (median, "—") if word == "gone" else ("—", median)
            rows.append((f"{row.part}: {row.name}", then, now, "", "", word))
    beyond = (Verdict.LESS, Verdict.MORE)
    bold = frozenset(index for index, change in enumerate(changes) if change.verdict in beyond)
    heads = ("median of", "then", "now", "change", f"{LEVEL:.0%} interval", "verdict")
    return TextTable("Change", heads, tuple(rows), bold)


def _is_shown(row: Row, every_length: bool) -> bool:
    return every_length or row.part != "pipeline" or row.bucket_s is None


def _quantile_table(title: str, rows: Sequence[Row]) -> TextTable:
    heads = ("", *QUANTILES, "n", "RTF", "")
    cells = tuple(
        (
            row.name,
            *(f"{_figure(row.quantile(share))} {row.unit}" for share in QUANTILES.values()),
            str(row.n),
            _factor(row.real_time_factor),
            MEANINGS.get(row.stage, ""),
        )
        for row in rows
    )
    bold = frozenset(index for index, row in enumerate(rows) if row.stage == "provisional")
    return TextTable(title, heads, cells, bold)


def _direct_table(title: str, rows: Sequence[Row]) -> TextTable:
    """Return a line for each length and batch: the encoder in full, the other stages' medians."""
    by_key = {(row.bucket_s, row.batch, row.stage): row for row in rows}
    others = list(dict.fromkeys(row.stage for row in rows if row.stage != "encoder"))
    cells = []
    for row in rows:
        if row.stage != "encoder":
            continue
        medians = [by_key.get((row.bucket_s, row.batch, stage)) for stage in others]
        cells.append(
            (
                f"{row.bucket_s:g} s x {row.batch}",
                *(_figure(row.quantile(share)) for share in QUANTILES.values()),
                str(row.n),
                _factor(row.real_time_factor),
                *("" if other is None else _figure(other.quantile(0.5)) for other in medians),
            )
        )
    heads = ("encoder", *QUANTILES, "n", "RTF", *(f"{stage} p50" for stage in others))
    return TextTable(title, heads, tuple(cells))


def _change_cells(change: Change) -> tuple[str, ...]:
    percent = "" if change.percent is None else f"{change.percent:+.1f} %"
    unit = change.new.unit
    return (
        f"{change.new.part}: {change.new.name}",
        f"{_figure(change.old.quantile(0.5))} {unit}",
        f"{_figure(change.new.quantile(0.5))} {unit}",
        percent,
        f"{change.low:+.3g} … {change.high:+.3g} {unit}",
        change.verdict.value,
    )


def _figure(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def _factor(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}" if value >= 1e-4 else "<.0001"
