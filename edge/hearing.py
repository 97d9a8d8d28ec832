"""What is wrong with a source in which nobody can be heard: silence, dead channels, channels that cancel, clipping.

It is measured on the channels as they arrive, in windows, and so before their mean hides what is wrong with them.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from edge.arrays import Matrix
from edge.capture import Block
from edge.event import StatusReason
from edge.segment import FULL_SCALE
from edge.vad import DIGITAL_SILENCE_DBFS, FRAME_S

WINDOW_S = 1.0
"""Of a recording."""
WINDOWS = 20
"""In which the time to a report is looked at, at least."""
CANCELLED = 1 / 8
"""Power of the channels' mean over what it is of unrelated channels: 9 dB less is no coincidence."""
CLIPPED = 0.001
"""Share of a window's samples at full scale that is audible."""
MOSTLY = 0.5
"""Share of windows that are silent, where none is above the gate, or in which channels cancel, or clip: a shout or a
slammed door may."""


@dataclass(frozen=True)
class Window:
    """A stretch of a source, measured. Powers are of samples of ±1."""

    loudest: list[float]
    """Power of the loudest 30 ms of each channel."""
    powers: list[float]
    """Of all of each channel."""
    mean_loudest: float
    """Power of the loudest 30 ms of the channels' mean."""
    mean_power: float
    """Of all of it."""
    clipped: float
    """Share of the samples at full scale, of the channel that has most of them."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with a source, or that it is no longer."""

    reason: StatusReason
    message: str
    """What was heard, and what to do."""


