"""Which broker it is, and how to log in there."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from edge.errors import UsageError, nearest
from edge.folders import credential, expanded
from edge.settings import MqttSettings

PORTS = {"mqtt": 1883, "mqtts": 8883}
"""Of each scheme, where none is given."""
PASSWORD_CREDENTIAL = "mqtt-password"


@dataclass(frozen=True)
class Broker:
    """Where it is, and what it is told at the login."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    """None: the connection is not encrypted."""
    user: str = ""
    """Empty is without a login."""
    password: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def broker_of(settings: MqttSettings) -> Broker:
    """Return what the settings say.

    Raises:
        UsageError: they are wrong or contradict each other; the message says how they are written.
    """
    scheme, host, port = _address(settings.broker)
    if settings.ca and scheme != "mqtts":
        raise UsageError(f"mqtt.ca is for mqtts:// only, and mqtt.broker is {settings.broker!r}")
    password = settings.password or credential(PASSWORD_CREDENTIAL)
    if password and not settings.user:
        raise UsageError("mqtt.user is missing: a broker takes no password without a name")
    return Broker(host, port, _context(settings.ca) if scheme == "mqtts" else None, settings.user, password)


def _address(broker: str) -> tuple[str, str, int]:
    """Return scheme, host and port."""
    scheme, separator, rest = broker.partition("://")
    if not separator:
        raise UsageError(f"mqtt.broker {broker!r} has no scheme: write mqtt://{broker}, or mqtts://{broker} with TLS")
    if scheme not in PORTS:
        known = ", ".join(f"{name}://" for name in PORTS)
        raise UsageError(f"mqtt.broker: {scheme}:// is none of {known}{nearest(scheme, PORTS)}")
    if "@" in rest:  # not shown: there is a password in it
        raise UsageError("mqtt.broker names a user: put the name into mqtt.user, and the password into mqtt.password")
    try:
        parts = urlsplit(broker)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port == 0 or parts.path not in ("", "/") or parts.query or parts.fragment:
        form = f"{scheme}://10.0.0.2:{PORTS[scheme]}"
        raise UsageError(f"mqtt.broker {broker!r} is not of the form {form}; its port is from 1 to 65535")
    return scheme, host, port or PORTS[scheme]


def _context(ca: str) -> ssl.SSLContext:
    if not ca:
        return ssl.create_default_context()
    path = expanded(ca)
    try:
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise UsageError(f"mqtt.ca: {path} holds no certificate in PEM format") from None
    except OSError as error:
        raise UsageError(f"mqtt.ca: {path} cannot be read: {error.strerror}") from None
