import json
from pathlib import Path

import numpy as np
import pytest

from calibrate.corpora import Utterance
from calibrate.dataset import Part
from calibrate.recipe import CorpusRecipe
from edge.errors import UsageError
from export.measure import unseen
from export.measure.unseen import MEAN, Corpora, leave_out, read_ours

CLIPS = 24
LABELS = {"one": (0, 1), "two": (0, 1), "three": (0, 1, 2), "tested": (0, 1), "talk": (0,)}


def origin(name: str) -> CorpusRecipe:
    return CorpusRecipe(name=name, folder=name, licence="CC0", role="test" if name == "tested" else "train")


def part() -> Part:
    """Three corpora, of which one has a label more, one that is only tested on, and one of a single label."""
    utterances, labels = [], []
    for corpus, has in LABELS.items():
        for clip in range(CLIPS):
            utterances.append(Utterance(Path(f"{corpus}-{clip}"), corpus, f"{corpus}-{clip % 3}", "any"))
            labels.append(has[clip % len(has)])
    return Part(utterances, np.array(labels), {name: origin(name) for name in LABELS})


def features(part: Part) -> np.ndarray:
    told = np.eye(3)[part.labels] + 0.1 * np.random.default_rng(0).standard_normal((len(part.labels), 3))
    return told.astype(np.float32)


@pytest.fixture
def corpora() -> Corpora:
    whole = part()
    return Corpora(whole, features(whole))


def test_corpora_of_one_label_are_learnt_from_and_others_tested_on(corpora: Corpora) -> None:
    assert corpora.tested == ["one", "two", "three", "tested"]
    assert corpora.names == {"one", "two", "three"}


def test_labels_that_nobody_taught_are_never_answered(corpora: Corpora) -> None:
    names = frozenset({"one", "two"})
    assert corpora.allowed("three", names).tolist() == [0, 1]
    _, predicted = corpora.answer("three", names, 1e-2)
    assert set(predicted.tolist()) == {0, 1}


def test_labels_that_a_corpus_has_not_are_never_answered(corpora: Corpora) -> None:
    _, predicted = corpora.answer("tested", frozenset({"one", "three"}), 1e-6)
    assert set(predicted.tolist()) <= {0, 1}


def test_every_corpus_is_answered_by_what_the_others_teach(corpora: Corpora) -> None:
    found, penalties = leave_out(corpora)
    values = {corpus: estimate.value for corpus, estimate in found.items()}
    assert values == pytest.approx({"one": 1, "two": 1, "three": 2 / 3, "tested": 1, MEAN: 11 / 12}, abs=0.02)
    assert set(penalties) == set(corpora.tested)
    assert all(found[corpus].interval for corpus in corpora.tested)


def test_what_is_left_out_has_no_part_in_the_training(corpora: Corpora) -> None:
    wrong = part()
    wrong.labels[wrong.corpora == "one"] = 1 - wrong.labels[wrong.corpora == "one"]
    without = Corpora(wrong, features(part()))
    names = frozenset({"two", "three"})
    expected = corpora.answer("tested", names, 1e-2)[1]
    assert without.answer("tested", names, 1e-2)[1].tolist() == expected.tolist()


def test_c_is_never_chosen_on_what_is_learnt_from(corpora: Corpora) -> None:
    with pytest.raises(UsageError, match="three corpora"):
        corpora.penalty(frozenset({"one"}))


def test_ours_are_the_figures_of_utterances_alone(tmp_path: Path) -> None:
    ua = {"value": 0.5, "interval": [0.4, 0.6]}
    rows = [{"corpus": "one", "as": kind, "without": {"ua": ua}} for kind in ("files", "balanced")]
    (tmp_path / "found.json").write_text(json.dumps({"left_out": rows}))
    assert read_ours(tmp_path / "found.json") == {"one": ua}


def test_the_table_has_ours_beside_theirs(corpora: Corpora) -> None:
    found, _ = leave_out(corpora)
    ours = {corpus: {"value": 0.9, "interval": None} for corpus in (*corpora.tested, MEAN)}
    page = unseen._table(ours, found, dict.fromkeys(corpora.tested, CLIPS)).markdown()
    assert "| ours, the recipe of default | 0.900 | 0.900 | 0.900 | 0.900 | 0.900 |" in page
    assert "| ours, points above | -10.0 | -10.0 |" in page
