"""Who may come in: from where, by which name, and with which token; and what every answer forbids a browser to do.

A web page of another server that makes a browser ask here is stopped by ``Origin``; one whose name was made to lead
here (DNS rebinding) by ``Host``.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from edge.doors.web.address import WebAddress
from edge.errors import nearest

OPEN = frozenset({"/health", "/ready"})
"""Without a token: whoever watches a process asks for these, and learns nothing else."""
FOR_MONITORS = OPEN | {"/metrics"}
"""By any name: a monitor in a container has another for this machine."""
PAGE, FILES = "/", "/page/"
"""Of the dashboard, the same for everybody; a browser sends no token with what a page is made of, and the page itself,
which asks for the token and keeps it out of the address bar, can be loaded again."""
SAFETY = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Server": "affectd",
}
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Last-Event-ID",
    "Access-Control-Max-Age": "600",
}

logger = logging.getLogger(__name__)


class Gate:
    """Lets requests in, or says why not."""

    def __init__(self, address: WebAddress, token: str, origins: tuple[str, ...], has_page: bool) -> None:
        """Prepare; ``origins`` are web pages of other servers that may ask, and ``has_page`` that there is one here."""
        self._address, self._token, self._origins = address, token, frozenset(origins)
        self._open = OPEN | {PAGE} if has_page else OPEN

    @property
    def middleware(self) -> Middleware:
        """What aiohttp calls for each request."""

        @web.middleware
        async def pass_through(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                self._check(request)
                if self._is_preflight(request):
                    return web.Response(status=204, headers=PREFLIGHT)
                return await handler(request)
            except web.HTTPException as refusal:
                return refused(refusal.status, _reason_of(refusal, request), refusal.headers)
            except ConnectionError:
                raise
            except Exception:
                logger.exception("%s %s failed", request.method, request.path)
                return refused(500, f"{request.path} failed; the log of affectd run says why")

        return pass_through

    async def prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add what every answer says about itself."""
        response.headers.update(SAFETY)
        response.headers.setdefault("Cache-Control", "no-store")
        origin = request.headers.get("Origin")
        if origin in self._origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"

    def _check(self, request: web.Request) -> None:
        """Raise an HTTPException where a request is not welcome."""
        path, origin = request.path, request.headers.get("Origin")
        if path not in FOR_MONITORS:
            host = ",".join(request.headers.getall("Host", ())).lower()
            if self._address.is_local and host not in self._address.names:
                names = ", ".join(sorted(self._address.names))
                raise web.HTTPForbidden(text=f"host {host!r} is none of {names}")
            is_same = origin is not None and origin.lower() in (f"http://{host}", f"https://{host}")
            if origin is not None and not is_same and origin not in self._origins:
                raise web.HTTPForbidden(text=f"origin {origin!r} is none of web.origins")
        is_free = path in self._open or path.startswith(FILES) or self._is_preflight(request)
        if self._token and not is_free and not hmac.compare_digest(_token_of(request), self._token.encode()):
            raise web.HTTPUnauthorized(
                text="the token is missing, or another one: send it as Authorization: Bearer, or as ?token=",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _is_preflight(self, request: web.Request) -> bool:
        """A browser asks, without a token, what a page that is welcome may send."""
        return request.method == "OPTIONS" and request.headers.get("Origin") in self._origins


def refused(status: int, why: str, headers: Mapping[str, str] = MappingProxyType({})) -> web.Response:
    """Return an answer that says why there is none."""
    kept = {name: headers[name] for name in ("Allow", "WWW-Authenticate") if name in headers}
    return web.json_response({"error": why}, status=status, headers=kept)


def _reason_of(refusal: web.HTTPException, request: web.Request) -> str:
    if refusal is not request.match_info.http_exception:
        return refusal.text or refusal.reason
    if refusal.status != web.HTTPNotFound.status_code:
        return f"{request.path} is asked for by {refusal.headers.get('Allow')}, not by {request.method}"
    paths = [resource.canonical for resource in request.app.router.resources()]
    return f"there is no {request.path}{nearest(request.path, paths)}"


def _token_of(request: web.Request) -> bytes:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    given = token.strip() if scheme.lower() == "bearer" else request.query.get("token", "")
    return given.encode("utf-8", "replace")
