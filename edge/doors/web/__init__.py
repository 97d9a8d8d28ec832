"""The web server, see WebSettings. Needs the extra ``web``: import it only where somebody wants it."""

from edge.doors.web.door import WebDoor, web_door

__all__ = ["WebDoor", "web_door"]
