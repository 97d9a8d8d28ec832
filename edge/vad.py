"""Voice activity detection: which 30 ms frames hold a voice.

WebRTC's detector alone fires on fans, clicks and keyboards, so a frame must also be loud enough, both absolutely and
against the noise floor, which is the quietest frame of the last seconds (minimum statistics, after Martin 2001). Both
absolute thresholds may follow a voice that is quiet throughout, ``vad.max_gain_db``.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import webrtcvad

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.settings import VadSettings

FRAME_S = 0.03
FRAME_SAMPLES = round(FRAME_S * SAMPLE_RATE_HZ)
NOISE_WINDOW_S = 2.0
DIGITAL_SILENCE_DBFS = -95.0
VOICE_DBFS = -30.0
"""Loudest frames of a voice that needs no gain: RAVDESS, the quietest corpus measured, has -28 in the middle."""
FALL_DB = 0.01
"""Of the voice's level with every voiced frame that is quieter: 20 dB in a minute of speech."""
# WebRTC's thresholds are absolute and miss quiet voices (-55 dBFS); that loud ones clip does not disturb it.
WEBRTC_GAIN = np.float32(4)


class VoiceActivity:
    """Decides frame by frame; it remembers the stream, so frames go in order and ``reset`` marks a new stream."""

    def __init__(self, settings: VadSettings) -> None:
        self._settings = settings
        self.reset()

    def reset(self) -> None:
        """Forget the stream: WebRTC's noise model and the noise floor."""
        self._webrtc = webrtcvad.Vad(self._settings.aggressiveness)
        self._levels_dbfs: deque[float] = deque(maxlen=round(NOISE_WINDOW_S / FRAME_S))
        self._voice_dbfs = -np.inf

    @property
    def noise_dbfs(self) -> float:
        """Level of the quietest frame of the last 2 s: falls at once, and rises only when speech never pauses."""
        return min(self._levels_dbfs, default=DIGITAL_SILENCE_DBFS)

    def is_voiced(self, frame: Waveform) -> bool:
        """Return whether ``float32[480]`` (16 kHz, ±1) holds a voice."""
        level_dbfs = level(frame)
        # Muted or starting devices deliver zeros, which say nothing about the room.
        if level_dbfs > DIGITAL_SILENCE_DBFS:
            self._levels_dbfs.append(level_dbfs)
        gain_db = min(max(0.0, VOICE_DBFS - max(self._voice_dbfs, level_dbfs)), self._settings.max_gain_db)
        gate_dbfs = self._settings.gate_dbfs - gain_db
        loud = level_dbfs > max(gate_dbfs, self.noise_dbfs + self._settings.above_noise_db)
        # WebRTC gets every frame, or its noise model would only know the loud ones.
        amplified = WEBRTC_GAIN * np.float32(10 ** (gain_db / 20)) * frame
        voiced = bool(self._webrtc.is_speech(to_pcm(amplified), SAMPLE_RATE_HZ)) and loud
        if voiced:
            self._voice_dbfs = max(level_dbfs, self._voice_dbfs - FALL_DB)
        return voiced


def level(frame: Waveform) -> float:
    """Return the level of ``float32[n]`` in dBFS (RMS about the mean: cheap microphones carry a DC offset)."""
    return 20 * float(np.log10(frame.std() + 1e-9))


def to_pcm(samples: Waveform) -> bytes:
    """Convert ``float32[n]`` to 16-bit PCM; what exceeds ±1 is clipped and does not wrap around."""
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()
