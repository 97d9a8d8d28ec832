"""Audio from voice assistants: a speech-to-text service of the Wyoming protocol, as a proxy before a real one."""

from edge.capture.wyoming.source import WyomingSource
from edge.capture.wyoming.transport import description

__all__ = ["WyomingSource", "description"]
