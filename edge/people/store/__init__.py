"""The speaker store: people, their consent, clips and voice profiles, encrypted in one SQLite file."""

from edge.people.store.speakers import SpeakerStore

__all__ = ["SpeakerStore"]
