"""Settings of the doors, through which others meet a running affectd. All are closed until something is set."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edge.settings.section import Names, Secret, Section

DASHBOARD_ADDRESS = "127.0.0.1:8377"


class WebSettings(Section):
    """A web server: events for programs and browsers, figures for monitors, and a dashboard. Needs the extra `web`."""

    address: str = ""
    """Host and port where it listens, such as `127.0.0.1:8377`, which is what a dashboard has without it; empty is
    nowhere. Where other machines reach it, it needs a `token`."""
    dashboard: bool = False
    """Show the dashboard at `/`, as `affectd run --dashboard` does; it may pause sources, reset rooms, and enrol and
    forget people."""
    token: Secret = ""
    """What everybody has to send, as `Authorization: Bearer` or `?token=`; empty is the systemd credential
    `web-token`, or none."""
    origins: Names = ()
    """Web pages of other servers that may read and ask, as `https://example.org`, separated by commas."""
    people: bool = False
    """Name people in the figures for monitors (`/metrics`), which are kept elsewhere, and for long."""

    @property
    def listens_at(self) -> str:
        """Host and port; empty is nowhere."""
        return self.address or (DASHBOARD_ADDRESS if self.dashboard else "")


class MqttSettings(Section):
    """Events to an MQTT broker, and to Home Assistant, which finds every source by itself. Needs the extra `mqtt`."""

    broker: str = ""
    """Where it is: `mqtt://homeassistant.local`, `mqtt://10.0.0.2:1883`, or `mqtts://` with TLS; empty is none."""
    user: str = ""
    """Name by which to log in; empty is without."""
    password: Secret = ""
    """Its password; empty is the systemd credential `mqtt-password`, or none."""
    ca: str = ""
    """File of the certificate authority for `mqtts://`; empty are those of the system."""
    id: str = ""
    """What tells this machine from others at the broker: letters, digits, `_` and `-`; empty is its host name."""
    topic: str = "affectd"
    """First part of every topic: events are at `affectd/ID/event`."""
    discovery: str = "homeassistant"
    """Where Home Assistant looks for devices; empty announces nothing."""
    queue_events: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Events that may wait while the broker is away; beyond it the oldest are lost and counted."""
