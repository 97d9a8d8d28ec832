"""openSMILE's functionals (Eyben et al. 2013), the field's classical features, one clip after another on one thread.

The package is an extra, ``bench``; openSMILE's licence is for research and private use only.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from calibrate.progress import progress_bar
from edge.analyze import whole_file_waveform
from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ, Waveform

FEATURE_SETS = {"openSMILE eGeMAPS": "eGeMAPSv02", "openSMILE ComParE": "ComParE_2016"}
"""Name in tables to name in openSMILE."""


def installed() -> bool:
    """Tell whether the package is there."""
    return importlib.util.find_spec("opensmile") is not None


class Functionals:
    """Utterance-level features of one feature set."""

    def __init__(self, feature_set: str) -> None:
        import opensmile  # noqa: PLC0415 - an extra

        self.name = f"{feature_set}-{opensmile.__version__}"
        self._smile = opensmile.Smile(opensmile.FeatureSet[feature_set], opensmile.FeatureLevel.Functionals)

    def __call__(self, waveform: Waveform) -> Matrix:
        """Return ``float32[features]`` of ``float32[samples]`` at 16 kHz; what is undefined in silence is zero."""
        # The call without pandas around it, which costs milliseconds.
        features = np.asarray(self._smile(waveform, SAMPLE_RATE_HZ), np.float32).reshape(-1)
        return np.nan_to_num(features)

    def table(self, paths: Sequence[Path], cache: Path) -> npt.NDArray[np.float32]:
        """Return ``float32[clips, features]`` of what is spoken in each, kept in a file of its own under ``cache``."""
        folder = cache / "opensmile" / self.name
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        with progress_bar() as progress:
            for path in progress.track(paths, description=self.name):
                waveform = whole_file_waveform(path)
                kept = folder / f"{hashlib.sha256(waveform.tobytes()).hexdigest()[:32]}.npy"
                if not kept.exists():
                    partial = kept.with_suffix(".partial")
                    with partial.open("wb") as file:
                        np.save(file, self(waveform))
                    partial.rename(kept)
                rows.append(np.load(kept))
        return np.stack(rows)
