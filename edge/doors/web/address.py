"""Where the web server listens, and by which names it is known there."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from edge.errors import UsageError

FORM = "127.0.0.1:8377"
HTTP_PORT = 80
"""What a browser leaves out."""


@dataclass(frozen=True)
class WebAddress:
    """A host, of IPv6 without brackets, and a port."""

    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """Only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def names(self) -> frozenset[str]:
        """What a request to it from this machine has as its ``Host``."""
        hosts = ("localhost", "127.0.0.1", "[::1]", _bracketed(self.host))
        names = {f"{host}:{self.port}" for host in hosts}
        return frozenset(names | set(hosts)) if self.port == HTTP_PORT else frozenset(names)

    def __str__(self) -> str:
        return f"http://{_bracketed(self.host)}:{self.port}"


def parse_web_address(text: str) -> WebAddress:
    """Return what ``web.address`` says.

    Raises:
        UsageError: it is wrong; the message says how it is written.
    """
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.netloc != text or parts.username is not None or text != text.strip():
        raise UsageError(f"web.address {text!r} is not of the form {FORM}; its port is from 1 to 65535")
    return WebAddress(host, port)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
