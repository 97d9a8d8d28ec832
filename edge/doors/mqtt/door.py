"""Events to an MQTT broker, the state of every source, and what may be asked for there."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from edge.doors.inside import Inside
from edge.doors.mqtt.announced import Announced
from edge.doors.mqtt.broker import Broker, broker_of
from edge.doors.mqtt.commands import answer_to
from edge.doors.mqtt.connection import Connection, News, require_paho
from edge.doors.mqtt.state import SourceState, dumped, machine_state
from edge.doors.mqtt.topics import Topics, id_of, topics_of
from edge.doors.mqtt.waiting import WaitingEvents
from edge.event import Event
from edge.meter import Meter
from edge.settings import MqttSettings

LOOK_S = 5.0
"""From one look at what the sources do, and how loud they are, to the next."""
SETTLE_S = 10.0
"""A microphone has its name when it is open, which takes no longer."""
CLOSE_S = 4.0
"""What waits at the end is sent within this time, or lost."""
POLL_S = 0.02

logger = logging.getLogger(__name__)


class MqttDoor:
    """Events to a broker. All of it is done on the thread of the output, but for the network, which has its own."""

    name = "mqtt"
    can_refresh = True

    def __init__(self, broker: Broker, topics: Topics, queue_events: int, inside: Inside) -> None:
        """Prepare.

        Args:
            broker: where it is.
            topics: under which to publish.
            queue_events: events that may wait while it is away.
            inside: what may be asked for.
        """
        self._topics, self._actions, self._recent = topics, inside.actions, inside.recent
        self._connection = Connection(broker, f"affectd-{topics.machine}", topics.availability)
        self._events = WaitingEvents(topics.event, queue_events)
        self._announced = Announced(topics, self._connection)
        self._sources: dict[str, SourceState] = {}
        """By name."""
        self._present: dict[str, str] = {}
        """Id of each source that there is to its name."""
        self._has_twin = False
        self._opened_at_s = self._looked_at_s = self._level_at_s = -math.inf

    @property
    def lost(self) -> int:
        """Events that no broker has got."""
        return self._events.lost

    def open(self) -> None:
        """Begin to connect; nobody waits for it."""
        self._opened_at_s = time.monotonic()
        self._connection.start()

    def write(self, event: Event) -> None:
        """Let an event wait for the broker, and hand over what it can take."""
        self._take_arrived()
        lost_before = self.lost
        if self._events.add(event.to_json()) and not lost_before:
            logger.warning("output mqtt: the broker is away or too slow: events are lost")
        self._source(event.source).follow(event)
        if event.type in ("status", "error"):
            self._looked_at_s = -math.inf
        self._work()

    def refresh(self, meters: Sequence[Meter]) -> None:
        """Do what there is to do while no event comes."""
        self._work()

    def close(self) -> None:
        """Send what waits, say that affectd is not there, and leave."""
        until_s = time.monotonic() + CLOSE_S
        self._looked_at_s = -math.inf
        self._work()
        while self._events and time.monotonic() < until_s:
            time.sleep(POLL_S)
            self._work()
        if late := self._events.lose_all():
            logger.warning("output mqtt: the broker is away or too slow: the last %d events are lost", late)
        if self._connection.is_up:
            offline = self._connection.publish(self._topics.availability, "offline", retain=True)
            while offline not in self._connection.arrived() and time.monotonic() < until_s:
                time.sleep(POLL_S)
        self._connection.stop()

    def _work(self) -> None:
        """Look at what came from the broker, and give it what is new, without waiting."""
        self._take_arrived()
        for news in self._connection.news():
            self._take(news)
        if time.monotonic() - self._looked_at_s >= LOOK_S:
            self._look()
        for state in self._sources.values():
            state.forget(self._recent.cleared)
        if self._connection.is_up:
            self._events.hand_over(self._connection)
            self._announced.publish({source: self._sources[name].to_json() for source, name in self._present.items()})

    def _take_arrived(self) -> None:
        for number in self._connection.arrived():
            self._events.arrived(number)

    def _take(self, news: News) -> None:
        topics = self._topics
        if news.kind == "up":
            self._announced.start_anew()
            self._connection.subscribe([topics.do, topics.switch("+"), topics.availability, topics.state])
        elif news.topic == topics.availability:
            # An earlier connection may be given up by the broker only now, and its last will be ours.
            self._announced.is_online = news.payload == b"online"
        elif news.topic == topics.state:
            self._look_for_twin(news)
        elif news.topic == topics.do or news.topic.endswith("/set"):
            switched = None if news.topic == topics.do else topics.source_in(news.topic)
            answer = answer_to(news, self._present, switched, self._actions)
            self._connection.publish(topics.answer, dumped(answer))
            self._looked_at_s = -math.inf
        else:
            self._announced.take(news)

    def _look_for_twin(self, news: News) -> None:
        """Say it once where another machine publishes at the topics of this one, as a copied disk does."""
        is_own = news.retained or not news.payload or self._recent.run.encode() in news.payload
        if not is_own and not self._has_twin:
            self._has_twin = True
            logger.warning(
                "output mqtt: another affectd publishes as %r at this broker, too: give each an mqtt.id of its own",
                self._topics.machine,
            )
            self._announced.say_again(self._topics.state)  # so that the other notices

    def _look(self) -> None:
        """See what the sources and the machine do."""
        now_s = self._looked_at_s = time.monotonic()
        status: Mapping[str, Any] = self._actions["status"]({})
        with_level = now_s - self._level_at_s >= LOOK_S
        if with_level:
            self._level_at_s = now_s
        settled = now_s - self._opened_at_s >= SETTLE_S
        present = [source for source in status["sources"] if settled or source["state"] != "waiting"]
        for source in present:
            self._source(source["name"]).look(source, with_level)
        names = {source["name"] for source in status["sources"]}
        self._sources = {name: state for name, state in self._sources.items() if name in names}
        self._present = {id_of(source["name"]): source["name"] for source in present}
        is_all = len(present) == len(status["sources"])
        self._announced.look(machine_state(status, self._recent.run, self.lost), status, self._present, is_all)

    def _source(self, name: str) -> SourceState:
        return self._sources.setdefault(name, SourceState(name))


def open_mqtt(settings: MqttSettings, inside: Inside) -> MqttDoor:
    """Return the door that settings ask for, not open yet.

    Raises:
        UsageError: they are wrong or contradict each other, or a package is missing.
    """
    require_paho()
    return MqttDoor(broker_of(settings), topics_of(settings), settings.queue_events, inside)
