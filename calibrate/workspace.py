"""What a command works with: where its data and its caches lie, and what it computes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from edge.errors import UsageError


@dataclass(frozen=True)
class Workspace:
    """Folders and computing resources that every experiment takes as they are."""

    data: Path = Path()
    """Folder that a recipe's corpora and splits are relative to."""
    cache: Path = Path("cache")
    """Folder for features of frozen encoders, voiceprints and other results that are slow to compute."""
    threads: int = 1
    """Of torch, and of a bundle's sessions."""
    device: str = "cpu"
    """Of torch: ``cpu``, ``cuda``, ``cuda:1``."""

    def open(self) -> Workspace:
        """Let torch use these threads, and return the workspace."""
        torch.set_num_threads(self.threads)
        return self

    def torch_device(self) -> torch.device:
        """Return the device, once it has proved to work.

        Raises:
            UsageError: it does not.
        """
        try:
            device = torch.device(self.device)
            torch.zeros(1, device=device).item()
        except (RuntimeError, AssertionError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise UsageError(f"device {self.device!r} is not usable here: {reason}") from None
        return device
