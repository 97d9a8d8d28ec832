"""Export and import of a person: one JSON file with a checksum. Not encrypted: whoever has it has the voiceprint."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import ValidationError, model_validator

from edge.errors import StoreError, UsageError
from edge.people.store.person import EnrolledClip, Person, StoredProfile, clean_name
from edge.records import Record, first_problem

EXPORT_VERSION: Literal[1] = 1


class Belongings(Record):
    """Everything the store keeps about a person, with the newest revision of each profile."""

    person: Person
    clips: tuple[EnrolledClip, ...]
    """In the order of their enrolment."""
    profiles: tuple[StoredProfile, ...]
    """One for each encoder."""

    @model_validator(mode="after")
    def _sizes_agree(self) -> Belongings:
        sizes: dict[tuple[str, str], int] = {}
        for clip in self.clips:
            for kind, key, vector in (
                ("embedding", clip.encoder_hash, clip.embedding),
                ("voiceprint", clip.speaker_hash, clip.voiceprint),
            ):
                if vector is not None and sizes.setdefault((kind, key), len(vector)) != len(vector):
                    raise ValueError(f"one encoder made {kind}s of different sizes")
        return self

    def sha256(self) -> str:
        """Return the checksum of the JSON."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class _Export(Record):
    format: Literal["affectd-person"] = "affectd-person"
    version: Literal[1] = EXPORT_VERSION
    sha256: str
    content: Belongings


def write_export(belongings: Belongings) -> bytes:
    """Return the export file, UTF-8. It holds voice data in the clear."""
    return _Export(sha256=belongings.sha256(), content=belongings).model_dump_json(indent=1).encode()


def read_export(data: bytes) -> Belongings:
    """Verify an export file.

    Raises:
        StoreError: it is damaged, of another format or version, or says something impossible.
    """
    try:
        export = _Export.model_validate_json(data)
        clean_name(export.content.person.name)
    except ValidationError as error:
        raise StoreError(f"no export of version {EXPORT_VERSION}: {first_problem(error)}") from None
    except UsageError as error:
        raise StoreError(f"no valid export: {error}") from None
    if export.content.sha256() != export.sha256:
        raise StoreError("the export was damaged: its content does not have the sha256 it names")
    return export.content
