import json
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, recall_score

from calibrate.metrics import (
    calibration_error,
    concordance,
    figures,
    gini_coefficient,
    unweighted_accuracy,
    value_figures,
)

LABELS = ("neutral", "happy", "sad", "angry", "fear")


def one_hot(predicted: npt.NDArray[np.int64], confidence: float = 0.8) -> npt.NDArray[np.float32]:
    rest = (1 - confidence) / (len(LABELS) - 1)
    return np.where(np.eye(len(LABELS), dtype=bool)[predicted], confidence, rest).astype(np.float32)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 6)), min_size=1, max_size=80))
def test_figures_are_those_of_scikit_learn(rows: list[tuple[int, int, int]]) -> None:
    predicted, true, speakers = (np.array(column) for column in zip(*rows, strict=True))
    result = figures(one_hot(predicted), true, [f"s{speaker}" for speaker in speakers], LABELS)
    present = np.unique(true)
    of_present = {"labels": present, "average": "macro", "zero_division": 0}
    assert result.ua == pytest.approx(recall_score(true, predicted, **of_present))
    assert result.ua == pytest.approx(unweighted_accuracy(predicted, true))
    assert result.wa == pytest.approx(accuracy_score(true, predicted))
    assert result.macro_f1 == pytest.approx(f1_score(true, predicted, **of_present))
    precision = precision_score(true, predicted, labels=present, average=None, zero_division=0)
    assert [row.precision for row in result.classes.values()] == pytest.approx(precision.tolist())
    assert list(result.classes) == [LABELS[label] for label in present]
    assert sum(row.support for row in result.classes.values()) == result.utterances == len(rows)
    assert result.confusion == confusion_matrix(true, predicted, labels=range(len(LABELS))).tolist()
    for speaker, ua in result.speaker_ua.items():
        theirs = speakers == int(speaker[1:])
        of_theirs = {"labels": np.unique(true[theirs]), "average": "macro", "zero_division": 0}
        assert ua == pytest.approx(recall_score(true[theirs], predicted[theirs], **of_theirs))
    assert result.worst_decile == min(result.speaker_ua.values())
    assert result.speakers == len(result.speaker_ua)
    assert json.loads(json.dumps(asdict(result)))["utterances"] == len(rows)


def test_unweighted_accuracy_by_hand() -> None:
    true = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    predicted = np.array([0, 0, 0, 3, 1, 0, 0, 0])
    assert unweighted_accuracy(predicted, true) == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)


def test_the_worst_decile_of_twenty_speakers_is_two() -> None:
    true = np.zeros(40, np.int64)
    predicted = np.zeros(40, np.int64)
    predicted[:3] = 1
    result = figures(one_hot(predicted), true, [str(row // 2) for row in range(40)], LABELS)
    assert result.worst_decile == pytest.approx((0.0 + 0.5) / 2)
    assert result.mean_speaker_ua == pytest.approx((0.0 + 0.5 + 18) / 20)


def test_genders_are_heard_apart_and_the_unknown_nowhere() -> None:
    true = np.array([0, 1, 0, 1, 0, 1])
    predicted = np.array([0, 1, 0, 0, 2, 2])
    result = figures(one_hot(predicted), true, list("aabbcc"), LABELS, ["f", "f", "m", "m", None, None])
    assert result.gender_ua == {"f": 1.0, "m": 0.5}
    assert result.speaker_ua == {"a": 1.0, "b": 0.5, "c": 0.0}
    assert figures(one_hot(predicted), true, list("aabbcc"), LABELS).gender_ua == {}


def test_gini_by_hand() -> None:
    assert gini_coefficient([0.5, 0.5, 0.5]) == 0
    assert gini_coefficient([1.0, 0.0]) == pytest.approx(0.5)
    assert gini_coefficient([0.9, 0.7, 0.5]) == pytest.approx((2 * (0.2 + 0.4 + 0.2)) / (2 * 9 * 0.7))
    assert gini_coefficient([0.0, 0.0]) == 0
    result = figures(one_hot(np.array([0, 1, 0, 0])), np.array([0, 1, 0, 1]), list("aabb"), LABELS)
    assert result.gini == pytest.approx(gini_coefficient([1.0, 0.5]))


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, width=16), min_size=1, max_size=20), st.floats(0.1, 10))
def test_gini_is_a_share_that_knows_no_scale(values: list[float], scale: float) -> None:
    gini = gini_coefficient(values)
    assert 0 <= gini < 1
    assert gini_coefficient([scale * value for value in values]) == pytest.approx(gini, abs=1e-9)


def test_calibration_error_by_hand() -> None:
    # Bin of .6 to .667: confidence .62 twice, half right. Bin of .933 to 1: .95 and 1.0, both right.
    probabilities = np.array([[0.62, 0.38], [0.38, 0.62], [0.95, 0.05], [1.0, 0.0]], np.float32)
    true = np.array([0, 0, 0, 0])
    expected = 0.5 * abs(0.5 - 0.62) + 0.5 * abs(1.0 - 0.975)
    assert calibration_error(probabilities, true) == pytest.approx(expected, abs=1e-6)
    assert calibration_error(probabilities, true, bins=1) == pytest.approx(abs(0.75 - 0.7975), abs=1e-6)
    assert calibration_error(np.eye(2, dtype=np.float32), np.array([0, 1])) == 0
    assert calibration_error(np.eye(2, dtype=np.float32), np.array([1, 0])) == 1


numbers = st.lists(st.tuples(st.floats(-5, 5, width=32), st.floats(-5, 5, width=32)), min_size=2, max_size=40)


@given(numbers)
def test_concordance_is_that_of_lin(rows: list[tuple[float, float]]) -> None:
    estimated, true = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    apart = estimated.var() + true.var() + (estimated.mean() - true.mean()) ** 2
    covariance = ((estimated - estimated.mean()) * (true - true.mean())).mean()
    found = concordance(estimated, true)
    assert -1 - 1e-9 <= found <= 1 + 1e-9
    assert found == pytest.approx(2 * covariance / apart if apart > 1e-9 else found, abs=1e-5)
    assert found == pytest.approx(concordance(true, estimated), abs=1e-6)


def test_concordance_falls_with_a_wrong_mean_or_spread_and_correlation_does_not() -> None:
    true = np.linspace(-1, 1, 20)
    assert concordance(true, true) == pytest.approx(1)
    for wrong in (true + 1, 3 * true, true / 3):
        found = value_figures(wrong, true, np.array(["a", "b"] * 10), "annotated")
        assert found.r == pytest.approx(1)
        assert found.ccc < 0.8
    assert concordance(true, np.zeros(20)) == 0


def test_a_speaker_has_a_concordance_with_enough_clips_that_differ() -> None:
    rng = np.random.default_rng(0)
    speakers = np.array(["many"] * 30 + ["more"] * 12 + ["few"] * 9 + ["flat"] * 20)
    true = np.where(speakers == "flat", 0.5, rng.uniform(size=len(speakers)))
    found = value_figures(true + 0.1 * rng.standard_normal(len(true)), true, speakers, "annotated")
    assert set(found.speaker_ccc) == {"many", "more"}
    assert found.mean_speaker_ccc == pytest.approx(np.mean(list(found.speaker_ccc.values())))
    assert found.ccc_interval
    assert found.r_interval
    assert found.mean_speaker_interval
    assert found.ccc_interval[0] <= found.ccc <= found.ccc_interval[1]
    alone = value_figures(true[:30], true[:30], speakers[:30], "annotated")
    assert (alone.ccc_interval, alone.mean_speaker_interval) == (None, None)
