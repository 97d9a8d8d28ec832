"""Whether the doors of some settings would open, for ``affectd doctor``."""

from __future__ import annotations

import errno
import os
import socket

from edge.diagnosis import Check, Verdict, attempt
from edge.doors import Inside, open_door
from edge.errors import OutputError
from edge.recent import RecentEvents
from edge.settings import MqttSettings, WebSettings

OFF = "off, by the settings"


def check_web(settings: WebSettings) -> Check:
    """Say where the web server would listen."""
    return attempt("web", lambda: _web(settings) if settings.listens_at else OFF)


def check_mqtt(settings: MqttSettings) -> Check:
    """Say whether the broker lets this machine in; one that is away stops no run."""
    check = attempt("mqtt", lambda: _prepared(settings) if settings.broker else OFF)
    if not settings.broker or check.verdict is Verdict.BROKEN:
        return check
    return attempt("mqtt", lambda: _login(settings), otherwise=Verdict.ABSENT)


def _prepared(settings: WebSettings | MqttSettings) -> str:
    """Make a door that is never opened; raises UsageError for settings that do not work, or a missing package."""
    return open_door(settings, Inside({}, RecentEvents())).name


def _web(settings: WebSettings) -> str:
    _prepared(settings)
    from edge.doors.web.address import parse_web_address  # noqa: PLC0415  (an optional extra)

    address = parse_web_address(settings.listens_at)
    what = f"{address}{', with the dashboard' if settings.dashboard else ''}"
    try:
        for family, kind, _, _, place in socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"{what}: somebody listens there, as an affectd that runs would"
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise OutputError(f"cannot listen at {address}: {reason}") from None
    return what


def _login(settings: MqttSettings) -> str:
    from edge.doors.mqtt.broker import broker_of  # noqa: PLC0415  (an optional extra)
    from edge.doors.mqtt.login import try_login  # noqa: PLC0415  (the same)

    broker = broker_of(settings)
    try_login(broker)
    return f"{broker} lets {f'user {broker.user!r}' if broker.user else 'whoever has no mqtt.user'} in"
