"""What the encoder is given to do: all that is said, or less of it while it does not keep up."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.calibration import CalibratedModel, smaller_model
from edge.event import Event, status
from edge.overload import Overload
from edge.stream import Stream, Utterance
from edge.streams import Streams


class Workload:
    """Which utterances are answered, and by which model. Only what live sources say is ever left out."""

    def __init__(self, model: CalibratedModel, streams: Streams) -> None:
        self.model = model
        """That answers, as long as the encoder keeps up."""
        self.overload = Overload(model.settings)
        self._streams = streams
        self._small: CalibratedModel | None = None
        """That answers when it does not; opened when it is first needed."""
        self._heard = Counter[Stream]()
        """Utterances of each stream so far."""
        self._turns: dict[int, int] = {}
        """Which of them one is that is not over, by its id."""

    def add(self, stream: Stream) -> None:
        """Take up a stream; raises StoreError as ``CalibratedModel``."""
        self.model.add(stream)
        if self._small:
            self._small.add(stream)

    def remove(self, stream: Stream) -> None:
        """Let go of a stream."""
        self.model.remove(stream)
        if self._small:
            self._small.remove(stream)

    def use(self, model: CalibratedModel) -> None:
        """Answer with another model from now on, which is loaded, and begin with nothing left out."""
        self.save()
        for stream in self._streams:
            model.add(stream)
        model.keep_rooms(self.model)
        self.model, self._small, self.overload = model, None, Overload(model.settings)

    def save(self) -> None:
        """Save the rooms that are remembered."""
        self.model.save()
        if self._small:
            self._small.save()

    @property
    def answering(self) -> CalibratedModel:
        """The model that answers now."""
        if not self.overload.reduction.small:
            return self.model
        if self._small is None:
            self._small = smaller_model(self.model, self._streams) or self.model
        return self._small

    def follow(self, items: Sequence[Utterance | Event]) -> Event | None:
        """Take what is handed over, look how long it has waited, and return what there is to say about that."""
        now_s = time.monotonic()
        live = [item for item in items if isinstance(item, Utterance) and item.is_encoded and not item.stream.can_wait]
        dropped = any(isinstance(item, Event) and item.reason == "too_slow" for item in items)
        waited_s = math.inf if dropped else max((now_s - item.queued_at_s for item in live), default=0.0)
        news = self.overload.follow(waited_s)
        return status(", ".join(stream.name for stream in self._streams), "overload", news) if news else None

    def wants(self, utterance: Utterance) -> bool:
        """Return whether what happened to an utterance is for the encoder."""
        if not utterance.is_encoded or utterance.stream.can_wait:
            return utterance.is_encoded
        if utterance.step == "partial":
            return self.overload.reduction.partials
        if utterance.id not in self._turns:
            self._heard[utterance.stream] += 1
            self._turns[utterance.id] = self._heard[utterance.stream]
        return self._turns[utterance.id] % self.overload.reduction.every == 0

    def samples(self, utterance: Utterance) -> Waveform:
        """Return ``float32[n]``, what of an utterance the encoder is given."""
        samples, longest_s = utterance.segment.samples, self.overload.reduction.longest_s
        if utterance.stream.can_wait or len(samples) <= longest_s * SAMPLE_RATE_HZ:
            return samples
        return samples[-round(longest_s * SAMPLE_RATE_HZ) :]

    def finish(self, utterance: Utterance) -> None:
        """Take note that an utterance is over."""
        self._turns.pop(utterance.id, None)
