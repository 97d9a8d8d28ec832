"""From settings to a source."""

from __future__ import annotations

import os
from collections.abc import Iterator

from edge.capture.address import Address, is_address, parse_address
from edge.capture.base import Block, Replying, Rest, Source
from edge.capture.file import FileSource
from edge.capture.live import LiveSource
from edge.capture.microphone import Microphone
from edge.capture.pcm import PcmSource
from edge.capture.persistent import PersistentSource
from edge.capture.pipe import Pipe
from edge.capture.sockets import SocketSource
from edge.capture.websocket import WebSocketSource
from edge.capture.wyoming import WyomingSource
from edge.errors import UsageError
from edge.folders import expanded
from edge.settings import CaptureSettings, Settings, SourceSettings


def open_source(settings: CaptureSettings, patient: bool = False) -> Source:
    """Return the source that the settings name: ``mic``, an address, a path, or ``-`` for standard input.

    A microphone is opened again whenever it goes away; ``patient``, also one that is not there at first, as an address
    that is still in use.

    With ``realtime`` a source does not wait for its consumer: what does not fit in the queue is lost and counted.

    Raises:
        UsageError: an address that is wrong, or open to other machines without a token.
    """
    if settings.source == "mic":
        return PersistentSource(Microphone(settings.device, settings.queue_s), patient)
    if is_address(settings.source):
        return PersistentSource(_client_source(settings), patient)
    source: Source
    if settings.source == "-":
        source = PcmSource(Pipe(), settings.rate_hz, realtime=settings.realtime)
    elif os.path.exists(path := expanded(settings.source)) and path.is_fifo():
        source = PcmSource(path, settings.rate_hz, path.name, settings.realtime)
    else:
        source = FileSource(path, settings.realtime)
    return LiveSource(source, settings.queue_s) if settings.realtime else source


def _client_source(settings: CaptureSettings) -> Source:
    address = parse_address(settings.source)
    if address.scheme == "wyoming":
        return WyomingSource(address, upstream_of(settings), settings.queue_s)
    if address.scheme != "ws":
        return SocketSource(address, settings.rate_hz, settings.queue_s)
    if not (address.is_local or settings.token):
        raise UsageError(f"source {address}: other machines reach it, so that it needs a token: set its key token")
    return WebSocketSource(address, settings.rate_hz, settings.queue_s, settings.token, settings.origins)


def upstream_of(settings: CaptureSettings) -> Address | None:
    """Return the speech-to-text behind a Wyoming source; None where there is none.

    Raises:
        UsageError: it is no address of one, or the source is no Wyoming source.
    """
    if not settings.upstream:
        return None
    if not settings.source.startswith("wyoming:"):
        raise UsageError(f"upstream {settings.upstream!r} is for a source wyoming://…, and this is {settings.source!r}")
    try:
        address = parse_address(settings.upstream)
    except UsageError as error:
        raise UsageError(str(error).replace("source", "upstream", 1)) from None
    if address.scheme not in ("tcp", "unix"):
        raise UsageError(f"upstream {settings.upstream!r} is neither tcp://… nor unix:…")
    if str(address).partition(":")[2] == str(parse_address(settings.source)).partition(":")[2]:
        raise UsageError(f"upstream {settings.upstream!r} is the source itself, and no speech-to-text")
    return address


def open_sources(settings: Settings) -> list[Source]:
    """Return the sources of the settings, see ``Settings.entries``; one of several waits for its device."""
    entries = settings.entries
    return [open_entry(entry, patient=len(entries) > 1) for entry in entries]


def open_entry(entry: CaptureSettings, patient: bool) -> Source:
    """Return the source of an entry, under its own name if it has one; ``patient`` as in ``open_source``."""
    source = open_source(entry, patient)
    return _Named(source, entry.name) if isinstance(entry, SourceSettings) and entry.name else source


def is_recording(source: Source) -> bool:
    """Return whether a source plays a recording, a file or what waits in a pipe, rather than what sounds just now."""
    while isinstance(source, (_Named, LiveSource, PersistentSource)):
        source = source.inner
    return source.can_wait or isinstance(source, FileSource)


def device_of(source: Source) -> PersistentSource | None:
    """Return the device behind a source, which can be closed for a while; None where there is none.

    A source that replies is not closed: who speaks to it needs the words, whether or not affectd listens.
    """
    while isinstance(source, (_Named, LiveSource)):
        source = source.inner
    return source if isinstance(source, PersistentSource) and not isinstance(source.inner, Replying) else None


def rest_of(source: Source) -> Rest | None:
    """Return what says how long audio of a source may wait; None where it cannot."""
    while isinstance(source, (_Named, PersistentSource)):
        source = source.inner
    return getattr(source, "rest", None)


def replying_of(source: Source) -> Replying | None:
    """Return the source that replies to those whom it hears; None where it does not."""
    while isinstance(source, (_Named, LiveSource, PersistentSource)):
        source = source.inner
    return source if isinstance(source, Replying) else None


class _Named:
    """A source under a name of its own; a microphone takes another when it opens."""

    def __init__(self, source: Source, name: str) -> None:
        self.name, self.can_wait, self.inner = name, source.can_wait, source

    def blocks(self) -> Iterator[Block]:
        return self.inner.blocks()

    def close(self) -> None:
        self.inner.close()
