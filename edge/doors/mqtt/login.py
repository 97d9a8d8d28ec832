"""To log in at a broker, and out again."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from edge.doors.mqtt.broker import Broker
from edge.doors.mqtt.connection import CONNECT_S, new_client
from edge.errors import OutputError, one_line

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

POLL_S = 0.1


def try_login(broker: Broker) -> None:
    """Log in and out again, and publish nothing.

    Raises:
        OutputError: the broker cannot be reached, does not answer, or refuses the user.
    """
    reasons: list[ReasonCode] = []

    def connected(
        client: Client, data: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        reasons.append(reason)

    client = new_client(broker, f"affectd-doctor-{secrets.token_hex(4)}")
    client.on_connect = connected
    try:
        client.connect(broker.host, broker.port)
    except OSError as error:
        raise OutputError(f"{broker} cannot be reached: {one_line(error.strerror or str(error))}") from None
    until_s = time.monotonic() + CONNECT_S
    while not reasons and time.monotonic() < until_s:
        client.loop(POLL_S)
    client.disconnect()
    if not reasons:
        raise OutputError(f"{broker} does not answer as a broker within {CONNECT_S:g} s")
    if reasons[0].is_failure:
        who = f"user {broker.user!r}" if broker.user else "whoever has no mqtt.user"
        raise OutputError(f"{broker} refuses {who}: {reasons[0]}")
