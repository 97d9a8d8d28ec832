"""The connection to a broker: made, lost and made again by a thread of its own. Nobody waits for the network."""

from __future__ import annotations

import logging
import secrets
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Literal, TypeVar

from edge.doors.mqtt.broker import Broker
from edge.errors import UsageError, one_line

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

KEEPALIVE_S = 30
"""A broker that says nothing for so long is taken for gone; it waits half as long again for this machine."""
CONNECT_S = 3.0
FIRST_RETRY_S, LONGEST_RETRY_S = 1, 30
MOST_WAITING = 1_000
"""Messages of others that may wait to be looked at; what comes beyond it is left out."""
MOST_BYTES = 65_536
"""Of a message of others so much is kept, and one byte, which says that it was longer."""
LEAVE_S = 1.0
STEADY_S = 5.0
"""A connection that lasts for so long works."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class News:
    """What happened to the connection, or came over it."""

    kind: Literal["up", "message"]
    topic: str = ""
    payload: bytes = b""
    retained: bool = False
    """The broker kept it for whoever subscribes."""


class Connection:
    """A connection to a broker. The constructor is cheap; ``start`` returns at once, and so does everything else."""

    def __init__(self, broker: Broker, name: str, will_topic: str) -> None:
        """Prepare.

        Args:
            broker: where it is.
            name: by which the broker knows it, continued by chance, for two may overlap while settings change.
            will_topic: where the broker says ``offline`` when this is gone without a word, and keeps it.
        """
        self._broker, self._will_topic = broker, will_topic
        self._name = f"{name}-{secrets.token_hex(4)}"
        self._client: Client | None = None
        self._news: SimpleQueue[News] = SimpleQueue()
        self._arrived: SimpleQueue[int] = SimpleQueue()
        self._trouble = ""
        """What was said last, while nobody answers."""
        self._up_at_s = 0.0
        self._stopped = False
        self._left = threading.Event()

    def start(self) -> None:
        """Begin to connect, and go on until ``stop``."""
        client = new_client(self._broker, self._name)
        client.will_set(self._will_topic, "offline", qos=1, retain=True)
        client.reconnect_delay_set(FIRST_RETRY_S, LONGEST_RETRY_S)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_connect_fail, client.on_message = self._on_connect_fail, self._on_message
        client.on_publish = self._on_publish
        client.suppress_exceptions = True  # what is wrong with one message does not end the thread
        client.connect_async(self._broker.host, self._broker.port, KEEPALIVE_S)
        client.loop_start()
        self._client = client

    @property
    def is_up(self) -> bool:
        """The broker has let this machine in, and is not known to be gone."""
        return self._client is not None and self._client.is_connected()

    def publish(self, topic: str, payload: str, retain: bool = False) -> int:
        """Hand over a message at QoS 1, and return its number, which is among those of ``arrived`` some day.

        It is kept, and sent again where need be, until the broker has it.
        """
        assert self._client, "start() comes first"
        return self._client.publish(topic, payload.encode(), qos=1, retain=retain).mid

    def arrived(self) -> Iterator[int]:
        """Yield the numbers of messages that the broker has, as far as it has said so since the last call."""
        return _without_waiting(self._arrived)

    def subscribe(self, topics: Sequence[str]) -> None:
        """Let messages of these topics, at QoS 1, be among the ``news`` until the connection is lost."""
        if self._client:
            self._client.subscribe([(topic, 1) for topic in topics])

    def unsubscribe(self, topics: Sequence[str]) -> None:
        """Let them be no longer."""
        if self._client:
            self._client.unsubscribe(list(topics))

    def news(self) -> Iterator[News]:
        """Yield what came since the last call, without waiting."""
        if self._trouble and self.is_up and time.monotonic() - self._up_at_s > STEADY_S:
            self._trouble = ""
            logger.warning("output mqtt: %s answers again", self._broker)
        return _without_waiting(self._news)

    def stop(self) -> None:
        """Say goodbye, for which there is a second, and connect no more."""
        self._stopped = True
        if self._client:
            was_up = self.is_up
            self._client.disconnect()
            if was_up:
                self._left.wait(LEAVE_S)

    def _on_connect(
        self, client: Client, data: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if self._stopped:
            client.disconnect()
        elif reason.is_failure:
            self._say(f"refuses {self._who}: {reason}")
        else:
            self._up_at_s = time.monotonic()
            self._news.put(News("up"))

    def _on_connect_fail(self, client: Client, data: object) -> None:
        # Called while the error is handled, which is all that says why.
        error = sys.exc_info()[1]
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        self._say(f"cannot be reached: {one_line(reason)}")

    def _on_disconnect(
        self, client: Client, data: object, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if self._stopped:
            self._left.set()
        elif self._up_at_s and time.monotonic() - self._up_at_s < STEADY_S:
            self._say(f"ends the connection soon after the login: perhaps {self._who} may not publish its topics there")
        elif not self._trouble:
            self._say(f"does not answer any more: {reason}")
        self._up_at_s = 0.0

    def _on_publish(
        self, client: Client, data: object, number: int, reason: ReasonCode, properties: Properties
    ) -> None:
        self._arrived.put(number)

    def _on_message(self, client: Client, data: object, message: MQTTMessage) -> None:
        if self._news.qsize() < MOST_WAITING:
            self._news.put(News("message", message.topic, bytes(message.payload[: MOST_BYTES + 1]), message.retain))

    @property
    def _who(self) -> str:
        return f"user {self._broker.user!r}" if self._broker.user else "whoever has no mqtt.user"

    def _say(self, trouble: str) -> None:
        """Log trouble, once as long as it stays the same."""
        if trouble != self._trouble:
            logger.warning("output mqtt: %s %s; it is tried again", self._broker, trouble)
            self._trouble = trouble


def _without_waiting(queue: SimpleQueue[T]) -> Iterator[T]:
    try:
        while True:
            yield queue.get_nowait()
    except Empty:
        return


def new_client(broker: Broker, name: str) -> Client:
    """Return a client that would log in at a broker under a name."""
    from paho.mqtt.client import Client  # noqa: PLC0415  (an optional extra)
    from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415  (an optional extra)

    client = Client(CallbackAPIVersion.VERSION2, name)
    if broker.tls:
        client.tls_set_context(broker.tls)
    if broker.user:
        client.username_pw_set(broker.user, broker.password or None)
    client.connect_timeout = CONNECT_S
    return client


def require_paho() -> None:
    """Raise UsageError, with the extra to install, where the client library is missing."""
    try:
        import paho.mqtt.client  # noqa: F401, PLC0415  (an optional extra)
    except ImportError as error:
        raise UsageError(f"mqtt.broker needs paho-mqtt ({error}): pip install 'affectd[mqtt]'") from None
