"""The plan of a run: what every part is asked to measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibrate.dataset import Part, read_parts
from calibrate.recipe import read_recipe
from calibrate.splits import Split
from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.bundle import Bundle
from edge.errors import UsageError
from export.example_conversation import CONVERSATION

# fmt: off
LENGTHS_S = (
    2.30, 3.68, 2.77, 1.75, 2.40, 2.22, 1.62, 2.69, 2.43, 3.08, 3.10, 2.58, 2.30, 2.10, 3.52, 4.07,
    3.80, 3.60, 1.95, 3.25, 2.56, 3.69, 3.49, 3.94, 3.14, 2.87, 4.10, 3.07, 3.39, 3.75, 3.74, 4.00,
    3.01, 2.76, 3.17, 2.86, 3.64, 2.04, 2.90, 1.02, 3.13, 2.19, 3.24, 2.52, 3.57, 3.87, 2.83, 4.54,
    1.81, 2.52, 3.53, 2.59, 3.23, 3.45, 3.80, 2.79, 3.80, 3.41, 3.01, 2.87, 3.24, 3.50, 3.09, 2.31,
    3.80, 3.50, 1.96, 3.24, 4.04, 1.92, 3.44, 2.17, 3.58, 3.06, 1.64, 3.25, 2.54, 3.91, 3.03, 2.94,
    2.36, 3.79, 3.77, 3.37, 3.87, 1.11, 3.67, 2.27, 3.60, 2.19, 3.67, 1.94, 3.03, 3.12, 3.25, 2.29,
    2.43, 3.82, 3.19, 1.77, 2.38, 2.94, 1.82, 3.89, 1.88, 3.35, 2.76, 3.97, 3.64, 2.60, 2.07, 3.88,
    1.96, 2.58, 3.97, 1.79, 3.54, 3.50, 3.81, 2.11, 3.37, 1.47, 3.87, 2.63, 3.33, 1.68, 1.52, 3.70,
)
# fmt: on
"""Seconds of 128 clips drawn at random from RAVDESS, nEMO and BanglaSER together, which are 5,895 clips."""


@dataclass(frozen=True)
class Plan:
    """The options of the command."""

    bundles: tuple[Bundle, ...]
    """What is offered; the first is what targets are about."""
    rounds: int = 11
    threads: tuple[int, ...] = (1,)
    data: Path | None = None
    """Folder of corpora; what needs them is skipped without."""
    recipe: Path = Path("configs/default-train.toml")
    cache: Path = Path("cache")
    whisper: Path | None = None
    """Folder of Whisper-base's encoder; random weights without."""
    quick: bool = False
    """Show that everything runs, not how fast."""

    def parts(self) -> dict[Split, Part]:
        """Return the speaker-disjoint parts of the corpora.

        Raises:
            UsageError: there is no data folder, or it does not hold what the recipe names.
        """
        if self.data is None:
            raise UsageError("without --data there are no corpora")
        return read_parts(read_recipe(self.recipe), self.data)

    def some(self, clips: Sequence[Path], count: int) -> list[Path]:
        """Return ``count`` of the files, the same in every run."""
        chosen = np.random.default_rng(0).permutation(len(clips))[: 3 if self.quick else count]
        return [clips[index] for index in chosen]


def label(bundle: Bundle) -> str:
    """Return what tables call a bundle."""
    return f"{bundle.manifest.name}, {bundle.manifest.encoder.precision}"


def conversation(duration_s: float) -> Waveform:
    """Return the first ``float32[samples]`` of the example conversation, repeated as often as needed."""
    return np.resize(read_audio(CONVERSATION), round(duration_s * SAMPLE_RATE_HZ))
