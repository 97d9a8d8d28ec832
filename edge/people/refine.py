"""Refinement: the voice profile of a person who agreed follows, slowly and within bounds, their daily speech."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np

from edge.adapt import VoiceProfile
from edge.arrays import Matrix
from edge.bundle import Bundle
from edge.people.household import Household
from edge.people.store import SpeakerStore
from edge.people.store.person import Person
from edge.people.voice_profiles import clips_for, estimate_voice_profile, to_stored

UTTERANCES = 16
"""From one revision to the next."""
RATE = 0.25
"""How far one revision moves the centre, and the label prior, towards those of the latest utterances."""
BOUND = 0.5
"""How far refinement may ever move a centre from the enrolled one, in typical lengths of an offset."""
SURE = 0.95
"""Utterances that are less surely the person's do not count: a profile must not drift to another voice."""


class Refiner:
    """Collects what people who agreed say, in memory, and saves a revision when it is enough.

    Each revision is listed by ``affectd speakers show`` and can be undone with ``affectd speakers revert``.
    """

    def __init__(self, household: Household) -> None:
        self._household = household
        self._embeddings: dict[str, list[Matrix]] = defaultdict(list)
        """By the person's id."""

    def collect(self, name: str, score: float, embedding: Matrix) -> bool:
        """Take an utterance ``float32[dim]`` of a member; return whether a revision was saved.

        Raises:
            StoreError: the revision could not be saved; the utterances it was made of are dropped.
        """
        member = self._household.members.get(name)
        # Whoever was forgotten while they spoke is no member any more.
        if member is None or score < SURE or member.voice_profile is None or not member.person.may_refine:
            return False
        collected = self._embeddings[member.person.id]
        collected.append(embedding)
        if len(collected) < UTTERANCES:
            return False
        del self._embeddings[member.person.id]
        self._save(member.person, member.voice_profile, np.stack(collected))
        return True

    def _save(self, person: Person, voice_profile: VoiceProfile, embeddings: Matrix) -> None:
        bundle = self._household.bundle
        with SpeakerStore.open(self._household.settings.store_folder) as store:
            anchor = estimate_voice_profile(bundle, clips_for(store, person, bundle))
            refined = refine(bundle, anchor, voice_profile, embeddings)
            reason = f"refined by {len(embeddings)} utterances"
            store.save_voice_profile(person, to_stored(refined, bundle, reason))


def refine(bundle: Bundle, anchor: VoiceProfile, voice_profile: VoiceProfile, embeddings: Matrix) -> VoiceProfile:
    """Return the profile moved towards that of ``embeddings``, yet near to ``anchor``, the enrolled one.

    ``embeddings`` are ``float32[n, dim]``, of the latest utterances.
    """
    target, rate = VoiceProfile.estimate(bundle.population, bundle.head, embeddings), np.float32(RATE)
    moved = voice_profile.centre + rate * (target.centre - voice_profile.centre) - anchor.centre
    most = BOUND * float(np.median(np.linalg.norm(bundle.population.offsets, axis=1)))
    moved *= np.float32(min(1.0, most / max(float(np.linalg.norm(moved)), 1e-12)))
    known, heard = voice_profile.label_prior, target.label_prior
    prior = heard if known is None or heard is None else known + rate * (heard - known)
    return replace(voice_profile, centre=anchor.centre + moved, label_prior=prior)
