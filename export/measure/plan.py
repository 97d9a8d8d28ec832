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
