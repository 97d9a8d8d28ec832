"""What was said, as files: for whoever looks for a fault, and nobody else. Off unless it is asked for."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import soundfile

from edge.audio import SAMPLE_RATE_HZ
from edge.stream import Utterance

logger = logging.getLogger(__name__)


class DebugAudio:
    """Writes each utterance that is over as the models got it, a WAV of 16 kHz, readable by its owner alone."""

    def __init__(self, folder: Path) -> None:
        """Prepare; the folder is made with the first utterance."""
        self._folder = folder
        self._has_failed = False

    def write(self, utterance: Utterance) -> None:
        """Write ``SOURCE ID.wav``; trouble is a line in the log, once, and stops nothing."""
        name = re.sub(r"[^\w.-]+", "_", utterance.source)[-80:]
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._folder / f"{name} {utterance.id}.wav"
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                soundfile.write(file, utterance.segment.samples, SAMPLE_RATE_HZ, format="WAV")
        except (OSError, soundfile.LibsndfileError) as error:
            if not self._has_failed:
                logger.warning("utterances cannot be written to %s: %s", self._folder, error)
            self._has_failed = True
