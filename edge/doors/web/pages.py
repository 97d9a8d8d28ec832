"""``/``: the dashboard, or what there is; ``/page/NAME``: what the dashboard is made of."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from edge.errors import nearest

FOLDER = Path(__file__).with_name("page")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
"""By suffix; a file without any of these is not shown."""
ADDRESSES = """\
affectd

GET  /events    every event as it comes: Server-Sent Events, or a WebSocket; ?after=0 begins with those that are kept
GET  /live      what the sources hear now: Server-Sent Events
GET  /status    what it does
POST /do/NAME   asks it to do something: a JSON object, answered by {"answer": ...} or {"error": "..."}
GET  /metrics   figures for Prometheus
GET  /health    200 while it lives
GET  /ready     200 once it listens
"""


class PageRoutes:
    """Serves the files of a folder, and no others."""

    def __init__(self, with_dashboard: bool) -> None:
        self._with_dashboard = with_dashboard

    async def index(self, request: web.Request) -> web.StreamResponse:
        """Answer with the dashboard, or with the addresses."""
        return self._file("index.html") if self._with_dashboard else web.Response(text=ADDRESSES)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Answer with a file of the dashboard."""
        return self._file(request.match_info["name"])

    def _file(self, name: str) -> web.StreamResponse:
        there = {path.name: path for path in FOLDER.iterdir()} if self._with_dashboard else {}
        path = there.get(name)
        if path is None or path.suffix not in TYPES:
            raise web.HTTPNotFound(text=f"the dashboard has no file {name!r}{nearest(name, there)}")
        return web.FileResponse(path, headers={"Content-Type": TYPES[path.suffix], "Cache-Control": "no-cache"})
