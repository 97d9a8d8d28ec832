"""Events on their way to a broker: what waits while it is away, and what of it is lost."""

from __future__ import annotations

from collections import deque

from edge.doors.mqtt.connection import Connection

ON_THE_WAY = 1_000
"""Events that may be handed over, and not be with the broker yet."""


class WaitingEvents:
    """Events in their order, of which the oldest are lost, and counted, where too many wait."""

    def __init__(self, topic: str, most: int) -> None:
        """Let ``most`` events wait; those on the way are a part of them."""
        self.lost = 0
        self._topic, self._most = topic, most
        self._on_the_way_at_most = min(ON_THE_WAY, max(1, most // 2))
        self._waiting: deque[str] = deque()
        self._on_the_way: set[int] = set()
        """Numbers of messages."""

    def __len__(self) -> int:
        """Return how many the broker does not have yet."""
        return len(self._waiting) + len(self._on_the_way)

    def add(self, line: str) -> bool:
        """Let an event wait; return whether another one was lost for it."""
        self._waiting.append(line)
        if len(self) <= max(self._most, len(self._on_the_way) + 1):
            return False
        self._waiting.popleft()
        self.lost += 1
        return True

    def hand_over(self, connection: Connection) -> None:
        """Hand over as many as may be on the way."""
        while self._waiting and len(self._on_the_way) < self._on_the_way_at_most and connection.is_up:
            self._on_the_way.add(connection.publish(self._topic, self._waiting.popleft()))

    def lose_all(self) -> int:
        """Count as lost whatever the broker does not have; return how many that are."""
        late = len(self)
        self.lost += late
        self._waiting.clear()
        self._on_the_way.clear()
        return late

    def arrived(self, number: int) -> None:
        """Take the number of a message, of an event or another one, that the broker has."""
        self._on_the_way.discard(number)
