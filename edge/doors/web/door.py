"""The web server."""

from __future__ import annotations

from edge.doors.inside import Inside
from edge.event import Event
from edge.settings import WebSettings


class WebDoor:
    """The web server."""

    name = "web"

    def __init__(self, settings: WebSettings, inside: Inside) -> None:
        self._settings, self._inside = settings, inside

    def open(self) -> None:
        """Open."""

    def write(self, event: Event) -> None:
        """Deliver."""

    def close(self) -> None:
        """Close."""
