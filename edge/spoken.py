"""What of a recording is spoken: this the models learn from, and are evaluated on."""

from __future__ import annotations

import numpy as np

from edge.audio import Waveform
from edge.high_pass import high_passed
from edge.segmenter import Segmenter
from edge.settings import SegmenterSettings, VadSettings


def spoken(waveform: Waveform) -> Waveform:
    """Return what is ``voiced`` of ``float32[samples]``, or all of it, high-passed, if there is no voice.

    This is what of a recording the models learn from and are evaluated on: silence before and after is not the voice.
    """
    speech = voiced(waveform)
    return high_passed(waveform) if speech is None else speech


def voiced(waveform: Waveform) -> Waveform | None:
    """Return what a segmenter with the default settings keeps of ``float32[samples]``, high-passed; None: no voice."""
    segmenter = Segmenter(VadSettings(), SegmenterSettings())
    segments = segmenter.push(waveform) + segmenter.flush()
    return np.concatenate([segment.samples for segment in segments]) if segments else None
