"""The front door to a model: ``edge.load()``, then emotions of files and of samples."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge.analyze import analyze
from edge.arrays import Matrix
from edge.audio import Waveform
from edge.bundle import Bundle
from edge.errors import AudioFileError, UsageError
from edge.event import Event
from edge.folders import expanded
from edge.high_pass import high_passed
from edge.people.household import Household
from edge.recognizer import Recognizer
from edge.recordings import find_audio
from edge.samples import checked_batch, checked_waveform
from edge.settings import LoadedSettings, Settings, load_settings

logger = logging.getLogger(__name__)

People = str | Sequence[str] | bool | None
SettingValues = Settings | LoadedSettings | Mapping[str, Any] | None


class Model:
    """A bundle at work: verified, on its execution provider, and warm. ``edge.load`` makes one.

    >>> import edge
    >>> model = edge.load("nano")
    >>> model.labels
    ('neutral', 'happy', 'sad', 'angry', 'fear', 'disgust', 'surprise')
    >>> events = list(model.analyze("examples/conversation.flac"))
    >>> len(events), events[0].type, round(events[0].end_s, 1)
    (6, 'utterance', 2.2)
    """

    def __init__(self, recognizer: Recognizer, settings: Settings) -> None:
        self.recognizer = recognizer
        """Both encoders and the head; the engine of ``edge.listen`` shares it."""
        self.settings = settings

    @property
    def labels(self) -> tuple[str, ...]:
        """The emotions, in the order of ``probabilities``."""
        return self.recognizer.bundle.manifest.labels

    def analyze(
        self,
        audio: Any,
        *,
        whole_file: bool = False,
        people: People = None,
        room: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Event]:
        """Yield the ``utterance`` events of recordings, in order, and a ``status`` where there is more to say.

        Its ``reason`` is ``no_speech``, ``partial`` or ``repaired``, see ``Event``. What is left out of a folder is
        logged.

        Args:
            audio: path of a file; samples ``[n]`` of ±1 at 16 kHz, or ``(samples, rate_hz)``; a folder, which is
                searched, or an iterable of paths.
            whole_file: exactly one event a recording, whatever is in it; what there is to say is in that one.
            people: enrolled people who speak: a name, or names of whom one always speaks; False treats everyone as a
                stranger; None is as the settings say, by default anyone who is enrolled, and strangers.
            room: all of it was recorded in one room with one microphone, which is estimated from all of it, in whatever
                order, before the first event. Otherwise no recording's events depend on another recording.
            progress: called with the number of files that were read so far, of one or many.

        Raises:
            UsageError: samples that are no audio, see ``edge.samples``; nothing to analyse.
            AudioFileError: the one file cannot be read. Of many, such a file has an ``error`` event in its place.
            StoreError: the speaker store cannot be read, or does not know a name.
        """
        household = Household(self.recognizer.bundle, with_people(self.settings, people).speakers)
        household.load()
        self.recognizer.load(household.wants_voiceprints)
        for name, reason in household.unknown().items():
            logger.warning("%s %s", name, reason)
        if isinstance(audio, (str, os.PathLike)):
            paths = [_path(audio)]
            alone = not paths[0].is_dir()
        elif isinstance(audio, tuple) or hasattr(audio, "__array__") or not isinstance(audio, Iterable):
            return analyze([checked_waveform(audio)], self.recognizer, household, self.settings, whole_file, room)
        else:
            paths, alone = [_path(item) for item in audio], False
        files = find_audio(paths)
        counted = _counted(files, progress) if progress else files
        events = analyze(counted, self.recognizer, household, self.settings, whole_file, room)
        return _raising(events) if alone else events

    def probabilities(self, audio: Any) -> Matrix:
        """Return calibrated probabilities ``float32[labels]`` of one utterance, as for a stranger.

        All of the samples count as speech: they are high-passed, and nothing is segmented. Utterances in a list are
        batched by their length, and give ``float32[n, labels]``.

        Args:
            audio: samples ``[n]`` of ±1 at 16 kHz, the pair ``(samples, rate_hz)``, or a list of these.

        Raises:
            UsageError: samples that are no audio: NaN, empty, more than one channel, integers that are not scaled, an
                impossible rate, too short; the message says what to do.
        """
        waveforms, single = self._waveforms(audio)
        shares = self.recognizer.probabilities(waveforms)
        return shares[0] if single else shares

    @property
    def value_ranges(self) -> dict[str, tuple[float, float]]:
        """Name of each value to the least and most that is answered; empty where the bundle answers labels only."""
        return {each.name: (each.low, each.high) for each in self.recognizer.bundle.manifest.values}

    def values(self, audio: Any) -> Matrix:
        """Return arousal and the like, ``float32[values]``, of one utterance in the order of ``value_ranges``.

        For a list ``float32[n, values]``. Takes and refuses what ``probabilities`` does.
        """
        waveforms, single = self._waveforms(audio)
        found = self.recognizer.values(waveforms)
        return found[0] if single else found

    def _waveforms(self, audio: Any) -> tuple[list[Waveform], bool]:
        waveforms, single = checked_batch(audio)
        cutoff_hz = self.settings.vad.high_pass_hz
        return [high_passed(waveform, cutoff_hz) for waveform in waveforms], single

    def __repr__(self) -> str:
        manifest, provider = self.recognizer.bundle.manifest, self.recognizer.encoder.provider
        encoder = manifest.encoder
        outputs = (*self.labels, *map(str, manifest.values))
        speakers = "recognises people" if manifest.speaker else "recognises nobody"
        return (
            f"Model({manifest.name} {manifest.version}: {encoder.architecture}, {encoder.precision} on {provider}; "
            f"16 kHz, up to {manifest.buckets_s[-1]:g} s -> {', '.join(outputs)}; {speakers})"
        )


def load(bundle: str | Path = "", *, settings: SettingValues = None) -> Model:
    """Load a model: its files are verified, its encoder is open and warm.

    >>> import edge
    >>> edge.load("nano", settings={"encoder.threads": 2})
    Model(nano 8: whisper-tiny.en with a token every 75 ms, ..., int8 on CPUExecutionProvider; 16 kHz, ...)

    Args:
        bundle: folder, or the name of a bundle inside the package, ``default`` or ``nano``; empty is what the settings
            say, or ``default``.
        settings: ``section.key`` to value, see the settings reference, or what ``edge.load_settings`` returned.
            Neither files nor the environment are read, and ``room.remember`` is off unless it is given.

    Raises:
        UsageError: an unknown setting or value; the message names the nearest.
        ModelError: the bundle is missing, damaged or does not run.
    """
    found = settings_of(settings)
    if bundle:
        found = found.model_copy(update={"encoder": found.encoder.model_copy(update={"bundle": os.fspath(bundle)})})
    model = open_model(found)
    model.recognizer.load()
    return model


def open_model(settings: Settings) -> Model:
    """Return a model whose files are verified; its encoder opens when it is first needed, as by ``Model.analyze``.

    Raises:
        ModelError: the bundle is missing or damaged.
    """
    return Model(Recognizer(Bundle.load(settings.encoder.bundle_folder), settings.encoder), settings)


def settings_of(values: SettingValues) -> Settings:
    """Return settings: as they are, or the defaults with the values, but no room is remembered unless they say so."""
    if isinstance(values, Settings):
        return values
    if isinstance(values, LoadedSettings):
        return values.settings
    if values is None or (isinstance(values, Mapping) and all(isinstance(key, str) for key in values)):
        overrides = {"room.remember": False, **(values or {})}
        return load_settings(environment={}, overrides=overrides, overrides_from="the program").settings
    raise UsageError(f"settings: {values!r} is no mapping of names to values: {{'encoder.threads': 2}} for example")


def with_people(settings: Settings, people: People) -> Settings:
    """Return settings under what ``people`` of ``Model.analyze`` says."""
    if people is None:
        return settings
    given: Any = () if isinstance(people, bool) else (people,) if isinstance(people, str) else people
    names = tuple(given) if isinstance(given, Iterable) else (given,)
    if not all(isinstance(name, str) for name in names):
        raise UsageError(f"people: {people!r} is neither a name, nor names, nor False for strangers only")
    speakers = settings.speakers.model_copy(update={"enabled": people is not False, "only": names})
    return settings.model_copy(update={"speakers": speakers})


def _path(item: Any) -> Path:
    if isinstance(item, (str, os.PathLike)):
        return expanded(os.fsdecode(item))
    raise UsageError(
        f"analyze takes paths of files and folders, or one array of samples; a list with {type(item).__name__} is "
        "neither: call it once for each array, or probabilities with the list"
    )


def _counted(files: Sequence[Path], progress: Callable[[int], None]) -> Iterator[Path]:
    for count, file in enumerate(files, start=1):
        yield file
        progress(count)


def _raising(events: Iterator[Event]) -> Iterator[Event]:
    for event in events:
        if event.type == "error":
            raise AudioFileError(event.message or "")
        yield event