class SoundMeter:
    """Measures a source in windows of its own clock; how the audio was blocked makes no difference to them."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._frames = max(1, round(window_s / FRAME_S))
        self._pending: list[Matrix] = []
        self._rate_hz = 0

    def windows(self, block: Block) -> list[Window]:
        """Take the next block, and return the windows that it completes. One that a gap cuts off is left out."""
        if block.lost_s or block.paused_s or block.restarted:
            self._pending.clear()
        arrived = block.samples[:, None] if block.arrived is None else block.arrived
        if not len(arrived):
            return []
        self._rate_hz = block.rate_hz
        self._pending.append(arrived)
        return self._measure(self._frames)

    def last(self) -> list[Window]:
        """Return what the end of the source cuts off as a shorter window, if it is as long as a frame."""
        whole = sum(map(len, self._pending)) // self._frame_samples if self._pending else 0
        return self._measure(whole) if whole else []

    @property
    def _frame_samples(self) -> int:
        return round(FRAME_S * self._rate_hz)

    def _measure(self, frames: int) -> list[Window]:
        samples = frames * self._frame_samples
        if sum(map(len, self._pending)) < samples:
            return []
        arrived = np.concatenate(self._pending)
        whole = len(arrived) // samples * samples
        self._pending = [arrived[whole:].copy()]
        starts = range(0, whole, samples)
        return [_measured(arrived[start : start + samples], frames) for start in starts]


class Hearing:
    """Follows a source, and reports what is wrong with it once it has been for ``report_s``, and when it no longer is.

    What comes again and again, as the silence of push to talk, must last twice as long each time to be reported.
    """

    def __init__(self, report_s: float, gate_dbfs: float) -> None:
        window_s = max(1, round(report_s / WINDOWS / FRAME_S)) * FRAME_S
        self._gate_dbfs = gate_dbfs
        self._meter = SoundMeter(window_s)
        self._recent: deque[Window] = deque(maxlen=math.ceil(report_s / window_s - 1e-9))
        self._found: StatusReason = "recovered"
        self._lasted = 0
        """Windows for which it was found."""
        self._reported: StatusReason = "recovered"
        self._reports: Counter[StatusReason] = Counter()

    def follow(self, block: Block) -> list[Finding]:
        """Take the next block, and return what there is to report."""
        if block.restarted:
            self._recent.clear()
        return [finding for window in self._meter.windows(block) if (finding := self._take(window))]

    def _take(self, window: Window) -> Finding | None:
        self._recent.append(window)
        if len(self._recent) < (self._recent.maxlen or 0):
            return None
        found = diagnosis(self._recent, self._gate_dbfs) or Finding("recovered", RECOVERED.get(self._reported, ""))
        self._lasted = self._lasted + 1 if found.reason == self._found else 0
        self._found = found.reason
        patience = 0 if found.reason == "recovered" else 2 ** self._reports[found.reason] - 1
        if found.reason == self._reported or self._lasted < patience * len(self._recent):
            return None
        self._reported = found.reason
        self._reports[found.reason] += 1
        return found


RECOVERED: dict[StatusReason, str] = {
    "digital_silence": "there is sound again",
    "below_gate": "it is loud enough again",
    "channels_cancel": "its channels no longer cancel each other",
    "dead_channel": "there is sound on all channels again",
    "clipping": "it no longer clips",
}


def diagnosis(windows: Collection[Window], gate_dbfs: float) -> Finding | None:
    """Return what is wrong with a stretch of a source, the gravest of it; None if nothing is, or it has no windows."""
    if not windows:
        return None
    loudest_dbfs = _dbfs(max(max(window.loudest) for window in windows))
    mean_dbfs = _dbfs(max(window.mean_loudest for window in windows))
    silent = [_dbfs(max(window.loudest)) <= DIGITAL_SILENCE_DBFS for window in windows]
    if loudest_dbfs <= gate_dbfs and sum(silent) >= MOSTLY * len(silent):
        return Finding("digital_silence", "nothing but digital silence: is it muted, or not connected?")
    if loudest_dbfs > gate_dbfs and (finding := _wrong_channels(windows)):
        return finding
    if mean_dbfs <= gate_dbfs:
        message = f"nothing above vad.gate_dbfs ({gate_dbfs:g} dBFS), {mean_dbfs:.0f} at most: is it turned down?"
        return Finding("below_gate", message)
    if sum(window.clipped >= CLIPPED for window in windows) >= MOSTLY * len(windows):
        clipped = sum(window.clipped for window in windows) / len(windows)
        return Finding("clipping", f"{clipped:.1%} of it is at full scale: turn it down")
    return None


def why_unheard(windows: Collection[Window], gate_dbfs: float) -> str:
    """Return why nobody is heard in a recording."""
    found = diagnosis(windows, gate_dbfs)
    return found.message if found else "no voice in it"


def _wrong_channels(windows: Collection[Window]) -> Finding | None:
    channels = list(zip(*(window.loudest for window in windows), strict=True))
    if len(channels) == 1:
        return None
    unrelated = [sum(window.powers) / len(channels) ** 2 for window in windows]
    cancelling = sum(window.mean_power < CANCELLED * power for window, power in zip(windows, unrelated, strict=True))
    mean_power, power = sum(window.mean_power for window in windows), sum(unrelated)
    if cancelling >= MOSTLY * len(windows) and mean_power < CANCELLED * power:
        each_dbfs, mean_dbfs = _dbfs(power * len(channels) / len(windows)), _dbfs(mean_power / len(windows))
        return Finding(
            "channels_cancel",
            f"its {len(channels)} channels are at {each_dbfs:.0f} dBFS and cancel each other, their mean is at "
            f"{mean_dbfs:.0f}: is one of them upside down, as of a balanced line plugged in as stereo? Record one "
            "channel of it",
        )
    dead = [str(number) for number, powers in enumerate(channels, 1) if _dbfs(max(powers)) <= DIGITAL_SILENCE_DBFS]
    if dead:
        return Finding(
            "dead_channel",
            f"no sound on channel {', '.join(dead)} of {len(channels)}, which makes their mean quieter: "
            "is it connected? Otherwise record the others alone",
        )
    return None


def _measured(arrived: Matrix, frames: int) -> Window:
    """Measure ``float32[samples, channels]`` in so many frames."""
    # Channel by channel: numpy is ten times as slow across interleaved ones.
    channels = np.ascontiguousarray(arrived.T).reshape(arrived.shape[1], frames, -1)
    powers = channels.var(axis=2)
    mean_powers = channels.mean(axis=0).var(axis=1)[None] if len(channels) > 1 else powers
    return Window(
        loudest=powers.max(axis=1).tolist(),
        powers=powers.mean(axis=1).tolist(),
        mean_loudest=float(mean_powers.max()),
        mean_power=float(mean_powers.mean()),
        clipped=float((np.abs(channels) >= FULL_SCALE).mean(axis=(1, 2)).max()),
    )


def _dbfs(power: float) -> float:
    return 10 * math.log10(power + 1e-12)
