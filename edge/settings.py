"""Settings: validated once at load. Precedence is command line, environment, file, default.

Environment variables are ``AFFECTD_<SECTION>_<KEY>``, for example ``AFFECTD_SEGMENTER_END_SILENCE_S=0.4``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from edge.errors import UsageError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ENV_PREFIX = "AFFECTD_"


def _names(value: object) -> object:
    """Split what comes from the environment or ``--set``."""
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class CaptureSettings(_Section):
    """Where audio comes from and how much of it may wait."""

    source: str = "mic"
    """``mic``, a path to an audio file, or ``-`` for raw 16-bit mono PCM on standard input."""
    device: str = ""
    """Microphone name (or part of it) or index, see ``affectd devices``; empty is the system default."""
    rate_hz: Annotated[int, Field(ge=8_000, le=192_000)] = 16_000
    """Sample rate of the raw PCM on standard input; files and microphones know their own."""
    realtime: bool = True
    """Play files at the speed of their own clock, and never let standard input wait; false reads as fast as possible
    and loses nothing."""
    queue_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    """Audio that may wait for voice activity detection; beyond it the oldest is overwritten and counted."""


class VadSettings(_Section):
    """Which 30 ms frames are voiced."""

    aggressiveness: Annotated[int, Field(ge=0, le=3)] = 2
    """WebRTC mode: 0 lets most through, 3 is strictest about noise."""
    gate_dbfs: Annotated[float, Field(ge=-120, le=0)] = -60.0
    """Frames quieter than this are never voiced."""
    above_noise_db: Annotated[float, Field(ge=0, le=60)] = 8.0
    """Frames must exceed the tracked noise floor by this much."""


class SegmenterSettings(_Section):
    """How voiced frames become utterances."""

    start_s: Annotated[float, Field(ge=0.03, le=0.3)] = 0.09
    """Voice needed within the last ``2 * start_s`` to open an utterance."""
    end_silence_s: Annotated[float, Field(ge=0.1, le=5)] = 0.5
    """Silence that closes an utterance."""
    pre_roll_s: Annotated[float, Field(ge=0, le=0.5)] = 0.25
    """Audio kept from before the first and after the last voiced frame."""
    min_speech_s: Annotated[float, Field(ge=0.03, le=1)] = 0.3
    """Utterances with less voice than this are ignored."""
    max_s: Annotated[float, Field(ge=2, le=60)] = 12.0
    """Longer speech is cut here and marked truncated; never more than the bundle's longest bucket."""


class EncoderSettings(_Section):
    """Which model runs, and on what."""

    bundle: str = ""
    """Bundle folder, or `default` or `nano` inside the package; empty is `default`."""
    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    """Preferred execution provider; ``auto`` takes CUDA where it is installed, unless the bundle is int8."""
    require_provider: bool = False
    """Fail when the wanted provider is not the one in use, instead of falling back to the CPU."""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads of one inference."""
    max_batch: Annotated[int, Field(ge=1, le=256)] = 8
    """Most utterances of one length bucket per inference; ``affectd run`` batches what waits while it is busy."""
    queue_utterances: Annotated[int, Field(ge=1, le=1_000)] = 8
    """Utterances that may wait for the encoder; beyond it the oldest is dropped with a ``skipped`` event."""
    gpu_device: Annotated[int, Field(ge=0, le=63)] = 0
    """Which GPU, as CUDA numbers them."""
    gpu_memory_mb: Annotated[int, Field(ge=0, le=1_048_576)] = 0
    """Most memory in MB for CUDA's arena, and for TensorRT's workspace; 0 is no limit."""
    engines: str = ""
    """Folder of the TensorRT engines, see ``affectd-export engines``; empty is `affectd` in the XDG cache folder."""
    trt_optimization: Annotated[int, Field(ge=0, le=5)] = 3
    """How hard TensorRT tries when it builds an engine: from 0, built soon, to 5, built in many times as long."""

    @property
    def bundle_folder(self) -> Path | None:
        """The bundle's folder or name; None is the default one inside the package."""
        return Path(self.bundle).expanduser() if self.bundle else None

    @property
    def engine_folder(self) -> Path | None:
        """The engines' folder; None is the one in the XDG cache folder."""
        return Path(self.engines).expanduser() if self.engines else None


