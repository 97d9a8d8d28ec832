"""What the topics of a machine, and the ids of its sources in them, are called."""

from __future__ import annotations

import hashlib
import re
import socket
import unicodedata
from dataclasses import dataclass

from edge.errors import UsageError, encodable
from edge.settings import MqttSettings

LONGEST_ID = 64
LONGEST_SLUG = 40
NODE = "affectd"
"""What the object ids of all devices begin with that this program announces."""
_HASHED = re.compile(r"(.*-)?[0-9a-f]{8}")
_NOT_SAFE = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Topics:
    """The topics of one machine. What is called ``source`` is the id of one, see ``id_of``."""

    base: str
    """``affectd/ID``: every topic but those of Home Assistant begins so."""
    machine: str
    """The id of the machine."""
    discovery: str
    """Where Home Assistant looks for devices; empty is nowhere."""

    @property
    def event(self) -> str:
        """Where every event is."""
        return f"{self.base}/event"

    @property
    def availability(self) -> str:
        """Whether affectd is there: ``online`` or ``offline``."""
        return f"{self.base}/availability"

    @property
    def state(self) -> str:
        """What the machine does."""
        return f"{self.base}/state"

    @property
    def do(self) -> str:
        """Where requests are taken."""
        return f"{self.base}/do"

    @property
    def answer(self) -> str:
        """Where requests and switches are answered."""
        return f"{self.base}/answer"

    @property
    def home_assistant(self) -> str:
        """Where Home Assistant says that it has started."""
        return f"{self.discovery}/status"

    def source_state(self, source: str) -> str:
        """Return where it is said what a source does, and what was heard last there; ``+`` is all of them."""
        return f"{self.base}/{source}/state"

    def switch(self, source: str) -> str:
        """Return where a source is switched ``ON`` and ``OFF``; ``+`` is all of them."""
        return f"{self.base}/{source}/set"

    def config(self, device: str) -> str:
        """Return where a device is announced to Home Assistant, see ``device``; ``+`` is all of this machine's.

        The machine is a level of its own, so that a broker can let each machine write its own devices alone.
        """
        return f"{self.discovery}/device/{self.machine}/{device}/config"

    @staticmethod
    def device(source: str = "") -> str:
        """Return the object id of a source's device; without one, of the machine's."""
        return f"{NODE}-{source}" if source else NODE

    def source_in(self, topic: str) -> str | None:
        """Return which source a topic of one is about; None where it is about none."""
        if topic.startswith(f"{self.base}/"):
            levels = topic.removeprefix(f"{self.base}/").split("/")
            return levels[0] if len(levels) == 2 else None
        prefix = self.config(Topics.device("+")).partition("+")[0]
        return topic.removeprefix(prefix).removesuffix("/config") if topic.startswith(prefix) else None


def topics_of(settings: MqttSettings) -> Topics:
    """Return the topics that settings ask for.

    Raises:
        UsageError: they name what is no topic, or no id.
    """
    for key, value in (("topic", settings.topic), ("discovery", settings.discovery)):
        is_none_allowed = key == "discovery"
        if not re.fullmatch(r"[^+#/$][^+#/]*(/[^+#/]+)*", value) and (value or not is_none_allowed):
            raise UsageError(f"mqtt.{key} {value!r} is no topic: words with / between them, without + and #")
    if settings.id and not re.fullmatch(rf"[A-Za-z0-9_-]{{1,{LONGEST_ID}}}", settings.id):
        raise UsageError(f"mqtt.id {settings.id!r} is none: up to {LONGEST_ID} letters, digits, _ and -")
    machine = settings.id or _safe(socket.gethostname())[:LONGEST_ID] or NODE
    return Topics(f"{settings.topic}/{machine}", machine, settings.discovery)


def id_of(source: str) -> str:
    """Return a source's name as one level of a topic and part of an id: as it is where it may stand there.

    Otherwise what may is followed by a hash, so that no two names have the same.
    """
    slug = _safe(source)[:LONGEST_SLUG].strip("-")
    if slug and slug == source and not _HASHED.fullmatch(source):
        return source
    digest = hashlib.sha256(encodable(source).encode()).hexdigest()[:8]
    return f"{slug}-{digest}" if slug else digest


def _safe(name: str) -> str:
    """Return a name in ASCII letters, digits, ``_`` and ``-``."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return _NOT_SAFE.sub("-", plain).strip("-")
