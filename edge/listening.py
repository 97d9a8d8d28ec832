"""The front door to live audio: ``edge.listen()``, a source's events as they come."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import NoneType, TracebackType

from edge.capture import Source, open_source, open_sources
from edge.engine import Engine
from edge.errors import UsageError
from edge.event import Event
from edge.model import Model, People, SettingValues, open_model, settings_of, with_people
from edge.outputs import EventIterator, Output
from edge.settings import Settings
from edge.summary import Summary
from edge.timing import Observer


class Listening:
    """A run from sources to events, once. ``edge.listen`` makes one: iterate inside ``with``, or call ``run``."""

    def __init__(self, new_engine: Callable[[Sequence[Output]], Engine]) -> None:
        self.summary: Summary | None = None
        """What it came to, once it has ended."""
        self._events = EventIterator()
        self._new_engine = new_engine
        self._engine = new_engine([])
        self._begun = False
        self._failure: BaseException | None = None
        """What ended it, until it is raised."""
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def run(self) -> Summary:
        """Run in this thread, for the outputs alone, until the sources end or ``stop`` is called.

        Raises:
            ModelError, StoreError, AudioDeviceError, AudioFileError: what ended it, after the events before.
            OutputError, BrokenPipeError: no output is left that works.
        """
        self._begin()
        return self._engine.run()

    def stop(self) -> None:
        """End it soon, with what was being said; callable from any thread, a signal handler, and more than once."""
        self._engine.stop()

    def __enter__(self) -> Listening:
        self._begin()
        self._engine = self._new_engine([self._events])
        self._thread.start()
        return self

    def __iter__(self) -> Iterator[Event]:
        """Yield events until the sources end or ``stop`` is called.

        Raises:
            ModelError, StoreError, AudioDeviceError, AudioFileError: what ended it, after the events before.
            UsageError: it does not listen.
        """
        if not self._thread.ident:
            raise UsageError("listen: iterate inside `with edge.listen(…) as events`")
        yield from self._events
        self._thread.join()
        self._raise_failure()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._events.stop()
        self._thread.join()
        if error is None:
            self._raise_failure()

    def _begin(self) -> None:
        if self._begun:
            raise UsageError("listen: it listens only once; call edge.listen again")
        self._begun = True

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure:
            raise failure

    def _run(self) -> None:
        try:
            self.summary = self._engine.run()
        except BaseException as error:  # SystemExit too: the one who iterates is to know
            self._failure = error
        self._events.close()


def listen(
    source: str | Path | Source | Sequence[str | Path | Source] | None = None,
    *,
    model: Model | None = None,
    people: People = None,
    outputs: Sequence[Output] = (),
    settings: SettingValues = None,
    observers: Sequence[Observer] = (),
) -> Listening:
    """Listen to a microphone, a file or a pipe: events of each utterance as it starts, pauses and ends.

    >>> import edge
    >>> with edge.listen("examples/conversation.flac", settings={"capture.realtime": False}) as events:
    ...     sounded = [event.emotion for event in events if event.type == "utterance"]
    >>> len(sounded)
    6

    Args:
        source: ``mic``, a path, ``-`` for standard input, anything that keeps ``edge.capture.Source``, or
            several of these at once; None is what the settings say, one or many, by default the system's microphone.
        model: what ``edge.load`` returned; None loads the one of the settings.
        people: enrolled people who speak, as in ``Model.analyze``.
        outputs: where events go as well, each an ``edge.outputs.Output`` with a queue and a thread of its own.
        settings: ``section.key`` to value, or what ``edge.load_settings`` returned; None is those of the model.
        observers: called with the ``edge.timing.Timing`` of each utterance.

    Returns:
        To iterate over inside ``with``. A loop that is slower than the source loses the oldest events, unless the
        source can wait, as a file can that is read without ``capture.realtime``.

    Raises:
        UsageError: an unknown setting or value, or no source.
        ModelError: the bundle is missing or damaged. What else can fail, fails in the iteration.
    """
    if not isinstance(model, (Model, NoneType)):
        raise UsageError(f"listen: model {model!r} is no model; edge.load(…) returns one")
    for output in outputs:
        if not hasattr(output, "write"):
            raise UsageError(f"listen: output {output!r} has no open, write and close, see edge.outputs.Output")
    for observer in observers:
        if not callable(observer):
            raise UsageError(f"listen: observer {observer!r} cannot be called")
    found = with_people(model.settings if model and settings is None else settings_of(settings), people)
    recognizer = (model or open_model(found)).recognizer
    sources = _opened(source, found)
    if not sources:
        raise UsageError("listen: the list of sources is empty; it takes at least one, or None for the settings' own")
    entries = found.sources if source is None else ()
    bound_to, report_s = [entry.speakers for entry in entries], [entry.report_s for entry in entries]
    return Listening(
        lambda events: Engine(sources, recognizer, [*events, *outputs], found, observers, bound_to, report_s)
    )


def _opened(source: str | Path | Source | Sequence[str | Path | Source] | None, settings: Settings) -> list[Source]:
    if source is None:
        return open_sources(settings)
    if isinstance(source, (str, os.PathLike)):
        return [open_source(settings.capture.model_copy(update={"source": os.fspath(source)}))]
    if isinstance(source, Sequence):
        return [each for one in source for each in _opened(one, settings)]
    if not hasattr(source, "blocks"):
        raise UsageError(
            f"listen: {type(source).__name__} is no source: mic, a path, - or what keeps edge.capture.Source is; "
            "samples that are there already are for analyze"
        )
    return [source]
