"""The speaker store: people, their consent, and what their voices taught, encrypted in one SQLite file."""

from edge.people.store.speakers import SpeakerStore

__all__ = ["SpeakerStore"]
