"""What a bundle can use of a voice in the store: clips and voiceprints of its own encoders, and the voice profile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.adapt import VoiceProfile
from edge.arrays import Doubles, Matrix, unit
from edge.bundle import Bundle
from edge.errors import ModelError
from edge.people.store import SpeakerStore
from edge.people.store.person import EnrolledClip, Person, StoredProfile


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


def estimate_voice_profile(bundle: Bundle, clips: Sequence[EnrolledClip], room: Matrix | None = None) -> VoiceProfile:
    """Return the profile that clips of the bundle's encoder give; a label that the bundle does not know is no label.

    ``room`` is the offset ``float32[dim]`` of the room that they were spoken in; None: unknown.
    """
    embeddings = np.array([clip.embedding for clip in clips], np.float32).reshape(-1, len(bundle.population.mean))
    labels = [clip.label if clip.label in bundle.population.labels else None for clip in clips]
    return VoiceProfile.estimate(bundle.population, bundle.head, embeddings, labels, room)


def voice_profile_of(store: SpeakerStore, person: Person, bundle: Bundle) -> VoiceProfile | None:
    """Return someone's newest profile for a bundle, None if they are not enrolled with its encoder.

    An enrolment that was interrupted has clips but no profile yet, and an earlier version kept another kind of profile:
    it is then estimated from the clips.

    Raises:
        StoreError: the store cannot be read.
        ModelError: the profile is for another population, or there are no clips to replace that of another version.
    """
    stored = store.voice_profile(person, bundle.encoder_hash)
    if stored is None or "centre" not in stored.tensors:
        clips = clips_for(store, person, bundle)
        if clips or stored is None:
            return estimate_voice_profile(bundle, clips) if clips else None
    voice_profile = from_stored(stored)
    shapes = {tensor.shape for tensor in (voice_profile.centre, voice_profile.room) if tensor is not None}
    if shapes != {bundle.population.mean.shape} or voice_profile.label_prior.shape != bundle.head.bias.shape:
        raise ModelError(f"the profile of {person.name!r} does not fit the bundle; enrol again")
    return voice_profile


def to_stored(voice_profile: VoiceProfile, bundle: Bundle, reason: str) -> StoredProfile:
    """Return the record of a voice profile; ``reason`` is why this revision of it was made."""
    return StoredProfile(
        encoder_hash=bundle.encoder_hash,
        speaker_hash=bundle.speaker_hash,
        tensors={"centre": voice_profile.centre, "label_prior": voice_profile.label_prior}
        | ({} if voice_profile.room is None else {"room": voice_profile.room}),
        facts={"clips": voice_profile.clips},
        reason=reason,
    )


def from_stored(stored: StoredProfile) -> VoiceProfile:
    """Rebuild a voice profile from its record.

    Raises:
        ModelError: something is missing or has the wrong kind.
    """
    tensors, facts = stored.tensors, stored.facts
    try:
        clips = int(facts["clips"])  # type: ignore[arg-type]  # TypeError is caught
        return VoiceProfile(tensors["centre"], tensors["label_prior"], clips, tensors.get("room"))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the stored profile is not one of this version: {error!r}; enrol again") from None
