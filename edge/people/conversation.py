"""One source's utterances in order: who speaks, and which emotion, with that person's voice profile applied."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from edge.adapt import VoiceProfile, adapted_probabilities, adapted_values
from edge.arrays import Matrix
from edge.event import SpeakerMatch
from edge.head import LEAST_SPEECH
from edge.people.household import Household
from edge.people.stranger import StrangerMemory
from edge.people.usual import log_odds
from edge.recognizer import Encoding
from edge.room import Room
from edge.speaker import Identification, Identifier
from edge.values import Value


@dataclass(frozen=True)
class Recognition:
    """The emotion of one utterance, and who said it."""

    scores: dict[str, float]
    """Label to probability, in the bundle's order."""
    relative: dict[str, float]
    """Label to what its log-odds are above the person's usual; empty of strangers."""
    values: dict[str, Value]
    """Name to value, in the bundle's order; empty where the bundle has none."""
    encoding: Encoding
    speech: float | None
    """Probability that it is speech; None: the bundle cannot tell."""
    speaker: SpeakerMatch | None
    """None: a stranger, or uncertain."""
    adapted: bool
    """The voice profile of the person, or of a stranger who spoke before, was applied."""
    room: float
    """Share of the room's estimate that was applied, 0 to 1; the less, the more is known of who speaks."""
    without_person: Matrix
    """``float32[dim]``: the embedding less what is known of the person's own, which is what a room learns from."""
    moved: bool
    """The person's voice profile was moved here from the room that they were enrolled in."""
    identification: Identification | None
    """Of the voice, for the conversation; None: nobody was to be recognised."""
    other_voice: bool
    """From nobody of those whom the source is bound to: it is not to be reported."""
    is_stranger: bool
    """Said by a stranger whose utterances are remembered."""
    pause_s: float
    """Since the utterance before."""
    end_s: float
    adapt_ms: float
    """Time to identify the speaker and to look up the voice profile."""
    head_ms: float

    @property
    def probabilities(self) -> Matrix:
        """``float32[labels]``, in the bundle's order."""
        return np.array(list(self.scores.values()), np.float32)

    @property
    def is_speech(self) -> bool:
        """It is rather speech than not, as far as the bundle can tell."""
        return self.speech is None or self.speech >= LEAST_SPEECH

    @property
    def teaches(self) -> bool:
        """Something about the room and the people may be learnt from it."""
        return self.is_speech and not self.other_voice

    @property
    def emotion(self) -> str:
        """The most probable label."""
        return max(self.scores, key=lambda label: self.scores[label])

    @property
    def confidence(self) -> float:
        """Calibrated probability of ``emotion``."""
        return self.scores[self.emotion]

    @property
    def latency_ms(self) -> dict[str, float]:
        """Stage to milliseconds."""
        encoding = self.encoding
        return {
            "encoder": encoding.encoder_ms,
            "speaker": encoding.speaker_ms,
            "adapt": self.adapt_ms,
            "head": self.head_ms,
        }


