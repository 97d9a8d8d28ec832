from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate.corpora import CORPORA, Utterance
from calibrate.corpora.labels import EMOTIONS, KNOWN_EMOTIONS, RAVDESS_8, label_utterances, to_label
from edge.errors import UsageError

OUTSIDE_THE_SEVEN = {"boredom", "contempt", "other", "no agreement"}


@pytest.mark.parametrize("corpus", [name for name in CORPORA if name != "csv"])
def test_every_native_name_of_every_corpus_has_a_label_or_is_left_out_on_purpose(corpus: str) -> None:
    for native in CORPORA[corpus].emotions:
        assert (to_label(native) is None) == (native in OUTSIDE_THE_SEVEN)


@pytest.mark.parametrize(
    ("corpus", "labels"),
    [
        ("ravdess", set(EMOTIONS)),
        ("nemo", set(EMOTIONS) - {"disgust"}),
        ("banglaser", {"happy", "sad", "angry", "surprise", "neutral"}),
        ("crema-d", set(EMOTIONS) - {"surprise"}),
        ("esd", {"angry", "happy", "neutral", "sad", "surprise"}),
        ("emodb", set(EMOTIONS) - {"surprise"} | {None}),
        ("emovo", set(EMOTIONS)),
        ("tess", set(EMOTIONS)),
        ("savee", set(EMOTIONS)),
    ],
)
def test_each_corpus_covers_the_labels_it_is_known_for(corpus: str, labels: set[str | None]) -> None:
    assert {to_label(native) for native in CORPORA[corpus].emotions} == labels


def test_calm_is_neutral_except_among_the_eight_of_ravdess() -> None:
    assert to_label("calm") == "neutral"
    assert to_label("calm", RAVDESS_8) == "calm"
    natives = CORPORA["ravdess"].emotions
    assert tuple(to_label(native, RAVDESS_8) for native in natives) == RAVDESS_8


def test_calm_is_left_out_where_there_is_no_neutral() -> None:
    assert to_label("calm", ("happy", "sad")) is None


@pytest.mark.parametrize(
    ("native", "label"),
    [("Anger", "angry"), ("ANG", "angry"), ("joy", "happy"), ("Pleasant_Surprise", "surprise"), (" fearful ", "fear")],
)
def test_synonyms_ignore_case_and_punctuation(native: str, label: str) -> None:
    assert to_label(native) == label


def test_an_unknown_name_is_an_error_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'angryy' is not known.*neutral.*did you mean 'angry'"):
        to_label("angryy")


@given(st.text())
def test_any_text_is_a_label_or_an_error(native: str) -> None:
    try:
        assert to_label(native) in {*EMOTIONS, None}
    except UsageError as error:
        reason = str(error)
        assert repr(native) in reason


@given(st.sampled_from(KNOWN_EMOTIONS), st.sets(st.sampled_from([*RAVDESS_8, "boredom"])))
def test_a_label_is_always_one_of_the_protocol(native: str, labels: set[str]) -> None:
    assert to_label(native, sorted(labels)) in {*labels, None}


def test_labelling_keeps_order_and_counts_what_it_drops() -> None:
    natives = ["boredom", "anger", "neutral", "boredom", "contempt"]
    utterances = [Utterance(Path(f"{i}.wav"), "mine", "mine-a", native) for i, native in enumerate(natives)]
    labelled = label_utterances(utterances)
    assert labelled.labels == ["angry", "neutral"]
    assert [utterance.emotion for utterance in labelled.utterances] == ["anger", "neutral"]
    assert labelled.dropped == Counter(boredom=2, contempt=1)
