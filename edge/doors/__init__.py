"""Doors: where programs, people and monitors meet a running affectd. Each is an output that may ask for things."""

from edge.doors.inside import Inside
from edge.doors.open import Door, DoorSettings, open_door, wanted_doors

__all__ = ["Door", "DoorSettings", "Inside", "open_door", "wanted_doors"]
