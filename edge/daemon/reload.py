"""From some settings to others while an engine runs, without a word that is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge.bundle import Bundle
from edge.calibration import CalibratedModel
from edge.capture import open_entry
from edge.doors import DoorSettings, Inside, open_door, wanted_doors
from edge.engine import Engine
from edge.hearing import Hearing
from edge.outputs import Output, open_as, wanted_outputs
from edge.recognizer import Recognizer
from edge.settings import CaptureSettings, Hours, OutputSettings, Settings
from edge.stream import Stream

SOFT = {"speakers", "report_s", "hours"}
"""Settings of a source that change nothing about how it is opened."""


Wanted = OutputSettings | DoorSettings


def open_wanted(settings: Settings, columns: Sequence[str], json: bool, inside: Inside) -> list[Output]:
    """Return the outputs and doors that settings ask for, none of them open yet.

    Args:
        settings: all of them.
        columns: of a table, for the labels and values of the bundle.
        json: JSON lines are on standard output, whatever the settings have there.
        inside: what a door leads to.

    Raises:
        UsageError: the file of one holds something else, or settings of a door contradict each other.
    """
    return [_opened(entry, settings, columns, inside) for entry in _wanted(settings, json)]


def _wanted(settings: Settings, json: bool) -> list[Wanted]:
    return [*wanted_outputs(settings.outputs, json), *wanted_doors(settings)]


def _opened(entry: Wanted, settings: Settings, columns: Sequence[str], inside: Inside) -> Output:
    if isinstance(entry, OutputSettings):
        return open_as(entry, columns, settings.speakers.store_folder)
    return open_door(entry, inside)


def _is_journal(entry: Wanted) -> bool:
    return isinstance(entry, OutputSettings) and entry.type == "journal"


class Running:
    """An engine, and what in it each entry of the settings became, so that only what has changed is built anew."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        outputs: Sequence[Output],
        json: bool,
        inside: Inside,
        begin: Callable[[Stream, str], None],
    ) -> None:
        """Prepare.

        Args:
            engine: built of the settings and the outputs.
            settings: that were read first.
            outputs: those of ``open_wanted``.
            json: JSON lines are on standard output, whatever the settings have there.
            inside: what a door leads to.
            begin: called with each new stream and its key, before it is listened to.
        """
        self._begin = begin
        self._engine, self._json, self._inside = engine, json, inside
        self.streams = list(zip(settings.entries, engine.streams, strict=True))
        """Each entry of the settings with its stream, which may be over."""
        self._outputs = list(zip(_wanted(settings, json), outputs, strict=True))

    @property
    def hours(self) -> dict[str, Hours]:
        """When to listen to a source, by its present name; without those to which it is listened at any time."""
        return {stream.name: Hours.parse(entry.hours) for entry, stream in self.streams if entry.hours}

    def key_of(self, stream: Stream) -> str:
        """Return what a stream is known by from one run to the next: a microphone takes its name when it opens."""
        entries = [entry for entry, its_stream in self.streams if its_stream is stream]
        return entries[0].key if entries else stream.name

    def change(self, settings: Settings) -> None:
        """Go over to other settings: what takes time is done here, the rest by the engine between two batches.

        Raises:
            AffectdError: they do not work; everything stays as it was.
        """
        model = CalibratedModel(self._recognizer(settings), settings)
        streams = self._kept_or_new_streams(settings, model)
        for entry, stream in streams:
            stream.people = entry.people
            model.add(stream)
        model.load()
        outputs = self._kept_or_new_outputs(settings, model)
        self._engine.call(lambda: self._apply(model, streams, outputs))

    def _recognizer(self, settings: Settings) -> Recognizer:
        known, bundle = self._engine.workload.model.recognizer, Bundle.load(settings.encoder.bundle_folder)
        is_known = known.settings == settings.encoder and known.bundle.manifest == bundle.manifest
        return known if is_known else Recognizer(bundle, settings.encoder)

    def _kept_or_new_streams(self, settings: Settings, model: CalibratedModel) -> list[tuple[CaptureSettings, Stream]]:
        there = {_opening(entry): stream for entry, stream in self.streams}
        return [(entry, there.get(_opening(entry)) or self._new_stream(entry, model)) for entry in settings.entries]

    def _new_stream(self, entry: CaptureSettings, model: CalibratedModel) -> Stream:
        # Another entry's stream may hold its device for a moment longer.
        source = open_entry(entry, patient=True)
        return self._engine.new_stream(source, entry.people, entry.report_s, model.settings, model)

    def _kept_or_new_outputs(self, settings: Settings, model: CalibratedModel) -> list[tuple[Wanted, Output]]:
        folder, before = settings.speakers.store_folder, self._engine.workload.model.settings.speakers.store_folder
        there = {
            entry: output
            for entry, output in self._outputs
            if not (folder != before and _is_journal(entry)) and not self._is_closed_door(entry, output)
        }
        columns = model.recognizer.outputs
        return [
            (entry, there.get(entry) or _opened(entry, settings, columns, self._inside))
            for entry in _wanted(settings, self._json)
        ]

    def _is_closed_door(self, entry: Wanted, output: Output) -> bool:
        """It could not be opened, as where its port was in use, and is to be tried again."""
        return not isinstance(entry, OutputSettings) and self._engine.outputs.has_failed(output)

    def _apply(
        self,
        model: CalibratedModel,
        streams: list[tuple[CaptureSettings, Stream]],
        outputs: list[tuple[Wanted, Output]],
    ) -> None:
        engine = self._engine
        there, wanted = [[stream for _, stream in pairs] for pairs in (self.streams, streams)]
        engine.use(model)
        for entry, stream in streams:
            if stream in there:
                stream.report_with(Hearing(entry.report_s, model.settings.vad.gate_dbfs) if entry.report_s else None)
            else:
                engine.add(stream)
                self._begin(stream, entry.key)
        engine.streams.start()
        for stream in there:
            if stream not in wanted:
                stream.close()
        self.streams = streams
        before, after = ([output for _, output in pairs] for pairs in (self._outputs, outputs))
        for output in after:
            if output not in before:
                engine.outputs.add(output)
        for output in before:
            if output not in after:
                engine.outputs.remove(output)
        self._outputs = outputs


def _opening(entry: CaptureSettings) -> object:
    """Return what of an entry decides how its source is opened."""
    values = entry.model_dump(exclude=SOFT)
    return tuple(sorted((key, value) for key, value in values.items() if value != ""))
