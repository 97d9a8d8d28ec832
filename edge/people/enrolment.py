"""Enrolment: utterances become clips in the store, one by one, and in the end a voice profile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge.adapt import VoiceProfile
from edge.arrays import Matrix
from edge.audio import SAMPLE_RATE_HZ
from edge.people.quality import Sound, amount_doubts, measure, one_sided, recording_doubts, strange_clips
from edge.people.roster import similar_to
from edge.people.store import SpeakerStore
from edge.people.store.person import EnrolledClip, Person
from edge.people.voice_profiles import (
    clips_for,
    comparable,
    estimate_voice_profile,
    to_stored,
    voice_profile_of,
)
from edge.recognizer import Recognizer
from edge.room import Room
from edge.segment import Segment
from edge.speaker import VoiceCalibration

NAMED_CLIPS = 3
"""Places that one line names; the others are counted."""


@dataclass(frozen=True)
class Take:
    """What became of one utterance."""

    place: str
    """Source and time."""
    duration_s: float
    sound: Sound
    fault: str | None = None
    """Why it was left out; None when it was added."""


@dataclass(frozen=True)
class Omission:
    """Something that was not enrolled, and why."""

    place: str
    reason: str


@dataclass(frozen=True)
class Enrolled:
    """The result of an enrolment. Clips and speech count all that is kept for this bundle, from earlier ones too."""

    name: str
    added: int
    """Or enrolled anew, with a label or a voiceprint that was not known before."""
    repeated: int
    """Not added, because they were there already."""
    clips: int
    speech_s: float
    trust: float
    """How far the voice profile is trusted over the room, 0 to 1."""
    revision: int | None
    """Of the profile; None when it did not change."""
    recognisable: bool
    """There are voiceprints by which this bundle can recognise the person."""
    left_out: tuple[Omission, ...]
    doubts: tuple[str, ...]
    """What could be better."""


class Enrolment:
    """The enrolment of one person. Each clip is stored when ``take`` returns; ``finish`` adds the voice profile."""

    def __init__(self, store: SpeakerStore, recognizer: Recognizer, person: Person, is_new: bool) -> None:
        """Prepare.

        Args:
            store: of speakers.
            recognizer: loaded.
            person: who has agreed.
            is_new: they are not in the store yet, and appear there with their first clip.
        """
        self.person = person
        self.added: list[Take] = []
        self.left_out: list[Omission] = []
        self.remarks: list[str] = []
        """What there is to say about the recordings: samples that were repaired, or an end that is missing."""
        self.repeated = 0
        """Clips that are there already, as when an interrupted enrolment is begun again."""
        self._store, self._recognizer, self._is_new = store, recognizer, is_new
        self._bundle = recognizer.bundle
        self._clips = [] if is_new else clips_for(store, person, self._bundle)
        self._had_clips = bool(self._clips)
        self._places: dict[int, str] = {}
        """Index in ``_clips`` to the place, of those added now."""

    @property
    def speech_s(self) -> float:
        """What was added now."""
        return sum(take.duration_s for take in self.added)

    def take(self, segment: Segment, source: str, label: str | None = None) -> Take:
        """Embed and store one utterance, unless it is of no use.

        Raises:
            StoreError: it cannot be written; what was taken before is safe.
        """
        place, sound = f"{source} at {segment.start_s:.1f} s", measure(segment)
        fault = sound.fault or self._add(segment, place, label)
        take = Take(place, len(segment.samples) / SAMPLE_RATE_HZ, sound, fault)
        if sound.fault:
            self.left_out.append(Omission(place, sound.fault))
        elif fault:
            self.repeated += 1
        else:
            self.added.append(take)
        return take

    def finish(self, room: Room | None = None) -> Enrolled:
        """Estimate the profile from all kept clips, and save it as a new revision if it is one.

        Args:
            room: that the clips taken now are from, which is recorded with the profile, so that the person can be
                adapted to in another one; None: unknown.
        """
        if room and room.is_known and self._all_from(room):
            voice_profile = estimate_voice_profile(self._bundle, self._clips, room.offset())
            voice_profile = replace(voice_profile, room=room.mean)
        else:
            voice_profile = estimate_voice_profile(self._bundle, self._clips)
        return Enrolled(
            name=self.person.name,
            added=len(self.added),
            repeated=self.repeated,
            clips=len(self._clips),
            speech_s=round(sum(clip.duration_s for clip in self._clips), 2),
            trust=round(voice_profile.share, 4),
            revision=self._save(voice_profile) if self._clips else None,
            recognisable=len(comparable(self._clips, self._bundle)[0]) > 0,
            left_out=tuple(self.left_out),
            doubts=tuple(self._doubts()),
        )

    def _add(self, segment: Segment, place: str, label: str | None) -> str | None:
        """Store a clip, or return why not. One that is there already is replaced where more is known now."""
        bundle = self._bundle
        has_prints = bundle.manifest.speaker is not None
        (encoding,) = self._recognizer.encode([segment.samples], voiceprints=has_prints)
        index, old = self._same(encoding.embedding)
        if old and label in {None, old.label} and not (has_prints and old.speaker_hash != bundle.speaker_hash):
            return "enrolled already"
        keeps_print = old is not None and not has_prints
        clip = EnrolledClip(
            encoder_hash=bundle.encoder_hash,
            speaker_hash=old.speaker_hash if old and keeps_print else bundle.speaker_hash,
            embedding=encoding.embedding,
            voiceprint=old.voiceprint if old and keeps_print else encoding.voiceprint,
            label=label or (old.label if old else None),
            duration_s=encoding.duration_s,
        )
        if self._is_new:
            person = self.person
            self.person, self._is_new = self._store.add_person(person.name, person.consent, person.may_refine), False
        self._store.add_clip(self.person, clip, instead_of=old)
        self._clips[index : index + 1] = [clip]
        self._places[index] = place
        return None

    def _same(self, embedding: Matrix) -> tuple[int, EnrolledClip | None]:
        """Return the kept clip of the same sound, with its index, or else the next index and None."""
        kept = np.array([clip.embedding for clip in self._clips]).reshape(-1, len(embedding))
        same = np.isclose(kept, embedding, rtol=1e-5, atol=1e-6).all(axis=1)
        return (int(same.argmax()), self._clips[same.argmax()]) if same.any() else (len(kept), None)

    def _all_from(self, room: Room) -> bool:
        """Return whether clips of earlier enrolments, if there are any, are from the same room."""
        if not self._had_clips:
            return True
        earlier = voice_profile_of(self._store, self.person, self._bundle)
        return earlier is not None and earlier.room is not None and not room.differs_from(earlier.room)

    def _save(self, voice_profile: VoiceProfile) -> int | None:
        saved = self._store.voice_profile(self.person, self._bundle.encoder_hash)
        if not self.added and saved is not None and saved.facts.get("clips") == len(self._clips):
            return None
        reason = f"enrolled {len(self.added)} clips" if self.added else "completed an interrupted enrolment"
        return self._store.save_voice_profile(self.person, to_stored(voice_profile, self._bundle, reason))

    def _doubts(self) -> Iterator[str]:
        yield from self.remarks
        sounds = [take.sound for take in self.added]
        yield from recording_doubts(sounds)
        if not self._clips:
            return
        yield from amount_doubts(len(self._clips), sum(clip.duration_s for clip in self._clips))
        emotion = self._one_emotion()
        if emotion:
            yield (
                f"nearly all clips sound {emotion} to someone who does not know this voice: some in other moods would "
                f"teach more, or --neutral if that is how they were meant"
            )
        if self._bundle.calibration:
            yield from self._voice_doubts(self._bundle.calibration)

    def _one_emotion(self) -> str | None:
        if any(clip.label for clip in self._clips):
            return None
        shares = self._bundle.head.probabilities(np.stack([clip.embedding for clip in self._clips]))
        return one_sided([self._bundle.manifest.labels[index] for index in shares.argmax(axis=1)])

    def _voice_doubts(self, calibration: VoiceCalibration) -> Iterator[str]:
        prints, durations_s, indices = comparable(self._clips, self._bundle)
        strange = [indices[index] for index in strange_clips(calibration, prints, durations_s)]
        if strange:
            places = [self._places.get(index, f"clip {index + 1}") for index in strange]
            yield f"{len(strange)} of {len(indices)} clips sound like another voice: {listed(places)}"
        similar = similar_to(self._store, self.person, self._bundle)
        if similar:
            yield f"this voice sounds like {listed(similar)}, enrolled already: the two may be taken for each other"


def listed(names: Sequence[str]) -> str:
    """Return names as a text lists them: a few, and how many more there are."""
    more = len(names) - NAMED_CLIPS
    return ", ".join(names[:NAMED_CLIPS]) + (f" and {more} more" if more > 0 else "")
