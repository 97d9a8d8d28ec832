"""A logistic head: fitted at once, and on what does not depend on the corpus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from calibrate.corpora import Utterance
from calibrate.dataset import Part, read_parts
from calibrate.left_out import fit_left_out_temperature
from calibrate.recipe import CorpusRecipe, HeadRecipe, Recipe
from calibrate.run import build_run, load_run
from calibrate.speakers.factor_model import population_of
from calibrate.train import train_run
from calibrate.training.heads import Classifier, principal_components
from calibrate.training.regression import Examples, fit_logistic, softmax_regression

LABELS = ("neutral", "happy", "angry")
EVERYONE = {"splits": {"file": "", "fractions": [1.0, 0.0, 0.0]}}
LOGISTIC = {"head": {"kind": "logistic", "favour": 0.25}, "schedule": {"label_smoothing": 0.1}, **EVERYONE}


def part_of(corpora: list[str], labels: np.ndarray[Any, Any], weights: dict[str, float] | None = None) -> Part:
    utterances = [
        Utterance(Path(f"{row}.wav"), corpus, f"{corpus}-{row % 4}", LABELS[label])
        for row, (corpus, label) in enumerate(zip(corpora, labels, strict=True))
    ]
    origins = {
        name: CorpusRecipe(name=name, folder=name, licence="", weight=weight)
        for name, weight in (weights or {}).items()
    }
    return Part(utterances, labels, origins)


def two_rooms(apart: float, count: int = 120) -> tuple[Part, torch.Tensor]:
    """Return features ``float32[n, 2, 8]`` of two corpora so far apart; the first channels have the label."""
    rng = np.random.default_rng(0)
    labels = rng.integers(len(LABELS), size=count)
    corpora = ["a" if row % 2 else "b" for row in range(count)]
    features = rng.standard_normal((count, 16)).astype(np.float32)
    features[np.arange(count), labels] += 3
    features[np.array(corpora) == "b", len(LABELS) :] += apart
    return part_of(corpora, labels), torch.from_numpy(features.reshape(count, 2, 8))


def test_the_regression_is_that_of_scikit_learn() -> None:
    part, features = two_rooms(0.0)
    inputs, penalty = features.flatten(1).double().numpy(), 0.05
    weights = part.balanced_weights()
    weight, bias = softmax_regression(inputs, part.labels, weights, len(LABELS), penalty)
    theirs = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=5_000)
    theirs.fit(inputs, part.labels, sample_weight=weights)
    np.testing.assert_allclose(weight.numpy(), theirs.coef_, atol=1e-4)
    logits = inputs @ weight.numpy().T + bias.numpy()
    found = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(found / found.sum(1, keepdims=True), theirs.predict_proba(inputs), atol=1e-4)


def test_a_head_does_not_learn_which_corpus_it_is(recipe_of: Callable[..., Recipe]) -> None:
    recipe = recipe_of(**LOGISTIC)
    found = []
    for apart in (0.0, 8.0):
        part, features = two_rooms(apart)
        classifier = Classifier(HeadRecipe(kind="logistic", dim=16), 2, 8, len(LABELS))
        fit_logistic(classifier, Examples(part, features), recipe)
        with torch.inference_mode():
            z = classifier.embed(features)
            rooms = [z[torch.from_numpy(part.corpora == name)].mean(0) for name in "ab"]
            found.append(float((classifier.output(rooms[0]) - classifier.output(rooms[1])).abs().max()))
            centred = z - torch.stack([rooms["ab".index(name)] for name in part.corpora.tolist()]) + z.mean(0)
            assert (classifier.output(centred).argmax(1).numpy() == part.labels).mean() > 0.9
    assert max(found) < 0.5


def test_the_same_examples_make_the_same_head(recipe_of: Callable[..., Recipe]) -> None:
    part, features = two_rooms(2.0)
    heads = [Classifier(HeadRecipe(kind="logistic", dim=5, favour=0.25), 2, 8, len(LABELS)) for _ in range(2)]
    for head in heads:
        fit_logistic(head, Examples(part, features), recipe_of(**LOGISTIC))
    for one, other in zip(heads[0].state_dict().values(), heads[1].state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_weights_count_as_repeated_rows() -> None:
    features = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
    counts = torch.arange(30) % 3 + 1
    repeated = torch.repeat_interleave(features, counts, dim=0)
    weighted = principal_components(features, 3, counts / counts.sum(), favour=0.25)
    expected = principal_components(repeated, 3, favour=0.25)
    signs = torch.sign((weighted * expected).sum(1, keepdim=True))
    torch.testing.assert_close(weighted * signs, expected, atol=1e-4, rtol=1e-3)


def test_favoured_components_keep_their_total_variance() -> None:
    features = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([9.0, 3, 1, 1, 1, 1])
    features -= features.mean(0)
    plain, favoured = ((features @ principal_components(features, 3, None, favour).T).var(0) for favour in (0.0, 0.5))
    torch.testing.assert_close(favoured / favoured.sum(), plain**2 / (plain**2).sum(), atol=1e-3, rtol=1e-2)
    assert float(favoured.mean()) == pytest.approx(1, rel=0.02)


def test_a_corpus_weighs_as_its_recipe_says() -> None:
    labels = np.array([0, 0, 1, 0, 1, 2])
    weights = part_of(["a"] * 3 + ["b"] * 3, labels, {"a": 0.5, "b": 1.5}).balanced_weights()
    np.testing.assert_allclose(weights, [0.0625, 0.0625, 0.125, 0.25, 0.25, 0.25])


def test_a_run_without_validation_speakers(
    data: Path, recipe_of: Callable[..., Recipe], encoders: dict[str, Path], tmp_path: Path
) -> None:
    recipe = recipe_of(encoder={"voiced_db": 30.0}, augmentation={"copies": 1}, **LOGISTIC)
    parts = read_parts(recipe, data)
    assert not parts["validation"].paths
    run = build_run(recipe, str(encoders["whisper"]))
    train_run(run, parts, tmp_path / "run", tmp_path / "cache")
    assert run.temperature > 0
    assert run.temperature != 1
    again = load_run(tmp_path / "run")
    assert again.temperature == run.temperature
    part, probabilities = again.probabilities(parts["train"], again.source(tmp_path / "cache"))
    assert (probabilities.argmax(1) == part.labels).mean() > 0.9
    population = population_of(again, parts["train"], again.source(tmp_path / "cache"))
    assert population.offsets.shape == (len(set(part.speakers)), recipe.head.dim)


def test_the_temperature_comes_from_what_was_left_out(
    data: Path, recipe_of: Callable[..., Recipe], encoders: dict[str, Path], tmp_path: Path
) -> None:
    run = build_run(recipe_of(**LOGISTIC), str(encoders["whisper"]))
    whole = Examples.read(run.source(tmp_path), read_parts(run.recipe, data)["train"], run.recipe)
    for corpora in (["ravdess", "office"], ["office"]):
        chosen = whole.select(np.isin(whole.part.corpora, corpora))
        before = {name: tensor.clone() for name, tensor in run.classifier.state_dict().items()}
        fit_left_out_temperature(run, chosen)
        assert all(torch.equal(tensor, before[name]) for name, tensor in run.classifier.state_dict().items())
        assert run.temperature > 0
    alone = whole.select(whole.part.speakers == "office-anna")
    untouched = replace(run, temperature=7.0)
    fit_left_out_temperature(untouched, alone)
    assert untouched.temperature == 7.0
