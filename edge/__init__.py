"""affectd as a library: who spoke and how they sounded, on this device.

    import edge

    model = edge.load()
    for event in model.analyze("talk.wav"):
        print(event.start_s, event.emotion, event.confidence)
    model.probabilities(samples)
    with edge.listen("mic", model=model) as events:
        for event in events:
            ...

Importing it is light: what a name needs is imported when the name is first used.
"""

from __future__ import annotations

import importlib
import os

TYPE_CHECKING = False  # as in ``typing``, which takes a while to import
if TYPE_CHECKING:
    from typing import Any

    from edge.errors import AffectdError, AudioDeviceError, AudioFileError, ModelError, StoreError, UsageError
    from edge.event import Event, SpeakerMatch
    from edge.listening import Listening, listen
    from edge.model import Model, load
    from edge.settings import Settings, load_settings

__version__ = "0.1.0"

__all__ = [
    "AffectdError",
    "AudioDeviceError",
    "AudioFileError",
    "Event",
    "Listening",
    "Model",
    "ModelError",
    "Settings",
    "SpeakerMatch",
    "StoreError",
    "UsageError",
    "listen",
    "load",
    "load_settings",
]

_MODULES = {
    "edge.errors": ("AffectdError", "AudioDeviceError", "AudioFileError", "ModelError", "StoreError", "UsageError"),
    "edge.event": ("Event", "SpeakerMatch"),
    "edge.listening": ("Listening", "listen"),
    "edge.model": ("Model", "load"),
    "edge.settings": ("Settings", "load_settings"),
}

# From 1.29 on onnxruntime reports its use to its vendor, unless it is told not to before it is first imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
