"""What is promised of the encoders' latency: ratios of medians, on one thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge.bundle import Bundle
from export.measure.plan import label
from export.measure.report import Target
from export.rounds import RoundTimes

AMX = "amx_int8"
"""The kernel's flag of tiles that multiply int8 matrices (Intel's Advanced Matrix Extensions)."""
Times = Mapping[tuple[str, float], RoundTimes]
"""Row and length in seconds to what it took, one thread, all in turn within the same rounds."""


@dataclass(frozen=True)
class Share:
    """A bundle takes at most this share of the time of another row."""

    bundle: str
    length_s: float
    limit: float
    rival: str = ""
    """Empty: the bundle itself."""
    rival_s: float | None = None
    """Length of the rival; None: the same."""

    def target(self, name: str, times: Times) -> Target | None:
        """Return what was measured of the bundle that tables call ``name``; None where a row is missing."""
        rival, rival_s = self.rival or name, self.rival_s or self.length_s
        if (name, self.length_s) not in times or (rival, rival_s) not in times:
            return None
        found = times[name, self.length_s].median_ms / times[rival, rival_s].median_ms
        against = f"{rival} at {rival_s:g} s" if self.rival else f"its own at {rival_s:g} s"
        promise = f"{name}: at {self.length_s:g} s at most {self.limit:g} times the time of {against}, one thread"
        return Target(promise, f"{found:.2f}", found <= self.limit)


@dataclass(frozen=True)
class Factor:
    """A bundle is so many times faster than another row, on a processor without AMX."""

    bundle: str
    length_s: float
    rival: str
    limit: float

    def target(self, name: str, times: Times) -> Target | None:
        """Return what was measured of the bundle that tables call ``name``; None where a row is missing."""
        if (name, self.length_s) not in times or (self.rival, self.length_s) not in times:
            return None
        found = times[self.rival, self.length_s].median_ms / times[name, self.length_s].median_ms
        promise = (
            f"{name}: {self.limit:g} times faster than the {self.rival}, {self.length_s:g} s, one thread, on a "
            "processor without AMX"
        )
        return Target(promise, f"{found:.0f} times", found >= self.limit)


PROMISES: tuple[Share | Factor, ...] = (
    Share("default", 3.0, 0.55, "default 3"),
    Share("default", 12.0, 0.45, "default 3"),
    Share("default", 12.0, 4.5, rival_s=3.0),
    Share("nano", 3.0, 0.7, "nano 3"),
    Factor("default", 3.0, "HuBERT-large shape", 120),
    Factor("default", 3.0, "DistilHuBERT shape", 20),
    Factor("default", 10.0, "wav2vec2-large-12 shape", 70),
    Factor("nano", 3.0, "HuBERT-large shape", 700),
    Factor("nano", 3.0, "DistilHuBERT shape", 120),
    Factor("nano", 10.0, "wav2vec2-large-12 shape", 550),
)
"""Of the bundles inside the package, in int8."""


def targets(bundles: Sequence[Bundle], times: Times) -> list[Target]:
    """Return what was measured of every promise whose rows are there."""
    promised = [
        promise.target(label(bundle), times)
        for bundle in bundles
        if bundle.manifest.encoder.precision == "int8"
        for promise in PROMISES
        if promise.bundle == bundle.manifest.name
    ]
    return [target for target in promised if target]


def processor_note(cpu: str, instructions: Sequence[str]) -> str:
    """Say whether a processor is one that the factors are promised for."""
    if AMX in instructions:
        return f"This processor, {cpu}, has AMX, which the factors are not promised for: int8 products gain most by it."
    return f"This processor, {cpu}, has no AMX."
