"""What the broker keeps of a machine: states, and the devices of Home Assistant, also from earlier runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from edge.doors.mqtt.connection import Connection, News
from edge.doors.mqtt.discovery import machine_config, source_config
from edge.doors.mqtt.topics import Topics

LEFTOVERS_S = 2.0
"""After a subscription; what the broker kept has arrived by then."""


class Announced:
    """Publishes what is new of what the broker is to keep, and takes back what is no more."""

    def __init__(self, topics: Topics, connection: Connection) -> None:
        self.is_online = True
        """The broker says so of this machine."""
        self._topics, self._connection = topics, connection
        self._kept: dict[str, str] = {}
        """Topic to what was published there since the connection was made."""
        self._wanted: dict[str, str] = {}
        """Topic to what the broker is to keep, without the states of the sources."""
        self._leftovers: set[str] = set()
        """Topics of sources at which the broker had kept something."""
        self._listens_since_s: float | None = None
        """When it began to listen for leftovers; None: it does not."""
        self._is_all = False

    def start_anew(self) -> None:
        """Forget what the broker has: the connection is new. What it kept is asked for."""
        self._kept.clear()
        self.is_online = True
        self._listens_since_s = time.monotonic()
        self._connection.subscribe(self._of_all_sources())
        if self._topics.discovery:
            self._connection.subscribe([self._topics.home_assistant])

    def take(self, news: News) -> None:
        """Take a message: what the broker kept of a source, or that Home Assistant has started."""
        if self._topics.discovery and news.topic == self._topics.home_assistant:
            if news.payload == b"online" and not news.retained:
                self._kept.clear()
        elif news.payload and self._topics.source_in(news.topic):
            self._leftovers.add(news.topic)

    def say_again(self, topic: str) -> None:
        """Publish what the broker keeps at a topic once more."""
        self._kept.pop(topic, None)

    def look(self, state: str, status: Mapping[str, Any], sources: Mapping[str, str], is_all: bool) -> None:
        """Take what there is now.

        Args:
            state: of the machine.
            status: of ``Daemon.status``, with the ``labels`` and ``values`` that an answer may have.
            sources: id of each source to its name.
            is_all: no other source has still to get its name.
        """
        topics = self._topics
        self._wanted = {topics.state: state}
        if topics.discovery:
            self._wanted[topics.config(topics.device())] = machine_config(topics)
            for source, name in sources.items():
                config = source_config(topics, source, name, status["labels"], status["values"])
                self._wanted[topics.config(topics.device(source))] = config
        self._is_all = is_all

    def publish(self, states: Mapping[str, str]) -> None:
        """Publish what is new, and take back what is of no source any more.

        Args:
            states: id of each source to its state.
        """
        topics = self._topics
        wanted = {**self._wanted, **{topics.source_state(source): state for source, state in states.items()}}
        if not self.is_online:
            self._kept.pop(topics.availability, None)
            self.is_online = True
        for topic, payload in {topics.availability: "online", **wanted}.items():
            if self._kept.get(topic) != payload:
                self._connection.publish(topic, payload, retain=True)
                self._kept[topic] = payload
        self._take_back({topic for topic in self._kept if topics.source_in(topic) and topic not in wanted})
        since_s = self._listens_since_s
        if since_s is not None and self._is_all and time.monotonic() - since_s > LEFTOVERS_S:
            self._listens_since_s = None
            self._connection.unsubscribe(self._of_all_sources())
            self._take_back({topic for topic in self._leftovers if topic not in wanted})
            self._leftovers.clear()

    def _take_back(self, topics: set[str]) -> None:
        # Home Assistant does not look at the state of a device that is no more, and has none where it is empty.
        for topic in sorted(topics, key=self._is_state):
            self._connection.publish(topic, "", retain=True)
            self._kept.pop(topic, None)

    def _is_state(self, topic: str) -> bool:
        return topic.startswith(f"{self._topics.base}/")

    def _of_all_sources(self) -> list[str]:
        """Return subscriptions to what the broker keeps of all sources of this machine."""
        topics = [self._topics.source_state("+")]
        return [*topics, self._topics.config("+")] if self._topics.discovery else topics
