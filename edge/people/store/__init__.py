"""The speaker store: people, their consent, and what their voices taught, encrypted in one SQLite file."""

from edge.people.store.speakers import SpeakerStore, default_store_folder

__all__ = ["SpeakerStore", "default_store_folder"]
