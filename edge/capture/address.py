"""Addresses at which affectd waits for somebody to send audio: ``tcp://``, ``unix:``, ``ws://`` and ``wyoming://``."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import urlsplit

from edge.errors import UsageError, nearest

Scheme = Literal["tcp", "unix", "ws", "wyoming"]
FORMS = {
    "tcp": "tcp://127.0.0.1:7000",
    "unix": "unix:/run/user/1000/hall.sock",
    "ws": "ws://127.0.0.1:7001/hall",
    "wyoming": "wyoming://127.0.0.1:10300",
}
"""Each as it is written."""
NAMES = {"tcp": "TCP", "wyoming": "Wyoming"}


@dataclass(frozen=True)
class Address:
    """Where to wait for clients."""

    scheme: Scheme
    host: str = ""
    """A name or number, of IPv6 without brackets; empty for ``unix``."""
    port: int = 0
    path: str = ""
    """Of a Unix socket in the file system, or of a WebSocket."""

    @property
    def is_local(self) -> bool:
        """Only this machine reaches it."""
        if self.scheme == "unix" or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def is_address(source: str) -> bool:
    """Return whether a source is an address, right or wrong, and no path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://|unix:", source) is not None


def parse_address(source: str) -> Address:
    """Return what a source says.

    Raises:
        UsageError: it is wrong; the message says how it is written.
    """
    scheme, _, rest = source.partition(":")
    if scheme not in FORMS:
        raise UsageError(f"source {source!r}: {scheme}: is none of {', '.join(FORMS)}{nearest(scheme, FORMS)}")
    if scheme == "unix":
        path = rest.removeprefix("//")
        if not path or path.endswith("/"):
            raise UsageError(f"source {source!r} names no socket: write {FORMS['unix']}")
        return Address("unix", path=path)
    try:
        parts = urlsplit(source)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.username or parts.query or parts.fragment:
        raise UsageError(f"source {source!r} is not of the form {FORMS[scheme]}; its port is from 1 to 65535")
    if scheme != "ws" and parts.path not in ("", "/"):
        raise UsageError(f"source {source!r}: {NAMES[scheme]} has no path {parts.path!r}: write {FORMS[scheme]}")
    return Address(cast(Scheme, scheme), host, port, (parts.path or "/") if scheme == "ws" else "")
