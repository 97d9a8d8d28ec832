"""Settings: validated once at load. Precedence is command line, environment, file, default."""

from edge.settings.load import ENV_PREFIX, LoadedSettings, load_settings
from edge.settings.sections import (
    SECTIONS,
    CaptureSettings,
    DecisionSettings,
    EncoderSettings,
    OutputSettings,
    RoomSettings,
    SegmenterSettings,
    Settings,
    SourceSettings,
    SpeakerSettings,
    VadSettings,
    setting_keys,
)

__all__ = [
    "ENV_PREFIX",
    "SECTIONS",
    "CaptureSettings",
    "DecisionSettings",
    "EncoderSettings",
    "LoadedSettings",
    "OutputSettings",
    "RoomSettings",
    "SegmenterSettings",
    "Settings",
    "SourceSettings",
    "SpeakerSettings",
    "VadSettings",
    "load_settings",
    "setting_keys",
]
