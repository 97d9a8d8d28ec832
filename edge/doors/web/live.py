"""``/live``: what the sources hear now, as Server-Sent Events."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from aiohttp import web

from edge.doors.web.clients import Followers, Limits, patience, rung
from edge.doors.web.events import SSE_HEADERS
from edge.meter import Meter

EVERY_S = 0.2


class LiveRoute:
    """Serves those who look at the meters; without any, nobody reads these."""

    def __init__(self, followers: Followers, limits: Limits) -> None:
        self.meters: Sequence[Meter] = ()
        """Of the sources, as there are at the time; set from any thread."""
        self._followers, self._limits = followers, limits

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send the meters whenever they have moved, until the client leaves."""
        with self._followers.joined() as bell:
            response = web.StreamResponse(headers=SSE_HEADERS)
            await response.prepare(request)
            shown, sent_at_s = b"", time.monotonic()
            while not self._followers.is_ending:
                line = self._line()
                if line != shown or time.monotonic() - sent_at_s >= self._limits.quiet_s:
                    with patience(request, self._limits.slow_s):
                        await response.write(line)
                    shown, sent_at_s = line, time.monotonic()
                await rung(bell, EVERY_S)
            return response

    def _line(self) -> bytes:
        readings = [
            {
                "name": meter.name,
                "level_dbfs": round(meter.level_dbfs, 1),
                "hears_voice": meter.hears_voice,
                "is_clipping": meter.is_clipping,
                "too_short": meter.too_short,
            }
            for meter in list(self.meters)
            if meter.name
        ]
        return f"event: meters\ndata: {json.dumps(readings)}\n\n".encode()
