"""Voice activity detection: which 30 ms frames hold a voice.

Earshot, a small recurrent network, says how sure it is, and the less a frame stands above the noise, the surer it must
be. Where it is not installed, WebRTC's detector decides; alone it fires on fans, clicks and keyboards, so that a frame
must also stand well above the noise. The noise is the quietest frame of the last seconds (minimum statistics, after
Martin 2001). A stream that is quiet throughout is amplified for both, as their thresholds are absolute.
"""

from __future__ import annotations

import importlib.util
import logging
import math
from collections import deque
from functools import cache
from typing import Protocol

import numpy as np
import webrtcvad

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.errors import UsageError
from edge.settings import VadSettings

logger = logging.getLogger(__name__)

FRAME_S = 0.03
FRAME_SAMPLES = round(FRAME_S * SAMPLE_RATE_HZ)
NOISE_WINDOW_S = 2.0
DIGITAL_SILENCE_DBFS = -95.0
VOICE_DBFS = -30.0
"""Loudest frames of a stream that needs no gain: RAVDESS, the quietest corpus measured, has -28 in the middle."""
MAX_GAIN_DB = 30.0
FALL_DB = 0.03
"""Of the loudest frame with every frame: a stream that has been quiet for half a minute is a quiet one."""

EARSHOT_SAMPLES = 256
SURE, HARDLY = 0.65, 0.2
"""Least score of a frame that hardly stands above the noise, and of the loudest."""
CERTAIN = 0.8
"""In a stream's first 2 s, whose quietest frame may be of the voice itself, such a score need not exceed any noise."""
SURE_DB, EASE = 15.0, 0.03
"""So far above the noise a frame must be surely a voice; with every further dB it may be so much less sure."""
SYLLABLE_FRAMES, NEAR_DB = 7, 20.0
"""A voice that is never louder sinks into the noise between its peaks, so that the loudest of 0.2 s speaks for all."""
WEBRTC_GAIN = np.float32(4)
"""WebRTC misses quiet voices (-55 dBFS); that loud ones clip does not disturb it."""
WEBRTC_MARGIN_DB = 5.0
"""WebRTC takes any sudden sound for a voice: so much more above the noise than ``vad.above_noise_db``."""


class VoiceActivity(Protocol):
    """Decides frame by frame; it remembers the stream, so frames go in order and ``reset`` marks a new stream."""

    def reset(self) -> None:
        """Forget the stream."""

    def is_voiced(self, frame: Waveform) -> bool:
        """Return whether ``float32[480]`` (16 kHz, ±1, high-passed) holds a voice."""


class Loudness:
    """How loud a stream is, and was lately."""

    def __init__(self) -> None:
        self._levels_dbfs: deque[float] = deque(maxlen=round(NOISE_WINDOW_S / FRAME_S))
        self._syllable_dbfs: deque[float] = deque(maxlen=SYLLABLE_FRAMES)
        self._loudest_dbfs = -np.inf
        self.frame_dbfs = DIGITAL_SILENCE_DBFS
        """Level of the last frame."""

    def follow(self, frame: Waveform) -> None:
        """Take the next ``float32[480]``."""
        self.frame_dbfs = level(frame)
        self._syllable_dbfs.append(self.frame_dbfs)
        self._loudest_dbfs = max(self.frame_dbfs, self._loudest_dbfs - FALL_DB)
        # Muted or starting devices deliver zeros, which say nothing about the room.
        if self.frame_dbfs > DIGITAL_SILENCE_DBFS:
            self._levels_dbfs.append(self.frame_dbfs)

    @property
    def noise_dbfs(self) -> float:
        """Level of the quietest frame of the last 2 s: falls at once, and rises only when speech never pauses."""
        return min(self._levels_dbfs, default=DIGITAL_SILENCE_DBFS)

    @property
    def knows_noise(self) -> bool:
        """Whether the stream has gone on for so long that its quietest frame is noise."""
        return len(self._levels_dbfs) == self._levels_dbfs.maxlen

    @property
    def above_noise_db(self) -> float:
        """How far the last frame stands above the noise."""
        return self.frame_dbfs - self.noise_dbfs

    @property
    def peak_above_noise_db(self) -> float:
        """How far the loudest of the last 0.2 s stands above the noise."""
        return max(self._syllable_dbfs) - self.noise_dbfs

    @property
    def gain(self) -> np.float32:
        """What makes the loudest frames of a quiet stream as loud as a voice is; never less than 1."""
        gain_db = min(max(0.0, VOICE_DBFS - self._loudest_dbfs), MAX_GAIN_DB)
        gain: np.float32 = np.float32(10 ** (gain_db / 20))
        return gain


