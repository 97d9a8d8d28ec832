"""How a folder of recordings is laid out: a corpus that a reader knows, a table, or labels in the names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from calibrate.corpora import CORPORA, Corpus, CorpusListing
from calibrate.corpora.base import audio_files
from calibrate.corpora.labels import to_label
from calibrate.corpora.table import CSV
from calibrate.discovery.names import Part, by_pattern, parts_of, possible_speakers, the_speaker
from calibrate.discovery.tables import Columns, read_labels, tables_in
from edge.errors import UsageError, one_of

LEAST_FITTING = 0.9
"""Share of the recordings that a reader has to accept for a folder to be of its corpus."""
LEAST_LABELLED = 0.5
"""Share of the recordings in whose names an emotion stands."""
LABELS_IN_NAMES = "names"
"""Beside the readers, what ``--layout`` may be."""
TABLE = "table"

Choose = Callable[[Sequence[Part]], Part | None]
"""Asks which part of the names is who speaks."""


@dataclass(frozen=True)
class Clip:
    """A recording, and what is known of it."""

    path: Path
    emotion: str
    """As the folder calls it."""
    speaker: str = ""
    """Empty where nothing says who speaks."""


@dataclass(frozen=True)
class Discovery:
    """What a folder turned out to be."""

    layout: str
    """In words."""
    clips: list[Clip]
    speakers_from: str = ""
    """What says who speaks, in words; empty where nothing does."""
    reader: str = CSV.name
    """Of ``calibrate.corpora``, for the recipe."""
    source: Path | None = None
    """Folder or table that the reader takes as it is; None where a table has to be written for it."""
    refused: list[str] = field(default_factory=list)
    """Files and rows that do not fit, with the reason."""
    doubts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Hints:
    """What the user says about a folder."""

    layout: str | None = None
    """A reader, ``table`` or ``names``; None finds out."""
    columns: Columns = field(default_factory=Columns)
    speaker_pattern: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """Words of the folder to labels."""
    choose: Choose | None = None
    """None where nobody can be asked."""

    def label(self, word: str) -> str | None:
        """Return the known name of an emotion, or None where there is none."""
        name = self.labels.get(word.casefold(), word)
        try:
            to_label(name)
        except UsageError:
            return None
        return name


def discover(folder: Path, hints: Hints) -> Discovery:
    """Find out what a folder holds, or a table.

    Raises:
        UsageError: there is no such folder, or nothing in it says how the recordings sound.
    """
    if not folder.exists():
        raise UsageError(f"{folder}: no such folder")
    tables = tables_in(folder, hints.columns)
    if hints.layout not in (None, TABLE, LABELS_IN_NAMES):
        return _by_reader(one_of("--layout", str(hints.layout), list(CORPORA), TABLE, LABELS_IN_NAMES), folder)
    if hints.layout != LABELS_IN_NAMES and (tables or folder.is_file() or hints.layout == TABLE):
        return _with_speakers(_by_table(folder, tables, hints), hints)
    files = audio_files(folder)
    if not files:
        raise UsageError(f"{folder}: holds no recordings")
    known = None if hints.layout else _known_corpus(folder, len(files))
    return known or _by_names(folder, files, hints)


def _known_corpus(folder: Path, files: int) -> Discovery | None:
    """Return the corpus whose naming nearly all files keep; of two that take as many, none."""
    listings: dict[str, CorpusListing] = {}
    for name, reader in CORPORA.items():
        if isinstance(reader, Corpus) and not reader.halved:
            listings[name] = reader.read(folder)
        elif not isinstance(reader, Corpus) and reader is not CSV:
            try:
                listings[name] = reader.read(folder)
            except UsageError:
                continue
    most = max(len(listing.utterances) for listing in listings.values())
    if most < LEAST_FITTING * files:
        return None
    best = [name for name, listing in listings.items() if len(listing.utterances) == most]
    found = _by_reader(best[0], folder)
    if len(best) > 1:
        found.doubts.append(f"it may as well be {' or '.join(best[1:])}: --layout {best[1]}")
    return found


def _by_reader(name: str, folder: Path) -> Discovery:
    reader = CORPORA[name]
    listing = reader.read(folder)
    if not listing.utterances:
        raise UsageError(f"{folder}: holds no recording of {name}; expected {reader.layout}")
    clips = [
        Clip(utterance.path, utterance.emotion, utterance.speaker.removeprefix(f"{utterance.corpus}-"))
        for utterance in listing.utterances
    ]
    refused = [f"{path.name}: {reason}" for path, reason in listing.refused]
    return Discovery(f"the layout of {name}", clips, "the file names", name, folder, refused)


def _by_table(folder: Path, tables: Sequence[Path], hints: Hints) -> Discovery:
    table = read_labels(folder, tables, hints.columns)
    column = table.columns.speaker
    clips = [Clip(*row) for row in table.rows]
    source = table.file if table.plain else None
    layout = f"{table.file.name}, columns {', '.join(filter(None, table.columns))}"
    speakers_from = f"column {column}" if column else ""
    if any(hints.label(clip.emotion) != clip.emotion for clip in clips):
        source = None
    return Discovery(layout, clips, speakers_from, source=source, refused=table.refused)


def _by_names(folder: Path, files: list[Path], hints: Hints) -> Discovery:
    """Read labels from a sub-folder or a part of the file name."""
    parts = parts_of(files)
    share = {part: sum(hints.label(value) is not None for value in part.values) / len(files) for part in parts}
    labels = max(parts, key=share.__getitem__)
    if share[labels] < LEAST_LABELLED:
        raise UsageError(
            f"{folder}: holds {len(files)} recordings, and nothing says how they sound: neither a CSV with a column of "
            "paths and one of labels, nor sub-folders or file names that are called after emotions (--label "
            f"WORD=happy maps others), nor the layout of {', '.join(CORPORA)}"
        )
    clips = [Clip(folder / path, value) for path, value in zip(files, labels.values, strict=True)]
    return _with_speakers(Discovery(f"labels in {labels.where}", clips), hints, folder)


def _with_speakers(found: Discovery, hints: Hints, folder: Path | None = None) -> Discovery:
    """Find out who speaks, by the user's pattern or from the names, where nothing has said it so far."""
    if not found.clips:
        raise UsageError(f"{found.layout}: no row leads to a recording: {'; '.join(found.refused[:3])}")
    if found.speakers_from and not hints.speaker_pattern:
        return found
    paths = [_below(clip.path, folder) for clip in found.clips]
    doubts = list(found.doubts)
    if hints.speaker_pattern:
        part: Part | None = by_pattern(hints.speaker_pattern, paths)
    else:
        labels = [clip.emotion for clip in found.clips]
        possible = possible_speakers(parts_of(paths), labels, lambda word: hints.label(word) is not None)
        part = the_speaker(possible)
        if part is not None:
            doubts.append(
                f"who speaks is a guess, from {part.shown}; if it is wrong: --speaker-pattern "
                "'REGEX with (who speaks) in brackets'"
            )
        elif hints.choose and possible:
            part = hints.choose(possible)
        elif possible:
            several = "; or ".join(f"{each.shown}, --speaker-pattern '{each.pattern}'" for each in possible[:3])
            doubts.append(f"nothing says for sure who speaks. It may be {several}")
    if part is None:
        return replace(found, doubts=doubts)
    clips = [replace(clip, speaker=value) for clip, value in zip(found.clips, part.values, strict=True)]
    return replace(found, clips=clips, speakers_from=part.where, source=None, doubts=doubts)


def _below(path: Path, folder: Path | None) -> PurePath:
    return path.relative_to(folder) if folder else PurePath(*path.parts[-3:])
