"""What one processor answers to ``examples/conversation.flac``; ``make arm64`` runs this on both."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.bundle import Bundle
from edge.cli.app import main as affectd
from edge.encoder import Encoder, SpeakerEncoder
from edge.settings import EncoderSettings

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def turns() -> list[Waveform]:
    """Return who says what in the conversation."""
    samples = read_audio(EXAMPLES / "conversation.flac")
    with (EXAMPLES / "conversation.csv").open(newline="") as file:
        spans_s = [(float(row["start_s"]), float(row["end_s"])) for row in csv.DictReader(file)]
    return [samples[round(start * SAMPLE_RATE_HZ) : round(end * SAMPLE_RATE_HZ)] for start, end in spans_s]


def main(name: str, out: str, apart: float) -> None:
    """Write the samples, the graphs' outputs, unpadded and in a bucket, and the probabilities; then `affectd run`.

    Unless ``apart`` is 0 each sample is that share of it larger or smaller, by chance, and nothing is run.
    """
    bundle, settings, noise = Bundle.load(Path(name)), EncoderSettings(provider="cpu"), np.random.default_rng(0)
    waveforms = [np.float32(turn * (1 + apart * noise.choice([-1, 1], len(turn)))) for turn in turns()]
    found = {"samples": np.concatenate(waveforms)}
    graphs = [Encoder.of(bundle, settings), *([SpeakerEncoder.of(bundle, settings)] if bundle.manifest.speaker else [])]
    for graph in graphs:
        graph.open()
        for how in ("", " in a bucket"):
            lengths = [graph.buckets.fit(len(turn)) if how else len(turn) for turn in waveforms]
            rows = [graph.embed([turn], length) for turn, length in zip(waveforms, lengths, strict=True)]
            found[graph.output + how] = np.concatenate(rows)
    for how in ("", " in a bucket"):
        found[f"probabilities{how}"] = bundle.head.probabilities(found[f"embedding{how}"])
    np.savez(out, allow_pickle=False, **found)
    if not apart:
        sys.argv[1:] = ["run", "--source", str(EXAMPLES / "conversation.flac"), "--fast", "--json", "--bundle", name]
        affectd()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
