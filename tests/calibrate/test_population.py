import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate.dataset import Part
from calibrate.speakers.factor_model import (
    fit_population,
    principal_axes,
    room_contrast,
)
from edge.population import Population
from helpers.factors import DIM, LABELS, World


@pytest.fixture(scope="module")
def world() -> World:
    return World(1, noise=0.9)


@pytest.fixture(scope="module")
def trained(world: World) -> tuple[Population, np.ndarray]:
    part, embeddings, offsets = world.part(speakers=80, takes=10)
    return fit_population(embeddings, part, LABELS, world.head()), offsets


def test_the_factors_are_found_again(world: World, trained: tuple[Population, np.ndarray]) -> None:
    population, offsets = trained
    assert population.mean == pytest.approx(world.mean + offsets.mean(axis=0), abs=0.15)
    assert population.shifts == pytest.approx(world.shifts, abs=0.2)
    apart = population.offsets - (offsets - offsets.mean(axis=0))
    assert np.square(apart).mean() < 0.2 * np.square(offsets).mean()
    assert population.label_shares == pytest.approx(np.full((80, 4), 0.25))


def test_the_axes_see_all_that_the_head_sees(world: World) -> None:
    weight = world.head().weight
    axes = principal_axes(weight)
    assert axes @ axes.T == pytest.approx(np.eye(len(LABELS) - 1), abs=1e-6)
    differences = weight - weight.mean(axis=0)
    assert differences @ axes.T @ axes == pytest.approx(differences, abs=1e-6)


def test_corpora_weigh_the_same(world: World) -> None:
    apart = np.full(DIM, 4, np.float32)
    (few, near, _), (some, far, _) = world.part(10, 2, "few"), world.part(30, 4, "some")
    part = Part(few.utterances + some.utterances, np.concatenate([few.labels, some.labels]))
    population = fit_population(np.concatenate([near, far + apart]), part, LABELS, world.head())
    assert population.mean == pytest.approx(world.mean + apart / 2, abs=0.8)


def test_whoever_showed_one_label_is_no_example_of_a_voice(world: World) -> None:
    """As the people of everyday speech, which is neutral: their offsets may be their mood."""
    part, embeddings, _ = world.part(speakers=6, takes=3)
    calm = np.isin(part.speakers, ["world-01", "world-04"])
    keep = ~calm | (part.labels == 0)
    population = fit_population(embeddings[keep], part.select(keep), LABELS, world.head())
    assert population.offsets.shape == (4, DIM)
    assert population.label_shares == pytest.approx(np.full((4, 4), 0.25))
    alone = part.select(calm & keep)
    of_one_label = fit_population(embeddings[calm & keep], alone, LABELS, world.head())
    assert of_one_label.offsets.shape == (2, DIM), "better than nobody"


def test_a_speaker_with_one_label_or_one_clip_is_no_obstacle(world: World) -> None:
    part, embeddings, _ = world.part(speakers=6, takes=3)
    first = part.speakers == "world-00"
    keep = ~first | (part.labels == 2)
    keep &= (part.speakers != "world-01") | (np.cumsum(part.speakers == "world-01") == 1)
    population = fit_population(embeddings[keep], part.select(keep), LABELS, world.head())
    assert all(np.isfinite(getattr(population, name)).all() for name in ("mean", "shifts", "offsets"))


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_contrast_sees_rooms_and_neither_voices_nor_labels(seed: int) -> None:
    world = World(seed)
    rng = np.random.default_rng(seed)
    axes = principal_axes(world.head().weight)
    rooms = 6 * rng.standard_normal((3, DIM))
    voice = rng.standard_normal(DIM)
    offsets = np.concatenate([room + rng.standard_normal((20, 1)) * 5 * voice for room in rooms])
    corpora = np.repeat(["a", "b", "c"], 20)
    contrast = room_contrast(offsets, corpora, axes)
    assert contrast.shape == (2, DIM)
    centres = np.stack([offsets[corpora == name].mean(axis=0) for name in "abc"])
    apart = (centres - centres.mean(axis=0)) @ contrast.T
    assert np.sqrt((apart**2).sum(axis=1).mean()) == pytest.approx(1, abs=1e-3)
    assert np.abs(contrast @ axes.T).max() < 1e-4
    assert np.linalg.norm(contrast @ (5 * voice)) < 0.5


def test_one_corpus_shows_no_room(world: World) -> None:
    offsets = np.stack([world.speaker() for _ in range(10)]).astype(np.float64)
    assert room_contrast(offsets, np.full(10, "a"), principal_axes(world.head().weight)).shape == (0, DIM)


def test_where_people_stray_as_far_as_rooms_the_contrast_is_drawn_in() -> None:
    calm, wild = (contrast_of(noise) for noise in (0.1, 6.0))
    assert 0 < wild < 0.7 * calm


def contrast_of(noise: float) -> float:
    """Return the size of the contrast of two corpora whose people differ by such noise."""
    world = World(2, noise=noise)
    (few, near, _), (some, far, _) = world.part(12, 4, "few"), world.part(12, 4, "some")
    apart = np.zeros(DIM, np.float32)
    apart[-1] = 12
    part = Part(few.utterances + some.utterances, np.concatenate([few.labels, some.labels]))
    contrast = fit_population(np.concatenate([near, far + apart]), part, LABELS, world.head()).contrast
    return float(np.linalg.norm(contrast @ apart))
