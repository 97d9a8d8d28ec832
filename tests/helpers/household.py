"""People enrolled with the tiny bundle, whose voices differ in brightness and in how loudly they speak."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge.audio import Waveform
from edge.bundle import Bundle
from edge.people.store import SpeakerStore
from edge.people.store.person import Consent, EnrolledClip, Person
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings
from helpers.signals import bright, deep, speech_like

Voice = Callable[[float, int], Waveform]


def anna(duration_s: float = 1.5, seed: int = 0) -> Waveform:
    """Return speech of someone deep."""
    return deep(speech_like(duration_s, seed))


def ben(duration_s: float = 1.5, seed: int = 0) -> Waveform:
    """Return speech of someone bright."""
    return bright(speech_like(duration_s, seed))


def cem(duration_s: float = 1.5, seed: int = 0) -> Waveform:
    """Return speech of a stranger."""
    return speech_like(duration_s, seed)


def enrol(folder: Path, bundle: Bundle, name: str, voice: Voice, clips: int = 4, level: float = 1.0) -> Person:
    """Store clips, without a profile, as an interrupted enrolment does; ``level`` is how loudly the person speaks."""
    recognizer = Recognizer(bundle, EncoderSettings())
    recognizer.load()
    voiceprints = bundle.manifest.speaker is not None
    with SpeakerStore.open(folder) as store:
        person = store.add_person(name, Consent(text_version="1", how="--yes"))
        for encoding in recognizer.encode([level * voice(1.5, seed) for seed in range(clips)], voiceprints):
            clip = EnrolledClip(
                encoder_hash=bundle.encoder_hash,
                speaker_hash=bundle.speaker_hash,
                embedding=encoding.embedding,
                voiceprint=encoding.voiceprint,
                duration_s=encoding.duration_s,
            )
            store.add_clip(person, clip)
    return person
