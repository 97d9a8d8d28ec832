"""How long recordings are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import soundfile

from calibrate.progress import progress_bar


def measure_lengths(paths: Sequence[Path]) -> list[float | None]:
    """Return the duration of each file in seconds, None for what cannot be opened."""
    lengths_s: list[float | None] = []
    with progress_bar() as progress:
        for path in progress.track(paths, description="measuring"):
            try:
                lengths_s.append(float(soundfile.info(path).duration))
            except (soundfile.LibsndfileError, OSError):
                lengths_s.append(None)
    return lengths_s