class SpeakerSettings(_Section):
    """Who is known, how they are recognised, and what follows from it."""

    enabled: bool = True
    """Recognise enrolled people and adapt to them; false treats everyone as a stranger."""
    store: str = ""
    """Folder of the speaker store; empty is `affectd` in the XDG data folder."""
    only: Annotated[tuple[str, ...], BeforeValidator(_names)] = ()
    """Enrolled people whom the source is bound to, separated by commas. Everything heard is from the only one, or from
    one of several; empty lets strangers speak too."""
    threshold: Annotated[float, Field(ge=0.5, le=1)] = 0.85
    """A speaker is named, and adapted to, from this probability on."""
    stranger: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """How often a new voice is nobody's of those enrolled."""
    stay: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """How often the voice of the last utterance goes on, without a pause."""
    forget_s: Annotated[float, Field(gt=0)] = 120.0
    """Pause after which that has fallen to a third."""
    refine: bool = True
    """Slowly refine the profiles of those who agreed to it, see `affectd speakers refine`."""
    adapt_strangers: bool = False
    """Adapt to a stranger from their earlier utterances in the same conversation; nothing of it is kept."""

    @property
    def store_folder(self) -> Path | None:
        """The store's folder; None is the one in the XDG data folder."""
        return Path(self.store).expanduser() if self.store else None


class DecisionSettings(_Section):
    """What the probabilities become."""

    review_threshold: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Events with less confidence carry ``needs_review``."""


class Settings(_Section):
    """Every setting of the device side, one section per stage."""

    capture: CaptureSettings = CaptureSettings()
    vad: VadSettings = VadSettings()
    segmenter: SegmenterSettings = SegmenterSettings()
    encoder: EncoderSettings = EncoderSettings()
    speakers: SpeakerSettings = SpeakerSettings()
    decision: DecisionSettings = DecisionSettings()


@dataclass(frozen=True)
class LoadedSettings:
    """Settings with the origin of each value."""

    settings: Settings
    origins: Mapping[str, str]
    """``section.key`` to ``default``, ``file PATH``, ``environment NAME`` or ``command line``."""


def load_settings(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> LoadedSettings:
    """Merge the four layers and validate the result.

    Args:
        file: TOML file with one table per section, or None.
        environment: variables to read, ``os.environ`` unless given.
        overrides: ``section.key`` to value from the command line; None values are ignored.

    Raises:
        UsageError: an unknown section or key (with the nearest name), or a value out of range (with what is allowed).
    """
    values: dict[str, Any] = {}
    origins = dict.fromkeys(setting_keys(), "default")
    for key, value, origin in (
        *_from_file(file),
        *_from_environment(os.environ if environment is None else environment),
        *((key, value, "command line") for key, value in (overrides or {}).items() if value is not None),
    ):
        if key not in origins:
            raise UsageError(f"unknown setting {key!r} from {origin}{nearest(key, origins)}")
        values[key] = value
        origins[key] = origin
    nested: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, name = key.split(".")
        nested.setdefault(section, {})[name] = value
    try:
        return LoadedSettings(Settings.model_validate(nested), origins)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        origin = origins.get(key, "default")
        raise UsageError(f"setting {key} = {first['input']!r} from {origin}: {first['msg']}") from None


def setting_keys() -> list[str]:
    """Return every ``section.key`` in the order of the pipeline."""
    return [
        f"{section}.{key}"
        for section, field in Settings.model_fields.items()
        for key in field.default.__class__.model_fields
    ]


def _from_file(file: Path | None) -> list[tuple[str, Any, str]]:
    if file is None:
        return []
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read settings file {file}: {error.strerror}") from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, or an integer of thousands of digits
        raise UsageError(f"settings file {file} is not valid TOML: {error}") from None
    found = []
    for section, table in tables.items():
        if not isinstance(table, dict):
            hint = nearest(section, (key.split(".")[1] for key in setting_keys()))
            raise UsageError(f"settings file {file}: {section!r} stands outside of a [section]{hint}")
        if section not in Settings.model_fields:
            hint = nearest(section, Settings.model_fields)
            raise UsageError(f"settings file {file}: unknown section [{section}]{hint}")
        found += [(f"{section}.{key}", value, f"file {file}") for key, value in table.items()]
    return found


def _from_environment(environment: Mapping[str, str]) -> list[tuple[str, Any, str]]:
    names = {ENV_PREFIX + key.replace(".", "_").upper(): key for key in setting_keys()}
    found = []
    for name, value in environment.items():
        if not name.startswith(ENV_PREFIX):
            continue
        if name not in names:
            raise UsageError(f"unknown environment variable {name}{nearest(name, names)}")
        found.append((names[name], value, f"environment {name}"))
    return found
