"""People for tests of the speaker store: small, and told apart by a number."""

from __future__ import annotations

import numpy as np

from edge.people.store import SpeakerStore
from edge.people.store.person import Consent, EnrolledClip, StoredProfile

ENCODER = "e" * 64
SPEAKER_ENCODER = "f" * 64
CONSENT = Consent(text_version="1", how="asked")


def clip(number: int, encoder_hash: str = ENCODER) -> EnrolledClip:
    """Return a clip whose values are all this number."""
    return EnrolledClip(
        encoder_hash=encoder_hash,
        speaker_hash=SPEAKER_ENCODER,
        embedding=np.full(24, number, np.float32),
        voiceprint=np.full(8, number, np.float32),
        label="happy" if number % 2 else None,
        duration_s=1.5,
    )


def profile(number: int, encoder_hash: str = ENCODER, dim: int = 24) -> StoredProfile:
    """Return a profile whose offset is this number."""
    return StoredProfile(
        encoder_hash=encoder_hash,
        speaker_hash=SPEAKER_ENCODER,
        tensors={"offset": np.full(dim, number, np.float32)},
        facts={"counts": {"happy": number}},
    )


def contents(store: SpeakerStore) -> dict[str, list[str]]:
    """Return everything that the store holds of each person, as JSON."""
    return {
        person.name: [
            person.model_dump_json(),
            *(clip.model_dump_json() for clip in store.clips(person, ENCODER)),
            *(f"{number} {revision!r}" for number, revision in store.revisions(person, ENCODER).items()),
        ]
        for person in store.people()
    }


def newest_profiles(store: SpeakerStore, encoder_hash: str = ENCODER) -> dict[str, StoredProfile | None]:
    """Return everyone's newest voice profile for an encoder, by name; None for those who have none."""
    return {person.name: store.voice_profile(person, encoder_hash) for person in store.people()}