class Conversation:
    """Remembers who has been speaking. Follows changes of the household from one utterance to the next.

    ``recognize`` changes nothing, so that an answer may be withdrawn; ``follow`` takes the utterance that is over.
    """

    def __init__(self, household: Household, room: Room | None = None) -> None:
        self.household = household
        self.room = room
        """That they are in, which is only read here; None: unknown."""
        self._identifier: Identifier | None = None
        self._version = -1
        self._stranger = StrangerMemory(household.bundle, household.settings.forget_s)
        self._ended_s: float | None = None

    def reset(self) -> None:
        """Forget who has been speaking: what follows is another conversation."""
        self._ended_s = None
        self._stranger.reset()
        if self._identifier:
            self._identifier.reset()

    def recognize(self, encoding: Encoding, start_s: float, end_s: float) -> Recognition:
        """Recognise an utterance from ``start_s`` to ``end_s`` of the source's clock by what was said before it.

        The offset of an enrolled person lies between the room's and that of their enrolment clips; in another room than
        that of the enrolment the voice profile is moved there first.
        """
        started_s = time.perf_counter()
        pause_s = 0.0 if self._ended_s is None else start_s - self._ended_s
        bundle, room = self.household.bundle, self.room
        offset = room.offset() if room else np.zeros_like(encoding.embedding)
        share = room.share if room else 0.0
        found = self._identify(encoding, pause_s)
        speaker, voice_profile, is_stranger = self._speaker(encoding, found, pause_s, offset)
        moved = voice_profile.moved_to(room) if speaker and voice_profile and room else None
        member = self.household.members[speaker.name] if speaker else None
        ratio, shift = (member.label_ratio, member.value_shift) if member else (None, None)
        adapted_s = time.perf_counter()
        embedding, without_person = encoding.embedding[None], encoding.embedding
        if voice_profile:
            own = voice_profile.own if speaker else None
            without_person = without_person if own is None else without_person - own
            weight = speaker.score if speaker else 1.0
            applied = (moved or voice_profile).offset(offset)
            shares = adapted_probabilities(bundle.head, embedding, applied, weight, offset, ratio)
            share *= 1 - voice_profile.share
            share += voice_profile.share if moved else 0.0
        else:
            applied, weight = offset, 1.0
            shares = bundle.head.probabilities(embedding - offset)
        readout = bundle.head.values
        values = readout.named(adapted_values(readout, embedding, applied, weight, offset, shift)[0]) if readout else {}
        return Recognition(
            scores=dict(zip(bundle.manifest.labels, shares[0].tolist(), strict=True)),
            relative=self._relative(speaker, shares[0]),
            values=values,
            encoding=encoding,
            speech=bundle.head.speech.probability(encoding.embedding) if bundle.head.speech else None,
            speaker=speaker,
            adapted=voice_profile is not None,
            room=share,
            without_person=without_person,
            moved=moved is not None,
            identification=found,
            other_voice=self.household.gates and found is not None and found.stranger >= self.household.settings.gate,
            is_stranger=is_stranger,
            pause_s=pause_s,
            end_s=end_s,
            adapt_ms=(adapted_s - started_s) * 1e3,
            head_ms=(time.perf_counter() - adapted_s) * 1e3,
        )

    def follow(self, recognition: Recognition) -> None:
        """Take the utterance that was recognised last, now that it is over."""
        if not recognition.is_speech:
            return
        self._ended_s = recognition.end_s
        if self._identifier and recognition.identification:
            self._identifier.follow(recognition.identification)
        if recognition.is_stranger and recognition.teaches:
            self._stranger.follow(recognition.encoding, recognition.pause_s)

    def _speaker(
        self, encoding: Encoding, found: Identification | None, pause_s: float, room: Matrix
    ) -> tuple[SpeakerMatch | None, VoiceProfile | None, bool]:
        """Return who spoke, their voice profile, that of a stranger for a room with that offset, and if it is one's."""
        household = self.household
        if household.bound_to:
            return SpeakerMatch(household.bound_to, 1.0), household.voice_profile(household.bound_to), False
        if found and household.gates:
            found = found.of_people()
        if found and found.name:
            return SpeakerMatch(found.name, found.posterior[found.name]), household.voice_profile(found.name), False
        if household.settings.adapt_strangers and not (found and found.uncertain):
            return None, self._stranger.voice_profile(encoding, pause_s, room), True
        return None, None, False

    def _relative(self, speaker: SpeakerMatch | None, shares: Matrix) -> dict[str, float]:
        usual = self.household.usual(speaker.name) if speaker else None
        if usual is None:
            return {}
        labels = self.household.bundle.manifest.labels
        return dict(zip(labels, (log_odds(shares) - usual).tolist(), strict=True))

    def _identify(self, encoding: Encoding, pause_s: float) -> Identification | None:
        if encoding.voiceprint is None or not self.household.recognises:
            return None
        if self._identifier is None or self._version != self.household.version:
            self._identifier, self._version = self.household.identifier(), self.household.version
        return self._identifier.estimate(encoding.voiceprint, encoding.duration_s, pause_s)
