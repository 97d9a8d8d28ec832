import unicodedata

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pydantic import JsonValue, ValidationError

from edge.errors import UsageError
from edge.people.store.person import Consent, EnrolledClip, Person, StoredProfile, clean_name, fold_name
from helpers.voices import CONSENT, clip, profile

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
TENSORS = npst.arrays(np.float32, npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), elements=FINITE)
FACTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@settings(deadline=None)
@given(st.text())
def test_any_name_is_cleaned_or_refused(name: str) -> None:
    try:
        cleaned = clean_name(name)
    except UsageError:
        return
    assert clean_name(cleaned) == cleaned == cleaned.strip() == unicodedata.normalize("NFC", cleaned)
    assert 1 <= len(cleaned) <= 64
    assert cleaned.encode()


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("  Anna\n", "Anna"),
        ("Zoe\u0308", "Zo\xeb"),
        ("\u200dAnna \u200c", "Anna"),
        ("\u0639\u0644\u06cc\u200c\u0631\u0636\u0627", "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627"),
        ("\U0001f469\u200d\U0001f680", "\U0001f469\u200d\U0001f680"),
        ("x" * 64, "x" * 64),
        ("e\u0301" * 64, "\xe9" * 64),
        ("../../etc/passwd", "../../etc/passwd"),
    ],
)
def test_names_are_nfc_and_trimmed(name: str, cleaned: str) -> None:
    assert clean_name(name) == cleaned


@pytest.mark.parametrize(
    "name", ["", " \t ", "\u200d", "x" * 65, "a\0b", "a\nb", "a\x1b[31mb", "a\u202eb", "a\u200bb", "a\u2028b", "\udcff"]
)
def test_other_names_are_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(
        UsageError, match="is not allowed: 1 to 64 characters, none of them a control character"
    ) as info:
        clean_name(name)
    assert str(info.value).isprintable()


@pytest.mark.parametrize(("name", "other"), [("Anna", "aNNA"), ("Zo\xcb", "zoe\u0308"), ("Stra\xdfe", "STRASSE")])
def test_case_and_composition_make_no_other_name(name: str, other: str) -> None:
    assert fold_name(name) == fold_name(other)


@settings(deadline=None)
@given(TENSORS, st.dictionaries(st.text(max_size=9), FACTS, max_size=3))
def test_a_profile_survives_json(tensor: npt.NDArray[np.float32], facts: dict[str, JsonValue]) -> None:
    written = StoredProfile(encoder_hash="e", speaker_hash="s", tensors={"a": tensor}, facts=facts)
    read = StoredProfile.model_validate_json(written.model_dump_json())
    assert read.tensors["a"].shape == tensor.shape
    assert read.tensors["a"].tobytes() == tensor.tobytes()
    assert read.facts == facts
    assert read.created_at == written.created_at


def test_a_clip_survives_json() -> None:
    written = clip(7)
    read = EnrolledClip.model_validate_json(written.model_dump_json())
    np.testing.assert_array_equal(read.embedding, written.embedding)
    np.testing.assert_array_equal(read.voiceprint, written.voiceprint)
    assert (read.label, read.duration_s, read.created_at) == ("happy", 1.5, written.created_at)


@pytest.mark.parametrize(
    "embedding",
    [np.zeros(3), np.zeros(0, np.float32), np.zeros((1, 3), np.float32), np.array([np.nan, 0], np.float32), [0.0]],
)
def test_an_embedding_is_a_finite_float32_vector(embedding: object) -> None:
    with pytest.raises(ValidationError):
        EnrolledClip.model_validate(clip(1).model_dump() | {"embedding": embedding})


def test_facts_are_json() -> None:
    for value in (float("nan"), {1, 2}, np.float32(1)):
        with pytest.raises(ValidationError):
            StoredProfile.model_validate(profile(1).model_dump() | {"facts": {"value": value}})


def test_consent_says_when_to_what_and_how() -> None:
    assert CONSENT.given_at.tzinfo is not None
    with pytest.raises(ValidationError):
        Consent.model_validate({"text_version": "1", "how": "assumed"})
    with pytest.raises(ValidationError):
        Consent.model_validate({"how": "asked"})
    with pytest.raises(ValidationError):
        Person.model_validate({"name": "Anna"})
