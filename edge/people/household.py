"""The household: the enrolled people who may speak, with their voice profiles and voiceprints from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge.adapt import PSEUDO_CLIPS, VoiceProfile
from edge.arrays import Matrix
from edge.bundle import Bundle
from edge.errors import ModelError
from edge.label_prior import label_ratio
from edge.people.store import SpeakerStore
from edge.people.store.person import Person, fold_name
from edge.people.usual import usual_log_odds
from edge.people.voice_profiles import clips_for, comparable, voice_profile_of
from edge.settings import SpeakerSettings
from edge.speaker import Identifier
from edge.value_shift import PersonalShift, ValueShift

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
    usual: Matrix | None = None
    """``float32[labels]``, see ``usual_log_odds``; None where there are no clips of this encoder."""
    label_ratio: Matrix | None = None
    """``float32[labels]`` of their label prior, see ``edge.label_prior``; None where it is not known."""
    value_shift: PersonalShift | None = None
    """Of the values estimated of them; None: they stay as they are."""


class Household:
    """Who is known. The constructor is cheap; ``load`` reads the store, ``refresh`` follows its changes.

    For one thread. The voice profile of someone whom ``settings.only`` names alone is applied to every utterance;
    of several named, one always speaks.
    """

    def __init__(self, bundle: Bundle, settings: SpeakerSettings, can_gate: bool = False) -> None:
        """Prepare; ``can_gate``: a source may hear somebody else than whom it is bound to."""
        self.bundle, self.settings = bundle, settings
        self._can_gate = can_gate and bool(settings.only) and settings.gate < 1
        self.members: dict[str, Member] = {}
        self.everyone: frozenset[str] = frozenset()
        """Ids of all who are enrolled, members or not."""
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
        """The one person whom every utterance is from, if there is one."""
        only = self.settings.only
        return next(iter(self.members), None) if len(only) == 1 else None

    @property
    def recognises(self) -> bool:
        """There is somebody to recognise, and a speaker encoder to do it."""
        return self.gates or (self.bound_to is None and any(len(member.prints) for member in self.members.values()))

    @property
    def gates(self) -> bool:
        """Other voices than those of the people that the source is bound to are left out: all of these are known."""
        known = [len(member.prints) > 0 for member in self.members.values()]
        return self._can_gate and bool(known) and all(known)

    @property
    def wants_voiceprints(self) -> bool:
        """Voiceprints are of use: to recognise people, or to keep one stranger apart from another."""
        can_compare = self.bound_to is None and self.bundle.manifest.speaker is not None
        return self.recognises or (self.settings.adapt_strangers and can_compare)

    def voice_profile(self, name: str) -> VoiceProfile | None:
        """Return the voice profile of a member."""
        return self.members[name].voice_profile

    def usual(self, name: str) -> Matrix | None:
        """Return how a member sounds on the whole, see ``Member``."""
        return self.members[name].usual

    def identifier(self) -> Identifier:
        """Return a fresh identifier of those who have voiceprints; raises ModelError if the bundle makes none."""
        calibration, settings = self.bundle.calibration, self.settings
        if calibration is None:
            raise ModelError(f"{self.bundle.folder}: has no speaker encoder, so it recognises nobody")
        people = {name: member.prints for name, member in self.members.items() if len(member.prints)}
        return Identifier(
            calibration,
            people,
            stranger=settings.stranger if self.gates or not settings.only else 0.0,
            stay=settings.stay,
            forget_s=settings.forget_s,
            threshold=settings.threshold,
        )

    def __str__(self) -> str:
        if not self.members:
            return "nobody enrolled" if self.settings.enabled else "speakers off"
        unheard = (
            "" if self.gates or not self._can_gate else ", and takes every voice for theirs: voiceprints are lacking"
        )
        if self.bound_to:
            return f"bound to {self.bound_to}{unheard}"
        names = ", ".join(self.members) if len(self.members) <= MOST_NAMES else f"{len(self.members)} people"
        unknown = len(self.unknown())
        return f"knows {names}, of whom {unknown} must enrol again{unheard}" if unknown else f"knows {names}{unheard}"

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
        everyone = store.people()
        people = [person for person in everyone if not only or fold_name(person.name) in only]
        self.members = {person.name: self._member(store, person) for person in people}
        self.everyone = frozenset(person.id for person in everyone)
        self.version = version

    def _member(self, store: SpeakerStore, person: Person) -> Member:
        clips = clips_for(store, person, self.bundle)
        prints = comparable(clips, self.bundle)[0]
        try:
            voice_profile = voice_profile_of(store, person, self.bundle)
        except ModelError:  # of an import, or an older version: the others must not suffer
            voice_profile = None
        if voice_profile is None:
            return Member(person, None, prints)
        embeddings = np.array([clip.embedding for clip in clips], np.float32)
        prior, power = voice_profile.label_prior, self.settings.label_prior
        ratio = None if prior is None else label_ratio(prior, self.bundle.population.head_prior, power)
        usual = usual_log_odds(self.bundle.head, voice_profile, embeddings, ratio)
        return Member(person, voice_profile, prints, usual, ratio, self._value_shift(voice_profile))

    def _value_shift(self, voice_profile: VoiceProfile) -> PersonalShift | None:
        mode, readout, own = self.settings.value_shift, self.bundle.head.values, voice_profile.values
        if mode == "off" or readout is None or own is None:
            return None
        offset = voice_profile.offset(voice_profile.room)
        return PersonalShift.of(ValueShift(mode, shrinkage=PSEUDO_CLIPS), self.bundle.population, readout, own, offset)
