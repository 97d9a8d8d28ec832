"""What was found in a folder: clips, labels and speakers, and what is missing or doubtful."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibrate.corpora import CORPORA, Corpus
from calibrate.corpora.labels import LABELS, to_label
from calibrate.corpora.lengths import measure_lengths
from calibrate.discovery.layout import Clip, Discovery, Hints, discover
from calibrate.report import Note, Report, Table
from edge.errors import UsageError

FEW_CLIPS = 20
"""Of a label; with fewer it is hardly learnt."""
FEW_SPEAKERS = 10
"""With fewer, figures on held-out speakers say little about others."""
LONGEST_S, SHORTEST_S = 12.0, 0.3
NOT_LABELS = ("other", "no agreement")


@dataclass(frozen=True)
class Findings:
    """What can be learned from, and what cannot."""

    folder: Path
    found: Discovery
    clips: list[Clip]
    """Those with a label that can be opened."""
    words: list[str]
    """Emotion of each, as readers know it."""
    clip_labels: list[str]
    """Label of each."""
    labels: tuple[str, ...]
    """Those that occur, in the order of a recipe."""
    lengths_s: list[float]
    """Of each clip."""
    unmapped: Counter[str]
    """Clips whose word for an emotion no label takes, by word."""
    unreadable: list[Path]

    @property
    def speakers(self) -> list[str]:
        """Who speaks, as far as it is known."""
        return sorted({clip.speaker for clip in self.clips} - {""})

    @property
    def may_train(self) -> bool:
        """Whether the licence of a known corpus allows to learn from it."""
        reader = CORPORA[self.found.reader]
        return not (isinstance(reader, Corpus) and reader.evaluation_only)

    def doubts(self) -> list[str]:
        """Return what is missing or doubtful, the gravest first."""
        return [
            *self._about_speakers(), *self._about_labels(), *self.found.doubts, *self._about_files(),
        ]  # fmt: skip

    def _about_speakers(self) -> list[str]:
        count = len(self.speakers)
        if count == 0:
            return [
                "no speakers are known, so no split can keep anybody apart: all train, as one person, and nobody is "
                "left to evaluate on; name a column (--speaker-column) or a pattern of the names (--speaker-pattern)"
            ]
        if count == 1:
            return ["one speaker: all clips train, and nobody is left to evaluate on; record others"]
        if count < FEW_SPEAKERS:
            return [f"{count} speakers: figures on those held out are rough; {FEW_SPEAKERS} or more say more"]
        return []

    def _about_labels(self) -> list[str]:
        doubts = []
        if self.unmapped:
            words = ", ".join(f"{word!r} ({count} clips)" for word, count in self.unmapped.most_common())
            word = next(iter(self.unmapped))
            doubts.append(
                f"no label for {words}: left out; --label '{word}=LABEL' maps one, LABEL being of {', '.join(LABELS)}"
            )
        for label, count in Counter(self.clip_labels).most_common():
            people = {clip.speaker for clip, own in zip(self.clips, self.clip_labels, strict=True) if own == label}
            if count < FEW_CLIPS:
                doubts.append(f"{label}: {count} clips; with fewer than {FEW_CLIPS} a label is hardly learnt")
            if len(people) == 1 and len(self.speakers) > 1:
                doubts.append(f"{label}: of one speaker only, so that it may be the voice that is learnt")
        return doubts

    def _about_files(self) -> list[str]:
        doubts = []
        if self.found.refused:
            some = "; ".join(self.found.refused[:3])
            doubts.append(f"{len(self.found.refused)} do not fit and are left out: {some}")
        if self.unreadable:
            doubts.append(f"{len(self.unreadable)} cannot be opened and are left out, such as {self.unreadable[0]}")
        lengths_s = np.array(self.lengths_s)
        if (longer := int((lengths_s > LONGEST_S).sum())) > 0:
            doubts.append(f"{longer} clips are longer than {LONGEST_S:g} s, of which the middle is used")
        if (shorter := int((lengths_s < SHORTEST_S).sum())) > 0:
            doubts.append(f"{shorter} clips are shorter than {SHORTEST_S:g} s")
        return doubts

    def report(self) -> Report:
        """Return what was found, for the terminal and as JSON."""
        counts = {label: Counter[str]() for label in self.labels}
        people: dict[str, set[str]] = {label: set() for label in self.labels}
        for clip, word, label in zip(self.clips, self.words, self.clip_labels, strict=True):
            counts[label][word] += 1
            people[label].add(clip.speaker)
        rows = [
            (label, ", ".join(sorted(counts[label])), counts[label].total(), len(people[label] - {""}) or None)
            for label in self.labels
        ]
        hours = sum(self.lengths_s) / 3600
        speakers = self.speakers
        who = f"{len(speakers)} speakers, from {self.found.speakers_from}" if speakers else "no speakers known"
        doubts = self.doubts()
        content = {
            "layout": self.found.layout,
            "clips": len(self.clips),
            "hours": round(hours, 4),
            "speakers": speakers,
            "labels": {label: counts[label].total() for label in self.labels},
            "unmapped": dict(self.unmapped),
            "doubts": doubts,
        }
        title = f"{self.folder}: {self.found.layout}"
        summary = f"{len(self.clips)} clips, {hours:.2f} h; {who}"
        table = Table(("label", "called", "clips", "speakers"), rows, title)
        return Report((), title, "", content, [table, Note(summary), *(Note(f"! {doubt}") for doubt in doubts)])


def examine(folder: Path, hints: Hints) -> Findings:
    """Find out what a folder holds and what a model can learn from it.

    Raises:
        UsageError: that is nothing, or one label alone.
    """
    found = discover(folder, hints)
    lengths_s = measure_lengths([clip.path for clip in found.clips])
    unreadable = [clip.path for clip, length_s in zip(found.clips, lengths_s, strict=True) if length_s is None]
    words = {clip.emotion: hints.label(clip.emotion) for clip in found.clips}
    labels = _labels({word: name for word, name in words.items() if name is not None})
    unmapped = Counter(clip.emotion for clip in found.clips if clip.emotion not in labels)
    kept = [
        (clip, length_s)
        for clip, length_s in zip(found.clips, lengths_s, strict=True)
        if clip.emotion in labels and length_s is not None
    ]
    occurring = {labels[clip.emotion] for clip, _ in kept}
    if len(occurring) < 2:
        seen = ", ".join(sorted(words)[:10])
        raise UsageError(
            f"{folder}: has {'one label' if occurring else 'no label'} that is known, and two are needed; it calls "
            f"its clips {seen}; known are {', '.join(LABELS)}; --label WORD=happy maps others"
        )
    return Findings(
        folder, found,
        [clip for clip, _ in kept],
        [words[clip.emotion] or "" for clip, _ in kept],
        [labels[clip.emotion] for clip, _ in kept],
        tuple(label for label in LABELS if label in occurring),
        [length_s for _, length_s in kept],
        unmapped,
        unreadable,
    )  # fmt: skip


def _labels(names: dict[str, str]) -> dict[str, str]:
    """Return the label of each word that has one; calm is neutral, unless nothing else is."""
    found = {word: to_label(name, LABELS) for word, name in names.items()}
    merges = "neutral" in found.values()
    merged: dict[str, str | None] = {
        word: "neutral" if label == "calm" and merges else label for word, label in found.items()
    }
    return {word: label for word, label in merged.items() if label is not None and label not in NOT_LABELS}
