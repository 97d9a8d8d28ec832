"""What calibrates a model to where it listens: the people and the room of each stream."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from edge.bundle import Bundle
from edge.errors import AffectdError
from edge.people.conversation import Conversation, Recognition
from edge.people.household import Household
from edge.people.households import Households
from edge.people.refine import Refiner
from edge.recognizer import Encoding, Recognizer
from edge.settings import Settings
from edge.stream import Stream, Utterance
from edge.stream_room import StreamRoom

logger = logging.getLogger(__name__)


class Calibration:
    """What one model knows of one stream. For the thread that recognises."""

    def __init__(self, household: Household, refiner: Refiner, room: StreamRoom | None) -> None:
        self.household, self.refiner = household, refiner
        self.room = room
        """None: none is estimated."""
        self._conversation = Conversation(household)

    def recognize(self, utterance: Utterance, encoding: Encoding) -> Recognition:
        """Recognise an utterance by what was known before it; nothing is learnt from it until ``follow``."""
        if self.room:
            self._conversation.room = self.room.of(utterance.source)
        segment = utterance.segment
        return self._conversation.recognize(encoding, segment.start_s, segment.end_s)

    def follow(self, recognition: Recognition) -> str | None:
        """Learn from an utterance that is over; return what there is to say about the room."""
        self._conversation.follow(recognition)
        if self.room is None or not recognition.teaches:
            return None
        return self.room.follow(recognition.without_person, recognition.probabilities)


class CalibratedModel:
    """A recogniser with what it knows of everybody, and of each stream. For the thread that recognises."""

    def __init__(self, recognizer: Recognizer, settings: Settings) -> None:
        """Prepare; the settings are of people, rooms and decisions."""
        self.recognizer, self.settings = recognizer, settings
        self._households = Households(recognizer.bundle, settings.speakers)
        self._calibrations: dict[Stream, Calibration] = {}
        self._refiners: dict[Household, Refiner] = {}
        self._is_loaded = False

    def add(self, stream: Stream) -> None:
        """Take up a stream, before ``load`` or after it; one that is known is left as it is.

        Raises:
            StoreError: as ``load``.
        """
        bundle, settings = self.recognizer.bundle, self.settings
        if stream in self._calibrations:
            return
        household = self._households.bound_to(stream.people)
        if self._is_loaded:
            household.load()
        refiner = self._refiners.setdefault(household, Refiner(household))
        room = StreamRoom(bundle, settings, stream.is_recorded) if settings.room.enabled else None
        self._calibrations[stream] = Calibration(household, refiner, room)

    def keep_rooms(self, other: CalibratedModel) -> None:
        """Take over what another one with the same encoder has learnt of the rooms."""
        if (self.recognizer.bundle.encoder_hash, self.settings.room) == (
            other.recognizer.bundle.encoder_hash,
            other.settings.room,
        ):
            for stream, calibration in self._calibrations.items():
                if stream in other._calibrations:
                    calibration.room = other._calibrations[stream].room

    def remove(self, stream: Stream) -> None:
        """Let go of a stream, and save its room."""
        calibration = self._calibrations.pop(stream)
        if calibration.room:
            calibration.room.save()

    def load(self) -> None:
        """Read who is enrolled, and load and warm the encoders; what is loaded already stays.

        Raises:
            StoreError: the speaker store cannot be read, or does not know somebody whom a stream is bound to.
            ModelError: the model does not load.
        """
        self._households.load()
        self.recognizer.load(self.wants_voiceprints)
        self._is_loaded = True

    def of(self, stream: Stream) -> Calibration:
        """Return what is known of a stream."""
        return self._calibrations[stream]

    def room_facts(self, stream: Stream) -> dict[str, float] | None:
        """Return what is known of the room of a stream, for people and programs; None without one. From any thread."""
        calibration = self._calibrations.get(stream)
        return calibration.room.facts if calibration and calibration.room else None

    def reset_room(self, stream: Stream) -> None:
        """Forget the room of a stream, if it is estimated."""
        if room := self.of(stream).room:
            room.reset()

    @property
    def wants_voiceprints(self) -> bool:
        """Voiceprints are of use to any stream."""
        return self._households.wants_voiceprints

    def save(self) -> None:
        """Save the rooms that are remembered."""
        for calibration in self._calibrations.values():
            if calibration.room:
                calibration.room.save()


def smaller_model(model: CalibratedModel, streams: Iterable[Stream]) -> CalibratedModel | None:
    """Return the model of ``overload.bundle``, loaded; None, with a line in the log, where that does not work."""
    settings = model.settings
    bundle = settings.overload.bundle
    encoder = settings.encoder.model_copy(update={"bundle": bundle})
    try:
        small = CalibratedModel(Recognizer(Bundle.load(encoder.bundle_folder), encoder), settings)
        for stream in streams:
            small.add(stream)
        small.load()
    except AffectdError as error:
        logger.warning("the smaller model cannot answer: %s", error)
        return None
    return small
