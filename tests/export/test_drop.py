from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from calibrate.corpora import Utterance
from calibrate.dataset import Part
from calibrate.metrics import unweighted_accuracy
from calibrate.trained import Answers
from export.bundle.check import check_drop, failures
from export.bundle.drop import drops

LABELS = 4


def answers(true: list[int], wrong: set[int], corpora: Sequence[str] = ()) -> Answers:
    """Answers that are right in all rows but some."""
    utterances = [
        Utterance(Path(f"{row}.wav"), corpus, f"{corpus}-1", "happy")
        for row, corpus in enumerate(corpora or ["office"] * len(true))
    ]
    predicted = [(label + (row in wrong)) % LABELS for row, label in enumerate(true)]
    return Answers(Part(utterances, np.array(true)), np.eye(LABELS, dtype=np.float32)[predicted])


def test_one_changed_answer_of_a_small_corpus_is_chance() -> None:
    true = [0, 1, 2, 3] * 10
    (check,) = check_drop(answers(true, {0, 1}), answers(true, {0, 1, 2}))
    assert check.passed
    assert check.figure == pytest.approx(0.025)
    assert check.limit == "<= 0.01, or p >= 0.05; of 40 answers 1 lost and 0 gained, p = 0.5"
    (check,) = check_drop(answers(true, {0}), answers(true, {0}))
    assert (check.passed, check.figure, check.limit) == (True, 0, "<= 0.01")


def test_more_than_chance_explains_is_refused_by_its_figures() -> None:
    true = [0, 1, 2, 3] * 10
    checks = check_drop(answers(true, set()), answers(true, set(range(6))))
    assert failures(checks) == (
        "UA drop on office is 0.1500, allowed is <= 0.01, or p >= 0.05; of 40 answers 6 lost and 0 gained, p = 0.015"
    )
    (many,) = check_drop(answers(true * 50, set(range(30, 60))), answers(true * 50, set(range(60))))
    assert not many.passed, "1.5 points of 2,000 answers, and all one way"
    (few,) = check_drop(answers(true * 50, set(range(16))), answers(true * 50, set(range(32))))
    assert few.passed, "0.8 points are allowed however sure they are"


@pytest.mark.parametrize(("lost", "gained"), [(1, 0), (3, 1), (9, 3), (20, 10), (2, 5)])
def test_with_labels_in_balance_it_is_mcnemars_test(lost: int, gained: int) -> None:
    true = [0, 1, 2, 3] * 20
    drop = drops(answers(true, set(range(gained))), answers(true, set(range(40, 40 + lost))))["office"]
    assert (drop.lost, drop.gained, drop.utterances) == (lost, gained, 80)
    exact = binomtest(lost, lost + gained, alternative="greater").pvalue
    assert drop.chance == pytest.approx(exact, abs=0.006)


def test_a_drop_is_that_of_ua_and_rare_labels_weigh_more() -> None:
    true = [0] * 60 + [1] * 6
    before, after = answers(true, {0, 1, 2}), answers(true, {3, 60, 61})
    drop = drops(before, after)["office"]
    expected = [unweighted_accuracy(each.probabilities.argmax(axis=1), each.part.labels) for each in (before, after)]
    assert drop.ua == pytest.approx(expected[0] - expected[1])
    assert (drop.lost, drop.gained) == (3, 3)
    assert 0.2 < drop.chance < 0.3, "the two rare ones both lost, whatever the others did"


def test_every_corpus_is_judged_alone() -> None:
    true, corpora = [0, 1] * 18, ["a"] * 18 + ["b"] * 18
    found = drops(answers(true, set(), corpora), answers(true, {1}, corpora))
    assert {corpus: (drop.lost, drop.utterances) for corpus, drop in found.items()} == {"a": (1, 18), "b": (0, 18)}
    assert found["b"].chance == 1
