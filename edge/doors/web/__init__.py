"""The web server, see WebSettings."""

from edge.doors.web.door import WebDoor

__all__ = ["WebDoor"]
