"""The roster: everyone in the store, and what a bundle can make of what is kept of them. Needs no onnxruntime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from edge.bundle import Bundle
from edge.errors import StoreError
from edge.people.quality import similar_people
from edge.people.store import SpeakerStore
from edge.people.store.person import Person, StoredProfile
from edge.people.voice_profiles import clips_for, comparable, voice_profile_of

UNLABELLED = "unlabelled"


class State(str, Enum):
    """What a bundle can do for someone."""

    READY = "ready"
    BOUND_ONLY = "no voiceprints"
    """Not recognised, only known where ``--speaker`` names them."""
    ENROL_AGAIN = "must enrol again"
    """Another encoder embedded their clips."""
    UNKNOWN = "unknown"
    """There is no bundle, or the store cannot be unlocked."""


@dataclass(frozen=True)
class Entry:
    """Someone on the roster. Clips are those that the bundle can use, or without a bundle all."""

    person: Person
    state: State
    clips: int
    speech_s: float | None
    """None when the store cannot be unlocked."""
    changed_at: datetime
    trouble: str | None = None
    """Why something is not known."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "name": self.person.name,
            "state": self.state.value,
            "clips": self.clips,
            "speech_s": None if self.speech_s is None else round(self.speech_s, 2),
            "changed_at": self.changed_at.isoformat(),
            "may_refine": self.person.may_refine,
            "consent": self.person.consent.model_dump(mode="json"),
        }


@dataclass(frozen=True)
class Dossier:
    """What a bundle makes of someone's clips."""

    labels: Mapping[str, int]
    """Label, or ``unlabelled``, to clips."""
    trust: float | None
    """How far the profile is trusted over the room, 0 to 1; None without one."""
    revisions: Mapping[int, StoredProfile]
    """By number, newest first."""
    similar: Sequence[str]
    """Others who sound alike."""


def entry_of(store: SpeakerStore, person: Person, bundle: Bundle | None) -> Entry:
    """Look someone up. Works without a bundle and without the key, and then says less."""
    counts = store.clip_counts(person)
    hashes = [bundle.encoder_hash] if bundle else list(counts)
    count = sum(counts.get(encoder_hash, 0) for encoder_hash in hashes)
    try:
        if bundle:
            clips = clips_for(store, person, bundle)
        else:
            clips = [clip for encoder_hash in hashes for clip in store.clips(person, encoder_hash)]
        profiles = list(filter(None, [store.voice_profile(person, encoder_hash) for encoder_hash in hashes]))
    except StoreError as error:
        return Entry(person, State.UNKNOWN, count, None, person.consent.given_at, str(error))
    changed_at = max([person.consent.given_at, *(record.created_at for record in (*clips, *profiles))])
    if bundle is None:
        state = State.UNKNOWN
    elif len(comparable(clips, bundle)[0]):
        state = State.READY
    else:
        state = State.BOUND_ONLY if clips or profiles else State.ENROL_AGAIN
    return Entry(person, state, len(clips), sum(clip.duration_s for clip in clips), changed_at)


def dossier_of(store: SpeakerStore, person: Person, bundle: Bundle) -> Dossier:
    """Read everything about someone.

    Raises:
        StoreError: the store cannot be unlocked, or is damaged.
        ModelError: the profile does not fit the bundle.
    """
    voice_profile = voice_profile_of(store, person, bundle)
    clips = clips_for(store, person, bundle)
    return Dossier(
        labels=Counter(clip.label or UNLABELLED for clip in clips),
        trust=voice_profile.share if voice_profile else None,
        revisions=store.revisions(person, bundle.encoder_hash),
        similar=similar_to(store, person, bundle),
    )


def similar_to(store: SpeakerStore, person: Person, bundle: Bundle) -> list[str]:
    """Return the names of the other enrolled people who sound like someone to this bundle, the likeliest first."""
    if bundle.calibration is None:
        return []
    prints, durations_s, _ = comparable(clips_for(store, person, bundle), bundle)
    others = {
        other.name: comparable(clips_for(store, other, bundle), bundle)[0]
        for other in store.people()
        if other.id != person.id
    }
    return similar_people(bundle.calibration, prints, durations_s, others)
