"""Settings: validated once at load. Precedence is command line, environment, file, default."""

from edge.settings.doors import MqttSettings, WebSettings
from edge.settings.hours import Hours
from edge.settings.load import ENV_PREFIX, LoadedSettings, load_settings
from edge.settings.sections import (
    CaptureSettings,
    DecisionSettings,
    EncoderSettings,
    EventSettings,
    OverloadSettings,
    PartialSettings,
    RoomSettings,
    SegmenterSettings,
    SpeakerSettings,
    VadSettings,
)
from edge.settings.tree import SECTIONS, OutputSettings, Settings, SourceSettings, setting_keys

__all__ = [
    "ENV_PREFIX",
    "SECTIONS",
    "CaptureSettings",
    "DecisionSettings",
    "EncoderSettings",
    "EventSettings",
    "Hours",
    "LoadedSettings",
    "MqttSettings",
    "OutputSettings",
    "OverloadSettings",
    "PartialSettings",
    "RoomSettings",
    "SegmenterSettings",
    "Settings",
    "SourceSettings",
    "SpeakerSettings",
    "VadSettings",
    "WebSettings",
    "load_settings",
    "setting_keys",
]
