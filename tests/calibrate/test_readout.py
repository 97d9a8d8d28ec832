"""Fitting values: ridge regression, as spread out on new speakers as what it estimates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from calibrate.dataset import Part
from calibrate.recipe import Recipe
from calibrate.speakers.factor_model import fit_population
from calibrate.training.readout import PENALTIES, _moments, _ridge, fit_readout, fit_value, speaker_weights
from calibrate.value_targets import value_targets
from edge.values import DERIVED
from helpers.factors import LABELS, World
from helpers.models import RECIPE, merged


def recipe_with(*values: dict[str, Any]) -> Recipe:
    return Recipe.model_validate(merged(RECIPE, {"labels": list(LABELS), "values": list(values)}))


def drawn(noise: float, speakers: int = 20, clips: int = 30, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return embeddings, a target that is noisy in them, and speakers."""
    rng = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(speakers), clips)
    embeddings = rng.standard_normal((len(speaker), 6)).astype(np.float32)
    target = 2 + 3 * (embeddings @ [1, -1, 0.5, 0, 0, 0] / 1.5 + noise * rng.standard_normal(len(speaker)))
    return embeddings, target, speaker


def test_the_regression_is_that_of_scikit_learn() -> None:
    embeddings, target, speaker = drawn(1.0)
    weights = np.linspace(1, 2, len(target)) / np.linspace(1, 2, len(target)).sum()
    line = _ridge(_moments([embeddings, 2 * embeddings], target, weights), 0.1)
    both, twice = np.concatenate([embeddings, 2 * embeddings]), np.tile(weights, 2) / 2
    variance = np.trace(np.cov(both.T, aweights=twice, bias=True)) / 6
    theirs = Ridge(alpha=0.1 * variance, tol=1e-12).fit(both, np.tile(target, 2), sample_weight=twice)
    np.testing.assert_allclose(line.weight, theirs.coef_, atol=1e-6)
    assert line.bias == pytest.approx(theirs.intercept_, abs=1e-6)
    assert len(speaker) == len(line.of(embeddings))


@settings(max_examples=15)
@given(st.floats(0.2, 3.0), st.integers(0, 100))
def test_estimates_of_new_speakers_are_as_spread_out_as_the_target(noise: float, seed: int) -> None:
    embeddings, target, speaker = drawn(noise, seed=seed)
    weights = np.full(len(target), 1 / len(target))
    line, correlation = fit_value([embeddings], target, speaker, weights)
    new, truth, _ = drawn(noise, speakers=100, seed=seed + 1_000)
    found = line.of(new)
    assert correlation == pytest.approx(np.corrcoef(found, truth)[0, 1], abs=0.15)
    assert found.std() == pytest.approx(truth.std(), rel=0.25)
    assert found.mean() == pytest.approx(truth.mean(), abs=0.2 * truth.std() + 0.2)


def test_one_speaker_leaves_the_line_of_least_squares() -> None:
    embeddings, target, _ = drawn(0.5, speakers=1)
    line, correlation = fit_value([embeddings], target, np.zeros(30, np.int64), np.full(30, 1 / 30))
    assert correlation is None
    assert line.of(embeddings).std() < target.std()


def test_what_the_voice_does_not_say_is_not_stretched(caplog: pytest.LogCaptureFixture) -> None:
    """It only says who speaks, whose values are always the same: nothing about anybody else."""
    part, _, _ = World(2).part(speakers=10, takes=5)
    of_speaker = {name: float(index % 2) for index, name in enumerate(np.unique(part.speakers).tolist())}
    utterances = [replace(each, intensity=of_speaker[each.speaker]) for each in part.utterances]
    who = np.eye(10, dtype=np.float32)[np.unique(part.speakers, return_inverse=True)[1]]
    found = fit_readout([who], Part(utterances, part.labels), recipe_with({"name": "intensity", "range": [0, 1]}))
    assert np.abs(found.weight).max() < 2
    assert "intensity cannot be told" in caplog.text


def test_values_of_a_recipe_are_fitted_each_to_the_clips_that_have_it() -> None:
    part, embeddings, _ = World(3, noise=0.9).part(speakers=12, takes=6)
    loud = embeddings[:, 0] > np.median(embeddings[:, 0])
    utterances = [
        replace(each, intensity=float(loud[row]) if row % 2 else None) for row, each in enumerate(part.utterances)
    ]
    part = Part(utterances, part.labels)
    recipe = recipe_with(
        {"name": "intensity", "range": [0, 1]}, {"name": "valence", "range": [-2, 2], "origin": "circumplex"}
    )
    found = fit_readout([embeddings], part, recipe)
    assert found.names == ("intensity", "valence")
    assert found.records[1].origin == DERIVED
    estimates, targets = found.estimate(embeddings), value_targets(part, recipe.labels, recipe.values)
    assert np.isnan(targets[::2, 0]).all()
    assert not np.isnan(targets[:, 1]).any()
    for column in range(2):
        known = ~np.isnan(targets[:, column])
        assert np.corrcoef(estimates[known, column], targets[known, column])[0, 1] > 0.6
    again = fit_readout([embeddings], part, recipe)
    assert np.array_equal(found.weight, again.weight)


def test_corpora_and_speakers_weigh_the_same() -> None:
    (few, _, _), (some, _, _) = World(1).part(2, 1, "few"), World(1).part(6, 3, "some")
    part = Part(few.utterances + some.utterances, np.concatenate([few.labels, some.labels]))
    kept = part.select(np.array([row % 5 > 0 or row < 4 for row in range(len(part.labels))]))
    weights = speaker_weights(kept)
    assert weights.sum() == pytest.approx(1)
    for corpus, speakers in (("few", 2), ("some", 6)):
        for name in np.unique(kept.speakers[kept.corpora == corpus]):
            assert weights[kept.speakers == name].sum() == pytest.approx(1 / (2 * speakers))


def test_the_population_keeps_the_values_of_its_speakers() -> None:
    world = World(4)
    part, embeddings, _ = world.part(speakers=5, takes=3)
    rows = np.arange(len(part.labels))
    targets = np.stack([rows % 12.0, np.where(part.speakers == "world-03", np.nan, rows % 2.0)], axis=1)
    population = fit_population(embeddings, part, LABELS, world.head(), targets)
    assert population.value_means is not None
    assert population.value_deviations is not None
    np.testing.assert_allclose(population.value_means[:, 0], 5.5)
    np.testing.assert_allclose(population.value_deviations[:, 0], np.std(np.arange(12)), rtol=1e-6)
    np.testing.assert_allclose(population.value_means[:, 1], 0.5)
    assert fit_population(embeddings, part, LABELS, world.head()).value_means is None
    assert min(PENALTIES) > 0
