"""``affectd run``: an engine that is told what to do while it listens."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from edge.actions import Actions, duration_in, name_in, source_in, taking
from edge.capture import open_sources
from edge.daemon.control import ControlServer
from edge.daemon.notify import Notifier
from edge.daemon.pauses import Pauses
from edge.daemon.people import People
from edge.daemon.reload import Running, open_wanted
from edge.daemon.schedule import Schedule
from edge.debug_audio import DebugAudio
from edge.doors import Inside
from edge.engine import Engine
from edge.errors import AffectdError, UsageError, one_line
from edge.event import status, wall_clock
from edge.folders import data_folder
from edge.model import Model
from edge.model_facts import model_facts
from edge.outputs import Output
from edge.recent import RecentEvents
from edge.settings import LoadedSettings
from edge.stream import Stream
from edge.summary import Summary

logger = logging.getLogger(__name__)


class Daemon:
    """Listens until it is stopped, and meanwhile answers, pauses, follows its hours, and reads its settings again."""

    def __init__(
        self,
        model: Model,
        loaded: LoadedSettings,
        json: bool = False,
        more_outputs: Sequence[Output] = (),
        debug_audio: Path | None = None,
    ) -> None:
        """Open what may fail at once.

        Args:
            model: of these settings, loaded or not.
            loaded: that can be read ``again``.
            json: JSON lines are on standard output, whatever the settings have there.
            more_outputs: than the settings name, for a program.
            debug_audio: folder to which every utterance is written as a file; None, as a rule.

        Raises:
            UsageError: an output whose file holds something else.
        """
        settings = loaded.settings
        self.actions: Actions = {
            "facts": lambda _: self._facts(),
            "status": lambda _: self.status(),
            "pause": taking(lambda it: {"paused": self.pause(source_in(it), duration_in(it))}, "source", "for_s"),
            "resume": taking(lambda it: {"resumed": self.resume(source_in(it))}, "source"),
            "reset_room": taking(lambda it: {"reset": self.reset_room(name_in(it, "source"))}, "source"),
            "reload": lambda _: self.reload(),
        }
        """What may be asked for."""
        self._recent = RecentEvents()
        self._server = ControlServer(self.actions, self._recent)
        people = People(lambda: self._engine.workload.model, self._recent)
        inside = Inside(self.actions, self._recent, people)
        outputs = open_wanted(settings, model.recognizer.outputs, json, inside)
        entries = settings.entries
        self._engine = Engine(
            open_sources(settings),
            model.recognizer,
            [*outputs, *more_outputs],
            settings,
            [self._server.send],
            [entry.people for entry in entries],
            [entry.report_s for entry in entries],
            self._heartbeat,
            DebugAudio(debug_audio) if debug_audio else None,
            people.follow,
        )
        self._running = Running(self._engine, settings, outputs, json, inside, self._begin)
        self._loaded = loaded
        self._schedule = Schedule()
        self._pauses = Pauses(settings.speakers.store_folder or data_folder())
        self._notifier = Notifier()
        self._is_ready = False
        self._beat_at_s = time.monotonic()
        self._started_at = wall_clock()
        self._reloading = threading.Lock()

    def run(self) -> Summary:
        """Listen until the sources end or ``stop`` is called; raises as ``Engine.run``."""
        try:
            self._server.open()
        except OSError as error:
            logger.warning("nobody can ask this run for anything: %s", error)
        for stream in self._engine.streams:
            self._begin(stream, self._running.key_of(stream))
        try:
            return self._engine.run()
        finally:
            self._notifier.stopping()
            self._server.close()

    def stop(self) -> None:
        """End it soon, with what was being said; from any thread or signal handler, and more than once."""
        self._engine.stop()

    def pause(self, source: str | None = None, duration_s: float | None = None) -> list[str]:
        """Hear nothing of a source, or of all, for so long, or until ``resume``; return their names. From any thread.

        Raises:
            UsageError: there is no such source.
        """
        streams = self._engine.streams
        names = streams.pause(source, "paused" if duration_s is None else f"paused for {duration_s:g} s")
        self._schedule.pause(names, duration_s)
        self._pauses.add(self._kept(source), duration_s)
        return names

    def resume(self, source: str | None = None) -> list[str]:
        """Listen again; as ``pause``."""
        names = self._engine.streams.go_on(source, "listening again")
        self._schedule.resume(names)
        self._pauses.remove(self._kept(source))
        return names

    def _kept(self, source: str | None) -> list[str]:
        """Return what the sources of a pause are known by in the next run; a recording is always played."""
        streams = self._engine.streams.named(source)
        return [self._running.key_of(stream) for stream in streams if not stream.is_recorded]

    def _begin(self, stream: Stream, key: str) -> None:
        """Do not listen to a new stream that somebody paused, in an earlier run or under other settings."""
        self._schedule.begin(stream.name)
        remaining_s = self._pauses.remaining_s()
        if key in remaining_s and not stream.is_recorded:
            self._engine.streams.pause(stream.name, "still paused, from before; affectd resume listens again")
            self._schedule.pause([stream.name], remaining_s[key])

    def reload(self) -> dict[str, list[str]]:
        """Read the settings again, and go over to them; return which have changed. From any thread.

        Raises:
            AffectdError: they cannot be read or do not work; everything stays as it was, and an event says so.
        """
        with self._reloading:
            if self._is_ready:
                self._notifier.reloading()
            try:
                changed = self._reload()
                message = f"settings were read again, and differ in {', '.join(changed)}"
                self._say(message if changed else "settings were read again, and are as they were")
                return {"changed": changed}
            except AffectdError as error:
                logger.warning("the settings stay as they were: %s", error)
                self._say(f"the settings stay as they were: {one_line(str(error))}")
                raise
            finally:
                if self._is_ready:
                    self._notifier.ready(self._summary())

    def reset_room(self, source: str) -> list[str]:
        """Forget the room of a source, which is estimated anew; return its name. From any thread.

        Raises:
            UsageError: there is no such source, or its room is not estimated.
        """
        return self._engine.reset_room(source)

    def status(self) -> dict[str, Any]:
        """Return what it does now, for people and programs; from any thread."""
        engine = self._engine
        overload, there = engine.workload.overload, list(engine.streams)
        return {
            **self._facts(),
            "labels": list(engine.workload.model.recognizer.bundle.manifest.labels),
            "values": [value.model_dump() for value in engine.workload.model.recognizer.bundle.manifest.values],
            "pid": os.getpid(),
            "started_at": self._started_at,
            "heartbeat_age_s": round(time.monotonic() - self._beat_at_s, 3),
            "not_ready": self._not_ready(),
            "overload_step": overload.step,
            "left_out": overload.reduction.message,
            "review_threshold": engine.workload.model.settings.decision.review_threshold,
            "waiting": engine.waiting,
            **asdict(engine.summary()),
            "sources": [
                {
                    "name": stream.name,
                    "state": stream.state if stream in there else "ended",
                    "audio_s": round(stream.audio_s, 1),
                    "lost_s": round(stream.lost_s, 1),
                    "paused_s": round(stream.paused_s, 1),
                    "level_dbfs": round(stream.meter.level_dbfs, 1),
                    "hears_voice": stream.meter.hears_voice,
                    "room": engine.workload.model.room_facts(stream),
                }
                for _, stream in self._running.streams
            ],
        }

    def _facts(self) -> dict[str, Any]:
        recognizer = self._engine.workload.model.recognizer
        return model_facts(recognizer.bundle, recognizer.settings, recognizer.encoder.provider).model_dump()

    def _reload(self) -> list[str]:
        if self._loaded.again is None:
            raise UsageError("these settings are from nowhere that could be read again")
        loaded = self._loaded.again()
        changed = self._loaded.differences(loaded)
        self._running.change(loaded.settings)
        self._loaded = replace(loaded, again=self._loaded.again)
        return changed

    def _heartbeat(self) -> None:
        """Called by the thread that recognises, several times a second."""
        self._beat_at_s = time.monotonic()
        self._notifier.heartbeat()
        self._schedule.follow(self._engine.streams, self._running.hours)
        if not self._is_ready and all(stream.has_begun for stream in self._engine.streams):
            self._is_ready = True
            self._notifier.ready(self._summary())

    def _not_ready(self) -> list[str]:
        """Return what it waits for before it listens; nothing once it is ready, whatever happens later."""
        if self._is_ready:
            return []
        waited_for = [stream.name for stream in self._engine.streams if not stream.has_begun]
        return [f"waits for {name}" for name in waited_for] or ["has not begun to listen"]

    def _summary(self) -> str:
        facts, streams = self._facts(), list(self._engine.streams)
        there = [stream.name for stream in streams if stream.state in ("listening", "paused")]
        away = [stream.name for stream in streams if stream.name not in there]
        heard = f"listens to {', '.join(there)}" if there else "hears nobody"
        waited_for = f", waits for {', '.join(away)}" if away else ""
        return f"{facts['bundle']} {facts['version']} {heard}{waited_for}"

    def _say(self, message: str) -> None:
        names = ", ".join(stream.name for stream in self._engine.streams)
        self._engine.say(status(names, "settings_changed", message))
