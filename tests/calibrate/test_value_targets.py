"""What values are fitted to: annotations on their scales, and what Russell's circumplex derives from labels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibrate.corpora import CORPORA, Utterance
from calibrate.corpora.circumplex import CIRCUMPLEX, DERIVABLE
from calibrate.corpora.labels import LABELS
from calibrate.dataset import Part
from calibrate.recipe import CorpusRecipe, Recipe, ValueRecipe
from calibrate.value_targets import require_targets, value_targets
from edge.errors import UsageError
from edge.values import VALUES
from helpers.models import RECIPE, merged

WORDS = ("neutral", "happy", "angry")


def recipe_with(*values: dict[str, Any], **changes: Any) -> Recipe:
    return Recipe.model_validate(merged(RECIPE, {"values": list(values), **changes}))


def values_of(*values: dict[str, Any]) -> tuple[ValueRecipe, ...]:
    return recipe_with(*values).values


def part_of(corpus: str, annotations: list[dict[str, float]], **origin: Any) -> Part:
    utterances = [
        Utterance(Path(f"{row}.wav"), corpus, f"{corpus}-{row % 2}", WORDS[row % 3], **each)
        for row, each in enumerate(annotations)
    ]
    origins = {corpus: CorpusRecipe(licence="own", **{"name": corpus, "folder": corpus} | origin)}
    return Part(utterances, np.arange(len(annotations)) % 3, origins)


@pytest.mark.parametrize(
    ("corpus", "known", "value", "expected"),
    [
        ("ravdess", [{"intensity": 1.0}, {"intensity": 2.0}], "intensity", [0, 10]),
        ("crema-d", [{"intensity": 0.0}, {}, {"intensity": 1.0}], "intensity", [0, math.nan, 5]),
        ("msp-podcast", [{"dominance": 1.0}, {"dominance": 4.0}, {"dominance": 7.0}], "dominance", [0, 5, 10]),
        ("csv", [{"valence": 0.0}, {"valence": 2.5}, {"valence": 10.0}], "valence", [0, 2.5, 10]),
    ],
)
def test_the_scale_of_a_reader_is_mapped_to_the_range(
    corpus: str, known: list[dict[str, float]], value: str, expected: list[float]
) -> None:
    found = value_targets(part_of(corpus, known), WORDS, values_of({"name": value, "range": [0, 10]}))
    np.testing.assert_allclose(found[:, 0], expected)


def test_a_recipe_states_the_scale_of_a_table() -> None:
    part = part_of("office", [{"arousal": 1.0}, {"arousal": 5.0}], name="csv", scales={"arousal": (1, 5)})
    found = value_targets(part, WORDS, values_of({"name": "arousal", "range": [-1, 1]}))
    assert found.tolist() == [[-1.0], [1.0]]


def test_a_corpus_with_a_scale_is_a_key_like_any_other() -> None:
    corpus = CorpusRecipe(name="csv", folder="office", licence="own", scales={"arousal": (1, 5)})
    assert {corpus: 1}[corpus.model_copy()] == 1


def test_an_annotation_outside_of_its_scale_is_an_error() -> None:
    part = part_of("msp-podcast", [{"arousal": 7.5}])
    with pytest.raises(UsageError, match=r"0.wav: arousal 7.5 lies outside of its scale, 1 to 7; scales = .*\[\[corp"):
        value_targets(part, WORDS, values_of({"name": "arousal", "range": [-1, 1]}))


def test_the_circumplex_derives_arousal_and_valence_from_labels() -> None:
    values = [{"name": name, "range": [-1, 1], "origin": "circumplex"} for name in ("arousal", "valence")]
    found = value_targets(part_of("any", [{"arousal": 9.0}] * 3), WORDS, values_of(*values))
    assert found[0].tolist() == [0.0, 0.0], "neutral is in the middle"
    assert found[1:].round(2).tolist() == [[0.14, 0.99], [0.99, -0.16]], "happy is pleasant, angry excited"
    assert set(CIRCUMPLEX) <= set(LABELS)
    for label, place in CIRCUMPLEX.items():
        assert tuple(place) == DERIVABLE
        assert math.hypot(*place.values()) == pytest.approx(0 if label == "neutral" else 1)


def test_scales_are_of_values_that_there_are() -> None:
    for reader in CORPORA.values():
        assert set(reader.scales) <= set(VALUES)
        assert all(low < high for low, high in reader.scales.values())


@pytest.mark.parametrize(
    ("value", "known", "reason"),
    [
        ({"name": "intensity"}, [{}, {}], "intensity: none of 2 clips of csv has the annotation"),
        ({"name": "intensity"}, [{"intensity": 1.0}] * 3, "intensity: all of 3 clips are 1; nothing to learn"),
        ({"name": "valence", "origin": "circumplex"}, [{}], "valence: all of 1 clips are 1; nothing to learn"),
    ],
)
def test_what_cannot_be_learned_is_an_error(value: dict[str, Any], known: list[dict[str, float]], reason: str) -> None:
    part, values = part_of("csv", known), values_of({"range": [0, 2], **value})
    with pytest.raises(UsageError, match=reason):
        require_targets(value_targets(part, WORDS, values), part, values)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"name": "arousel", "range": [0, 1]}, "'arousel' is not one of .*did you mean 'arousal'"),
        ({"name": "arousal", "range": [1, 1]}, "the lower end 1 is not below the upper one 1"),
        ({"name": "dominance", "range": [0, 1], "origin": "circumplex"}, "knows arousal and valence, not dominance"),
    ],
)
def test_a_wrong_value_of_a_recipe_is_refused(value: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        recipe_with(value)


def test_values_come_once_and_need_a_head_that_is_told_nothing() -> None:
    value = {"name": "arousal", "range": [0, 1]}
    with pytest.raises(ValueError, match="arousal, arousal name one twice"):
        recipe_with(value, value)
    with pytest.raises(ValueError, match=r"\[\[values\]\] need a head that is not told who speaks"):
        recipe_with(value, head={"speaker": "id"})
