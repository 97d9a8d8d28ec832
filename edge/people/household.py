"""The household: the enrolled people a source may hear, as the store has them, with their profiles and voiceprints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.adapt import VoiceProfile
from edge.arrays import Doubles, Matrix, unit
from edge.bundle import Bundle
from edge.errors import ModelError
from edge.people.store import SpeakerStore
from edge.people.store.person import EnrolledClip, Person, fold_name
from edge.settings import SpeakerSettings
from edge.speaker import Identifier

MOST_NAMES = 8
"""In a line about the household."""


@dataclass(frozen=True)
class Member:
    """Someone enrolled, as far as the bundle can make use of it."""

    person: Person
    voice_profile: VoiceProfile | None
    """None: not enrolled with this encoder, or not by this version."""
    prints: Matrix
    """``float32[n, voiceprint_dim]``; none that another speaker encoder made."""


def estimate_voice_profile(bundle: Bundle, clips: Sequence[EnrolledClip]) -> VoiceProfile:
    """Return the profile that clips of the bundle's encoder give; a label that the bundle does not know is no label."""
    embeddings = np.array([clip.embedding for clip in clips], np.float32).reshape(-1, len(bundle.population.mean))
    labels = [clip.label if clip.label in bundle.population.labels else None for clip in clips]
    return VoiceProfile.estimate(bundle.population, embeddings, labels)


def voice_profile_of(store: SpeakerStore, person: Person, bundle: Bundle) -> VoiceProfile | None:
    """Return someone's newest profile for a bundle, None if they are not enrolled with its encoder.

    An enrolment that was interrupted has clips but no profile yet; it is then estimated from them.

    Raises:
        StoreError: the store cannot be read.
        ModelError: the profile was not made by this version, or for another population.
    """
    saved = store.voice_profile(person, bundle.encoder_hash)
    if saved is None:
        clips = clips_for(store, person, bundle)
        return estimate_voice_profile(bundle, clips) if clips else None
    voice_profile = VoiceProfile.from_tensors(saved.tensors, saved.facts)
    if voice_profile.offset.shape != bundle.population.mean.shape:
        raise ModelError(f"the profile of {person.name!r} does not fit the bundle; enrol again")
    return voice_profile


def clips_for(store: SpeakerStore, person: Person, bundle: Bundle) -> list[EnrolledClip]:
    """Return the clips that the bundle's encoder embedded; an import may claim others, of another size, to be."""
    dim = len(bundle.population.mean)
    return [clip for clip in store.clips(person, bundle.encoder_hash) if len(clip.embedding) == dim]


def comparable(clips: Sequence[EnrolledClip], bundle: Bundle) -> tuple[Matrix, Doubles, list[int]]:
    """Return the clips that the bundle can compare: prints ``float32[n, dim]``, seconds ``float64[n]``, and indices."""
    dim = bundle.manifest.speaker.voiceprint_dim if bundle.manifest.speaker else 0
    found = [
        (index, clip.voiceprint, clip.duration_s)
        for index, clip in enumerate(clips)
        if clip.voiceprint is not None and (clip.speaker_hash, len(clip.voiceprint)) == (bundle.speaker_hash, dim)
    ]
    prints = unit(np.stack([voiceprint for _, voiceprint, _ in found])) if found else np.zeros((0, 0), np.float32)
    return prints, np.array([duration_s for *_, duration_s in found]), [index for index, *_ in found]


class Household:
    """Who is known. The constructor is cheap; ``load`` reads the store, ``refresh`` follows its changes.

    For one thread. The profile of someone whom ``settings.only`` names alone is applied to all that is heard; of
    several named, one always speaks.
    """

    def __init__(self, bundle: Bundle, settings: SpeakerSettings) -> None:
        self.bundle, self.settings = bundle, settings
        self.members: dict[str, Member] = {}
        self.version = -1
        """Of the store, when it was read."""
        self._store: SpeakerStore | None = None

    def load(self) -> None:
        """Read the store.

        Raises:
            StoreError: it cannot be read, or nobody in it has one of the names in ``settings.only``.
        """
        if not self.settings.enabled:
            return
        self._store = SpeakerStore.open(self.settings.store_folder, readonly=True)
        for name in self.settings.only:
            self._store.person(name)
        self._read(self._store)

    def refresh(self) -> bool:
        """Read the store again if it has changed, and return whether it has; takes microseconds if not.

        Raises:
            StoreError: it cannot be read; the members stay as they were, and the next call tries again.
        """
        if self._store is None or self._store.version() == self.version:
            return False
        self._read(self._store)
        return True

    @property
    def bound_to(self) -> str | None:
        """The one person whom everything heard is from, if there is one."""
        only = self.settings.only
        return next(iter(self.members), None) if len(only) == 1 else None

    @property
    def recognises(self) -> bool:
        """There is somebody to recognise, and a speaker encoder to do it."""
        return self.bound_to is None and any(len(member.prints) for member in self.members.values())

    @property
    def wants_voiceprints(self) -> bool:
        """Voiceprints are of use: to recognise people, or to tell one stranger from another."""
        guests = self.settings.adapt_strangers and self.bound_to is None and self.bundle.manifest.speaker is not None
        return self.recognises or guests

    def voice_profile(self, name: str) -> VoiceProfile | None:
        """Return the profile of a member."""
        return self.members[name].voice_profile

    def identifier(self) -> Identifier:
        """Return a fresh identifier of those who have voiceprints; raises ModelError if the bundle makes none."""
        calibration, settings = self.bundle.calibration, self.settings
        if calibration is None:
            raise ModelError(f"{self.bundle.folder}: has no speaker encoder, so it recognises nobody")
        people = {name: member.prints for name, member in self.members.items() if len(member.prints)}
        return Identifier(
            calibration,
            people,
            stranger=0.0 if settings.only else settings.stranger,
            stay=settings.stay,
            forget_s=settings.forget_s,
            threshold=settings.threshold,
        )

    def __str__(self) -> str:
        if not self.members:
            return "nobody enrolled" if self.settings.enabled else "speakers off"
        if self.bound_to:
            return f"bound to {self.bound_to}"
        names = ", ".join(self.members) if len(self.members) <= MOST_NAMES else f"{len(self.members)} people"
        unknown = len(self.unknown())
        return f"knows {names}, of whom {unknown} must enrol again" if unknown else f"knows {names}"

    def unknown(self) -> Mapping[str, str]:
        """Return who cannot be recognised or adapted to with this bundle, and why."""
        reasons = {}
        for name, member in self.members.items():
            if member.voice_profile is None:
                reasons[name] = "must enrol again with this bundle"
            elif not len(member.prints) and self.bound_to is None:
                reasons[name] = "has no voiceprints that this bundle can compare, and must enrol again"
        return reasons

    def _read(self, store: SpeakerStore) -> None:
        version, only = store.version(), {fold_name(name) for name in self.settings.only}
        people = [person for person in store.people() if not only or fold_name(person.name) in only]
        self.members = {person.name: self._member(store, person) for person in people}
        self.version = version

    def _member(self, store: SpeakerStore, person: Person) -> Member:
        prints = comparable(clips_for(store, person, self.bundle), self.bundle)[0]
        try:
            return Member(person, voice_profile_of(store, person, self.bundle), prints)
        except ModelError:  # of an import, or an older version: the others must not suffer
            return Member(person, None, prints)
