"""What ``affectd-calibrate corpus`` shows."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from calibrate.corpora import read_corpus
from calibrate.corpora.labels import to_label


def show_corpus(name: str, folder: Path, strict: bool, as_json: bool) -> None:
    """Print utterances per emotion and label, speakers by gender, and every refused file with its reason."""
    listing = read_corpus(name, folder, strict)
    emotions = Counter(utterance.emotion for utterance in listing.utterances)
    speakers = {utterance.speaker: utterance.gender for utterance in listing.utterances}
    if as_json:
        described = {
            "utterances": len(listing.utterances),
            "emotions": dict(emotions),
            "labels": {emotion: to_label(emotion) for emotion in emotions},
            "speakers": speakers,
            "refused": [{"path": str(path), "reason": reason} for path, reason in listing.refused],
        }
        json.dump(described, sys.stdout, indent=2, ensure_ascii=False)
        print()
        return
    console = Console()
    table = Table("emotion", "label", "utterances", title=f"{name}: {len(listing.utterances)} utterances")
    for emotion, count in emotions.most_common():
        table.add_row(emotion, to_label(emotion) or "(left out)", str(count))
    console.print(table)
    genders = Counter(gender or "unknown" for gender in speakers.values())
    console.print(f"{len(speakers)} speakers: " + ", ".join(f"{count} {gender}" for gender, count in genders.items()))
    for path, reason in listing.refused:
        console.print(f"refused: {path.name}: {reason}", markup=False, highlight=False)
