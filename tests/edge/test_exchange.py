import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import StoreError
from edge.people.store.exchange import Belongings, read_export, write_export
from edge.people.store.person import Person
from helpers.voices import CONSENT, clip, profile

ANNA = Belongings(
    person=Person(name="Anna", consent=CONSENT, may_refine=True), clips=(clip(1), clip(2)), profiles=(profile(3),)
)
EXPORT = write_export(ANNA)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)


def signed(content: object) -> bytes:
    """An export with the right checksum, as an attacker would make it."""
    compact = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    sha256 = hashlib.sha256(compact.encode(errors="replace")).hexdigest()
    return json.dumps({"format": "affectd-person", "version": 1, "sha256": sha256, "content": content}).encode()


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of keys to each part of a JSON value."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place, *(inner for key in keys for inner in places(value[key], (*place, key)))]


CONTENT = json.loads(EXPORT)["content"]


def reads_or_refuses(export: bytes) -> None:
    try:
        belongings = read_export(export)
    except StoreError:
        return
    assert read_export(write_export(belongings)).sha256() == belongings.sha256()


def test_round_trip() -> None:
    assert read_export(EXPORT).sha256() == ANNA.sha256()
    assert read_export(signed(CONTENT)).sha256() == ANNA.sha256()


def test_an_export_can_be_read_by_other_programs() -> None:
    assert CONTENT["person"]["name"] == "Anna"
    assert CONTENT["clips"][0]["label"] == "happy"
    assert CONTENT["profiles"][0]["tensors"]["offset"]["shape"] == [24]


@settings(deadline=None)
@given(st.integers(0, len(EXPORT) - 1), st.integers(1, 255))
def test_a_changed_byte_changes_nothing_or_is_refused(position: int, change: int) -> None:
    export = bytearray(EXPORT)
    export[position] ^= change
    try:
        belongings = read_export(bytes(export))
    except StoreError:
        return
    assert belongings.sha256() == ANNA.sha256()


@settings(deadline=None)
@given(st.integers(0, len(EXPORT) - 2))
def test_a_shortened_export_is_refused(length: int) -> None:
    with pytest.raises(StoreError, match="no export of version 1"):
        read_export(EXPORT[:length])


@settings(deadline=None)
@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()) | JSON.map(signed))
def test_anything_else_is_refused(export: bytes) -> None:
    with pytest.raises(StoreError):
        read_export(export)


@settings(deadline=None)
@given(st.sampled_from(places(CONTENT)[1:]), JSON)
def test_any_forged_content_is_read_or_refused(place: tuple[Any, ...], value: object) -> None:
    content = json.loads(EXPORT)["content"]
    part = content
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    reads_or_refuses(signed(content))


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("person", "name"), "a\x1bb", "is not allowed"),
        (("person", "consent", "how"), "assumed", "content.person.consent.how"),
        (("clips", 0, "embedding", "shape"), [23], "content.clips.0.embedding"),
        (("clips", 0, "embedding", "float32"), "AADAfw==", "content.clips.0.embedding"),
        (("clips", 0, "duration_s"), -1, "content.clips.0.duration_s"),
        (("profiles", 0, "tensors", "offset", "shape"), [10**30], "content.profiles.0.tensors.offset"),
    ],
)
def test_the_message_says_where(place: tuple[Any, ...], value: object, reason: str) -> None:
    content = json.loads(EXPORT)["content"]
    part = content
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    with pytest.raises(StoreError, match=reason):
        read_export(signed(content))


def test_damage_another_version_and_deep_nesting() -> None:
    with pytest.raises(StoreError, match="does not have the sha256"):
        read_export(EXPORT.replace(b'"Anna"', b'"Anne"'))
    with pytest.raises(StoreError, match="no export of version 1: version"):
        read_export(EXPORT.replace(b'"version": 1', b'"version": 2'))
    with pytest.raises(StoreError, match="recursion limit"):
        read_export(b"[" * 100_000)


def test_vectors_of_one_encoder_have_one_size() -> None:
    for name in ("embedding", "voiceprint"):
        content = json.loads(EXPORT)["content"]
        content["clips"][0][name] = clip(1).model_dump(mode="json")[
            "embedding" if name == "voiceprint" else "voiceprint"
        ]
        with pytest.raises(StoreError, match="of different sizes"):
            read_export(signed(content))


def test_a_clip_may_have_no_voiceprint() -> None:
    silent = clip(1).model_copy(update={"voiceprint": None, "speaker_hash": "none"})
    belongings = Belongings(person=ANNA.person, clips=(silent, clip(2)), profiles=())
    assert read_export(write_export(belongings)).clips[0].voiceprint is None
