from dataclasses import replace

import numpy as np
import pytest

from calibrate.dataset import Part
from calibrate.speakers.factor_model import (
    SHIFT_SCALE,
    fit_population,
    principal_axes,
    speaker_weights,
    with_temperature,
)
from edge.population import Population
from helpers.factors import LABELS, NOISE_DEVIATION, SPEAKER_DEVIATION, World


@pytest.fixture(scope="module")
def world() -> World:
    return World(1)


@pytest.fixture(scope="module")
def trained(world: World) -> tuple[Population, np.ndarray]:
    part, embeddings, offsets = world.part(speakers=80, takes=10)
    return fit_population(embeddings, part, LABELS, world.head().weight), offsets


def test_the_factors_are_found_again(world: World, trained: tuple[Population, np.ndarray]) -> None:
    population, offsets = trained
    assert population.mean == pytest.approx(world.mean + offsets.mean(axis=0), abs=0.15)
    assert population.shifts / SHIFT_SCALE == pytest.approx(world.shifts, abs=0.2)
    apart = population.offsets - (offsets - offsets.mean(axis=0))
    assert np.square(apart).mean() < 0.2 * np.square(offsets).mean()
    assert np.diag(population.within) == pytest.approx(NOISE_DEVIATION**2, rel=0.15)
    assert np.diag(population.between) == pytest.approx(SPEAKER_DEVIATION**2, rel=0.5)
    assert population.label_shares == pytest.approx(np.full((80, 4), 0.25))


def test_the_regulars_head_is_better_without_the_offset(world: World, trained: tuple[Population, np.ndarray]) -> None:
    population, _ = trained
    part, embeddings, offsets = world.part(speakers=40, takes=5)
    centred = embeddings - np.repeat(offsets, 20, axis=0)
    regulars, strangers = (
        (head.probabilities(centred).argmax(axis=1) == part.labels).mean()
        for head in (population.regulars, world.head())
    )
    assert regulars >= strangers - 0.01
    assert regulars > (world.head().probabilities(embeddings).argmax(axis=1) == part.labels).mean() + 0.03


def test_a_head_that_learnt_along_is_taken_as_it_is(world: World) -> None:
    part, embeddings, _ = world.part(speakers=6, takes=3)
    learned = world.head()
    assert fit_population(embeddings, part, LABELS, learned.weight, learned).regulars is learned


def test_the_axes_see_all_that_the_head_sees(world: World) -> None:
    weight = world.head().weight
    axes = principal_axes(weight)
    assert axes @ axes.T == pytest.approx(np.eye(len(LABELS) - 1), abs=1e-6)
    differences = weight - weight.mean(axis=0)
    assert differences @ axes.T @ axes == pytest.approx(differences, abs=1e-6)


def test_corpora_weigh_the_same(world: World) -> None:
    few, some = world.part(2, 1, "few")[0], world.part(6, 2, "some")[0]
    part = Part(few.utterances + some.utterances, np.concatenate([few.labels, some.labels]))
    weights = speaker_weights(part, np.unique(part.speakers))
    assert weights == pytest.approx([1 / 4] * 2 + [1 / 12] * 6)


def test_validation_speakers_set_the_temperature(world: World, trained: tuple[Population, np.ndarray]) -> None:
    population, _ = trained
    part, embeddings, _ = world.part(speakers=10, takes=6)
    overconfident = replace(population, regulars=replace(population.regulars, weight=5 * population.regulars.weight,
        bias=5 * population.regulars.bias))  # fmt: skip
    plain, scaled = (with_temperature(model, part, embeddings).regulars for model in (population, overconfident))
    assert scaled.temperature == pytest.approx(5 * plain.temperature, rel=0.05)


def test_a_speaker_with_one_label_or_one_clip_is_no_obstacle(world: World) -> None:
    part, embeddings, _ = world.part(speakers=6, takes=3)
    first = part.speakers == "world-00"
    keep = ~first | (part.labels == 2)
    keep &= (part.speakers != "world-01") | (np.cumsum(part.speakers == "world-01") == 1)
    population = fit_population(embeddings[keep], part.select(keep), LABELS, world.head().weight)
    assert all(np.isfinite(getattr(population, name)).all() for name in ("mean", "shifts", "offsets", "within"))
