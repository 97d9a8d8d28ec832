"""What a bundle makes of recordings without speech, and how much speech it takes for such, as on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from calibrate.dataset import read_parts, require_speakers
from calibrate.progress import progress_bar
from calibrate.recipe import read_recipe
from calibrate.report import Report, Table, rounded
from calibrate.training.augment import add_noise
from calibrate.workspace import Workspace
from edge.analyze import analyze
from edge.audio import Waveform, read_audio
from edge.bundle import Bundle
from edge.errors import AudioFileError, ModelError
from edge.event import Event
from edge.head import LEAST_SPEECH
from edge.people.household import Household
from edge.recognizer import Recognizer
from edge.recordings import find_audio
from edge.settings import Settings, SpeakerSettings

SNRS_DB = (None, 10.0, 0.0)
"""Of speech over pink noise; None: as it was recorded."""
PINK = 0.5
PROTOCOL = (
    "the bundle through the device's code, nobody enrolled, no room; each recording on its own, cut into utterances by "
    "the settings' defaults; an emotion counts as sure from the review threshold on"
)


@dataclass(frozen=True)
class SoundFigures:
    """What became of the recordings of one kind."""

    recordings: int
    heard: float
    """Share in which an utterance was found."""
    flagged: float | None
    """Share of the utterances that were said to be rather no speech; None without any."""
    sure: float
    """Share of the recordings with a sure emotion that was not flagged."""

    @classmethod
    def of(cls, events: Sequence[Sequence[Event]], review_threshold: float) -> SoundFigures:
        """Return the figures of the ``utterance`` events of each recording."""
        flags = [_is_flagged(event) for mine in events for event in mine]
        sure = [
            any((event.confidence or 0.0) >= review_threshold and not _is_flagged(event) for event in mine)
            for mine in events
        ]
        heard = float(np.mean([bool(mine) for mine in events]))
        return cls(len(events), heard, float(np.mean(flags)) if flags else None, float(np.mean(sure)))


def measure_sounds(
    workspace: Workspace, folder: Path, sounds: Sequence[Path], *, recipe_path: Path | None, split: str
) -> Report:
    """Measure a bundle on folders without speech, by the folder that a file is in, and on a split's speech.

    Raises:
        ModelError: the bundle cannot tell speech from other sounds.
        UsageError: a folder holds no audio, or nobody is in the split.
    """
    settings = Settings(speakers=SpeakerSettings(enabled=False))
    recognizer = Recognizer(Bundle.load(folder), settings.encoder.model_copy(update={"threads": workspace.threads}))
    if recognizer.bundle.head.speech is None:
        raise ModelError(f"{folder}: takes whatever it hears for speech: its recipe had no [sounds]")
    recognizer.load()
    threshold = settings.decision.review_threshold
    kinds: dict[str, list[Path]] = {}
    for path in find_audio(sounds):
        kinds.setdefault(path.parent.name, []).append(path)
    found: dict[str, SoundFigures] = {}
    everything: list[list[Event]] = []
    for kind, paths in kinds.items():
        heard = _events(recognizer, settings, map(read_audio, paths), len(paths), kind)
        found[kind] = SoundFigures.of(heard, threshold)
        everything += heard
    total = SoundFigures.of(everything, threshold)
    speech: dict[str, SoundFigures] = {}
    if recipe_path:
        recipe = read_recipe(recipe_path).model_copy(update={"labels": recognizer.bundle.manifest.labels})
        part = require_speakers(read_parts(recipe, workspace.data), split)
        for corpus in np.unique(part.corpora).tolist():
            mine = part.select(part.corpora == corpus).paths
            for snr_db in SNRS_DB:
                name = corpus if snr_db is None else f"{corpus}, pink noise {snr_db:.0f} dB"
                heard = _events(recognizer, settings, _noisy(mine, snr_db), len(mine), name)
                speech[name] = SoundFigures.of(heard, threshold)
    return sounds_report(found, total, speech)


def sounds_report(found: dict[str, SoundFigures], total: SoundFigures, speech: dict[str, SoundFigures]) -> Report:
    """Return the report that is ``sounds.md`` and ``.json``."""
    columns = ("recordings", "heard", "flagged", "sure, not flagged")
    rows = [(name, *asdict(row).values()) for name, row in (found | {"all": total}).items()]
    tables = [Table(("no speech", *columns), rows, caption="heard: of the recordings; flagged: of the utterances")]
    if speech:
        spoken = [(name, *asdict(row).values()) for name, row in speech.items()]
        tables.append(Table(("speech", *columns), spoken, caption="flagged: real speech that is doubted"))
    content = {
        "sounds": {name: asdict(row) for name, row in found.items()},
        "all": asdict(total),
        "speech": {name: asdict(row) for name, row in speech.items()},
    }
    return Report(("sounds.md", "sounds.json"), "Not speech", PROTOCOL, rounded(content), tables)


def _events(
    recognizer: Recognizer, settings: Settings, waveforms: Iterator[Waveform], count: int, what: str
) -> list[list[Event]]:
    """Return the ``utterance`` events of each recording."""
    household = Household(recognizer.bundle, settings.speakers)
    with progress_bar() as progress:
        tracked = progress.track(waveforms, total=count, description=what)
        recordings = (analyze([waveform], recognizer, household, settings) for waveform in tracked)
        return [[event for event in mine if event.type == "utterance"] for mine in recordings]


def _noisy(paths: Sequence[Path], snr_db: float | None) -> Iterator[Waveform]:
    for seed, path in enumerate(paths):
        try:
            waveform = read_audio(path)
        except AudioFileError:
            continue
        yield waveform if snr_db is None else add_noise(waveform, snr_db, PINK, np.random.default_rng(seed))


def _is_flagged(event: Event) -> bool:
    return event.speech is not None and event.speech < LEAST_SPEECH
