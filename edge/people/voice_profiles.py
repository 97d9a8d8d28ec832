"""What a bundle can use of a voice in the store: clips and voiceprints of its own encoders, and the voice profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edge.adapt import VoiceProfile
from edge.arrays import Doubles, Matrix, unit
from edge.bundle import Bundle
from edge.errors import ModelError
from edge.people.store import SpeakerStore
from edge.people.store.person import EnrolledClip, Person, StoredProfile
from edge.value_shift import ValueStatistics


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
    if shapes != {bundle.population.mean.shape}:
        raise ModelError(f"the profile of {person.name!r} does not fit the bundle; enrol again")
    return _of_the_same_outputs(voice_profile, bundle)


def _of_the_same_outputs(voice_profile: VoiceProfile, bundle: Bundle) -> VoiceProfile:
    """Return the profile without what is of other labels and values, which a bundle of the same encoder may have."""
    head, prior, values = bundle.head, voice_profile.label_prior, voice_profile.values
    shape = head.values.bias.shape if head.values else ()
    return replace(
        voice_profile,
        label_prior=None if prior is None or prior.shape != head.bias.shape else prior,
        values=None if values is None or {values.mean.shape, values.deviation.shape} != {shape} else values,
    )


def to_stored(voice_profile: VoiceProfile, bundle: Bundle, reason: str) -> StoredProfile:
    """Return the record of a voice profile; ``reason`` is why this revision of it was made."""
    values = voice_profile.values
    tensors = {
        "centre": voice_profile.centre,
        "label_shares": voice_profile.label_prior,
        "room": voice_profile.room,
        "value_means": values.mean if values else None,
        "value_deviations": values.deviation if values else None,
    }
    return StoredProfile(
        encoder_hash=bundle.encoder_hash,
        speaker_hash=bundle.speaker_hash,
        tensors={name: tensor for name, tensor in tensors.items() if tensor is not None},
        facts={"clips": voice_profile.clips},
        reason=reason,
    )


def from_stored(stored: StoredProfile) -> VoiceProfile:
    """Rebuild a voice profile from its record; the ``label_prior`` of earlier versions was none of the person's own.

    Raises:
        ModelError: something is missing or has the wrong kind.
    """
    tensors, facts = stored.tensors, stored.facts
    try:
        clips = int(facts["clips"])  # type: ignore[arg-type]  # TypeError is caught
        means, deviations = tensors.get("value_means"), tensors.get("value_deviations")
        values = None if means is None or deviations is None else ValueStatistics(means, deviations, clips)
        return VoiceProfile(tensors["centre"], tensors.get("label_shares"), clips, tensors.get("room"), values)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the stored profile is not one of this version: {error!r}; enrol again") from None
