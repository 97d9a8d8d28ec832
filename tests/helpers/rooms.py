"""Rooms that know something, and what is heard in them."""

from __future__ import annotations

import numpy as np

from edge.audio import Waveform
from edge.bundle import Bundle
from edge.engine import Engine
from edge.recognizer import Recognizer
from edge.room import Room
from edge.settings import RoomSettings, Settings
from helpers.running import Played, Recorder
from helpers.signals import silence, speech_like


def learnt(bundle: Bundle, settings: RoomSettings, utterances: int = 20) -> Room:
    """Return a room after so many utterances."""
    room = Room(bundle.population, settings)
    for number in range(utterances):
        room.update(np.array([0.08, 0.01, 1 + number / 100], np.float32), np.array([0.5, 0.3, 0.2], np.float32))
    return room


def said(count: int, level: float = 1.0) -> Waveform:
    """Return so many utterances, as loud as they arrive there."""
    parts = [silence(0.5)]
    for seed in range(count):
        parts += [level * speech_like(0.8, seed), silence(0.8, seed=seed)]
    return np.concatenate(parts)


def listen(
    bundle: Bundle, settings: Settings, samples: Waveform, name: str = "desk", can_wait: bool = False
) -> Recorder:
    """Return what a run on a source of these samples says."""
    recorder, source = Recorder(), Played(samples, can_wait=can_wait, name=name)
    roomy = settings.model_copy(update={"encoder": settings.encoder.model_copy(update={"queue_utterances": 900})})
    Engine([source], Recognizer(bundle, settings.encoder), [recorder], roomy).run()
    return recorder
