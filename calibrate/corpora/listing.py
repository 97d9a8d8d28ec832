"""What a corpus folder holds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from calibrate.corpora import read_corpus
from calibrate.corpora.labels import to_label
from calibrate.report import Note, Report, Table


def list_corpus(name: str, folder: Path, strict: bool = False) -> Report:
    """Return utterances per emotion and label, speakers by gender, and every refused file with its reason."""
    listing = read_corpus(name, folder, strict)
    emotions = Counter(utterance.emotion for utterance in listing.utterances)
    speakers = {utterance.speaker: utterance.gender for utterance in listing.utterances}
    described = {
        "utterances": len(listing.utterances),
        "emotions": dict(emotions),
        "labels": {emotion: to_label(emotion) for emotion in emotions},
        "speakers": speakers,
        "refused": [{"path": str(path), "reason": reason} for path, reason in listing.refused],
    }
    rows = [(emotion, to_label(emotion) or "(left out)", count) for emotion, count in emotions.most_common()]
    genders = Counter(gender or "unknown" for gender in speakers.values())
    counted = ", ".join(f"{count} {gender}" for gender, count in genders.items())
    return Report(
        (),
        f"{name}: {len(listing.utterances)} utterances",
        "",
        described,
        [
            Table(("emotion", "label", "utterances"), rows),
            Note(f"{len(speakers)} speakers: {counted}"),
            *(Note(f"refused: {path.name}: {reason}") for path, reason in listing.refused),
        ],
    )