class EarshotActivity:
    """By Earshot's network (pykeio/earshot, MIT or Apache-2.0)."""

    def __init__(self, settings: VadSettings) -> None:
        import earshot  # noqa: PLC0415 - not everywhere

        self._settings, self._detector = settings, earshot.Detector()
        self.reset()

    def reset(self) -> None:
        """Forget the stream: the network's state, the noise and the gain."""
        self._detector.reset()
        self.loudness = Loudness()
        self._pending = np.zeros(0, np.float32)

    def is_voiced(self, frame: Waveform) -> bool:
        """Return whether ``float32[480]`` (16 kHz, ±1, high-passed) holds a voice."""
        self.loudness.follow(frame)
        amplified = np.clip(self.loudness.gain * frame, -1, 1)
        samples = np.concatenate([self._pending, amplified])
        whole = len(samples) // EARSHOT_SAMPLES * EARSHOT_SAMPLES
        score = max(self._detector.predict_f32(part) for part in samples[:whole].reshape(-1, EARSHOT_SAMPLES))
        self._pending = samples[whole:]
        above_db = self.loudness.above_noise_db
        needed = max(HARDLY, SURE - EASE * max(0.0, above_db - SURE_DB))
        least_db = self._settings.above_noise_db
        distinct = above_db > least_db or least_db < self.loudness.peak_above_noise_db < NEAR_DB
        audible = distinct or (score >= CERTAIN and not self.loudness.knows_noise)
        return self.loudness.frame_dbfs > self._settings.gate_dbfs and audible and score >= needed


class WebRtcActivity:
    """By WebRTC's Gaussian mixtures."""

    def __init__(self, settings: VadSettings) -> None:
        self._settings = settings
        self.reset()

    def reset(self) -> None:
        """Forget the stream: WebRTC's noise model, the noise and the gain."""
        self._webrtc = webrtcvad.Vad(self._settings.aggressiveness)
        self.loudness = Loudness()

    def is_voiced(self, frame: Waveform) -> bool:
        """Return whether ``float32[480]`` (16 kHz, ±1, high-passed) holds a voice."""
        self.loudness.follow(frame)
        needed_db = self._settings.above_noise_db + WEBRTC_MARGIN_DB
        loud = self.loudness.frame_dbfs > self._settings.gate_dbfs and self.loudness.above_noise_db > needed_db
        # WebRTC gets every frame, or its noise model would only know the loud ones.
        amplified = WEBRTC_GAIN * self.loudness.gain * frame
        return bool(self._webrtc.is_speech(to_pcm(amplified), SAMPLE_RATE_HZ)) and loud


def detector_name(settings: VadSettings) -> str:
    """Return which detector runs: ``earshot`` or ``webrtc``.

    Raises:
        UsageError: the settings name Earshot, and it is not installed.
    """
    if settings.detector == "webrtc":
        return "webrtc"
    if importlib.util.find_spec("earshot"):
        return "earshot"
    if settings.detector == "earshot":
        raise UsageError("vad.detector: earshot is not installed: pip install earshot, or take webrtc or auto")
    warn_of_webrtc()
    return "webrtc"


def voice_activity(settings: VadSettings) -> VoiceActivity:
    """Return the detector of the settings.

    Raises:
        UsageError: see ``detector_name``.
    """
    return EarshotActivity(settings) if detector_name(settings) == "earshot" else WebRtcActivity(settings)


@cache
def warn_of_webrtc() -> None:
    """Say once a process that Earshot is missing."""
    logger.warning("earshot is not installed: WebRTC detects voice activity, and misses more of it in noise")


def level(frame: Waveform) -> float:
    """Return the level of ``float32[n]`` in dBFS (RMS about the mean: cheap microphones carry a DC offset)."""
    # Thirty times a second and source, so not by the slower ``std``.
    centred = frame - np.add.reduce(frame) / np.float32(len(frame))
    return 20 * math.log10(math.sqrt(np.dot(centred, centred) / len(frame)) + 1e-9)


def to_pcm(samples: Waveform) -> bytes:
    """Convert ``float32[n]`` to 16-bit PCM; what exceeds ±1 is clipped and does not wrap around."""
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()
