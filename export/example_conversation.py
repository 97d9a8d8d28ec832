"""The example conversation of a checkout: its audio, and who speaks when."""

from __future__ import annotations

import csv
from pathlib import Path

from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.errors import UsageError

CONVERSATION = Path(__file__).resolve().parents[1] / "examples" / "conversation.flac"


def spans_s(path: Path = CONVERSATION) -> list[tuple[float, float]]:
    """Return start and end of every turn in seconds, from the script beside a conversation."""
    with path.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        return [(float(row["start_s"]), float(row["end_s"])) for row in csv.DictReader(file)]


def turns() -> list[Waveform]:
    """Return the audio of every turn, ``float32[samples]`` at 16 kHz each.

    Raises:
        UsageError: this is no checkout, so there is no example.
    """
    if not CONVERSATION.is_file():
        raise UsageError(f"{CONVERSATION}: is not there, so --data is needed for speech to compare embeddings on")
    samples = read_audio(CONVERSATION)
    return [samples[round(start * SAMPLE_RATE_HZ) : round(end * SAMPLE_RATE_HZ)] for start, end in spans_s()]
