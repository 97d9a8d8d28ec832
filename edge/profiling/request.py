"""What ``affectd profile`` is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.errors import UsageError


@dataclass(frozen=True)
class ProfileRequest:
    """The command line."""

    arguments: tuple[str, ...] = ()
    """Recordings, or with ``attach`` a process id."""
    attach: bool = False
    duration_s: float | None = None
    sweep: bool = False
    overhead: bool = False
    streams: tuple[int, ...] = ()
    """Numbers of sources to listen to at once."""
    batches: tuple[int, ...] = (1, 8)
    rounds: int = 5
    plays: int = 1
    json: bool = False
    html: Path | None = None
    trace: Path | None = None
    compare: Path | None = None
    out: Path | None = None
    bundles: tuple[str, ...] = ()
    """More than one is for ``sweep``."""

    def check(self) -> None:
        """Raise UsageError for what contradicts itself, before anything is measured."""
        modes = {
            "--attach": self.attach,
            "--sweep": self.sweep,
            "--overhead": self.overhead,
            "--streams": bool(self.streams),
        }
        chosen = [name for name, wanted in modes.items() if wanted]
        if len(chosen) > 1:
            raise UsageError(f"{' and '.join(chosen)} are measurements of their own: one at a time")
        stray = next((name for name in self.arguments if self.json and name.endswith(".json")), None)
        lasts = self.attach or self.streams
        for wrong, reason in (
            (self.duration_s is not None and not lasts, "--duration needs --attach or --streams"),
            (self.streams and min(self.streams) < 1, f"--streams {self.streams}: at least one source each"),
            (self.out and not self.sweep, "--out needs --sweep"),
            (len(self.bundles) > 1 and not self.sweep, "several --bundle need --sweep"),
            (self.trace and chosen, f"--trace replays in real time, which {''.join(chosen)} does not"),
            (stray, f"--json takes no file, it writes to standard output: affectd profile … --json > {stray}"),
            (self.arguments and self.sweep, "--sweep takes no AUDIO: it measures the encoder alone"),
            (not self.batches or min(self.batches) < 1, f"--batches {self.batches}: at least one utterance each"),
        ):
            if wrong:
                raise UsageError(reason)
