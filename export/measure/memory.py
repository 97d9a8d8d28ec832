"""Peak memory of one way to batch, in a fresh process that holds nothing else: ``python -m export.measure.memory``.

Arguments are the bundle's folder and the strategy; standard input is a JSON list of lengths in samples. Prints JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.bundle import Bundle
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings
from export.measure.batching import STRATEGIES, embed


def peak_mb(bundle: Bundle, strategy: str, lengths: Sequence[int]) -> dict[str, float]:
    """Return the peaks ``loaded``, when the encoder is warm and the audio there, and ``run`` of a fresh process."""
    command = [sys.executable, "-m", "export.measure.memory", str(bundle.folder), strategy]
    found = subprocess.run(command, input=json.dumps(lengths), capture_output=True, text=True, check=True)
    peaks: dict[str, float] = json.loads(found.stdout)
    return peaks


def main() -> None:
    """Run a strategy once."""
    folder, strategy = sys.argv[1:]
    lengths: list[int] = json.loads(sys.stdin.read())
    settings = EncoderSettings(provider="cpu")
    recognizer = Recognizer(Bundle.load(Path(folder)), settings)
    recognizer.load()
    rng = np.random.default_rng(0)
    waveforms = [rng.uniform(-0.1, 0.1, length).astype(np.float32) for length in lengths]
    loaded = _peak_mb()
    embed(recognizer.encoder, waveforms, STRATEGIES[strategy](lengths, recognizer.buckets, settings.max_batch))
    print(json.dumps({"loaded": loaded, "run": _peak_mb()}))


def _peak_mb() -> float:
    """Return the most that was resident; 0 where the kernel does not tell.

    ``getrusage`` would begin with what the parent held when it forked.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM:")), 0.0)


if __name__ == "__main__":
    main()
