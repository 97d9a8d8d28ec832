import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from calibrate.recipe import HeadRecipe
from calibrate.training.heads import Classifier, LayerMix, Standardise, principal_components, without_speaker
from edge.errors import UsageError

LAYERS, WIDTH, LABELS = 3, 8, 4


def features(utterances: int = 200) -> torch.Tensor:
    """Correlated features on odd scales."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((LAYERS * WIDTH, LAYERS * WIDTH)) * rng.uniform(0.1, 5, LAYERS * WIDTH)
    flat = rng.standard_normal((utterances, LAYERS * WIDTH)) @ mixing + rng.uniform(-9, 9, LAYERS * WIDTH)
    return torch.from_numpy(flat.astype(np.float32)).reshape(utterances, LAYERS, WIDTH)


def fitted(**recipe: object) -> Classifier:
    torch.manual_seed(0)
    classifier = Classifier(HeadRecipe.model_validate({"dim": 6, **recipe}), LAYERS, WIDTH, LABELS)
    classifier.fit(features())
    return classifier.eval()


def test_layers_side_by_side_or_summed() -> None:
    layers = features(5)
    side_by_side, summed = LayerMix(LAYERS, WIDTH, "concatenate"), LayerMix(LAYERS, WIDTH, "weighted")
    assert (side_by_side.dim, summed.dim) == (LAYERS * WIDTH, WIDTH)
    assert not list(side_by_side.parameters())
    torch.testing.assert_close(side_by_side(layers), layers.reshape(5, -1))
    torch.testing.assert_close(summed(layers), layers.mean(1))
    assert summed.weights is not None
    summed.weights.data = torch.tensor([0.0, 50.0, 0.0])
    torch.testing.assert_close(summed(layers), layers[:, 1])


def test_standardised_features_have_mean_0_and_deviation_1() -> None:
    flat = features().flatten(1)
    standardise = Standardise(flat.shape[1])
    standardise.fit(flat)
    result = standardise(flat)
    torch.testing.assert_close(result.mean(0), torch.zeros(flat.shape[1]), atol=1e-4, rtol=0)
    torch.testing.assert_close(result.std(0, correction=0), torch.ones(flat.shape[1]), atol=1e-3, rtol=0)


def test_a_single_utterance_or_a_constant_feature_gives_no_nan() -> None:
    standardise = Standardise(LAYERS * WIDTH)
    standardise.fit(features(1).flatten(1))
    assert torch.isfinite(standardise(features(1).flatten(1))).all()


def test_principal_components_are_those_of_scikit_learn() -> None:
    flat = features().flatten(1)
    flat -= flat.mean(0)
    ours = principal_components(flat, 6).numpy()
    theirs = PCA(6).fit(flat.numpy())
    directions = ours / np.linalg.norm(ours, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs((directions * theirs.components_).sum(1)), 1, atol=1e-4)
    variances = (flat.numpy() @ ours.T).var(axis=0)
    expected = theirs.explained_variance_
    np.testing.assert_allclose(variances / variances.sum(), expected / expected.sum(), rtol=1e-3)
    assert variances.mean() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("kind", ["linear", "dense"])
@pytest.mark.parametrize("mix", ["concatenate", "weighted"])
def test_logits_are_a_linear_function_of_the_embedding(kind: str, mix: str) -> None:
    classifier = fitted(kind=kind, mix=mix)
    layers = features(7)
    embedding = classifier.embed(layers)
    assert embedding.shape == (7, 6)
    assert torch.equal(classifier(layers), torch.zeros(7, LABELS)), "an untrained head prefers no label"
    torch.nn.init.normal_(classifier.output.weight)
    expected = embedding @ classifier.output.weight.T + classifier.output.bias
    torch.testing.assert_close(classifier(layers), expected)


def test_what_learns() -> None:
    def learns(**recipe: object) -> set[str]:
        return {name for name, parameter in fitted(**recipe).named_parameters() if parameter.requires_grad}

    assert learns(kind="linear") == {"output.weight", "output.bias"}
    assert learns(kind="linear", mix="weighted") == {"output.weight", "output.bias", "mix.weights"}
    dense = {"output.weight", "output.bias", "project.weight", "project.bias"}
    assert learns(kind="dense") == dense
    assert learns(kind="dense", regulars=0.5) == dense | {"regulars.weight", "regulars.bias"}


def test_dropout_only_while_training() -> None:
    classifier = fitted(kind="dense", dropout=0.5)
    layers = features(4)
    torch.testing.assert_close(classifier.embed(layers), classifier.embed(layers))
    classifier.train()
    assert not torch.equal(classifier.embed(layers), classifier.embed(layers))


def test_more_components_than_features_are_refused() -> None:
    with pytest.raises(UsageError, match=r"head.dim = 9 exceeds the 8 features"):
        fitted(kind="linear", mix="weighted", dim=9)
    assert fitted(kind="dense", mix="weighted", dim=9).embed(features(2)).shape == (2, 9)


def test_the_offset_of_a_speaker_is_what_the_rest_of_the_batch_shows() -> None:
    z = torch.tensor([[1.0, 0.0], [3.0, 0.0], [-7.0, 6.0], [5.0, 0.0], [-2.0, -6.0]])
    mean = z.mean(0)
    moved = without_speaker(z, torch.tensor([4, 4, 9, 4, 2]))
    torch.testing.assert_close(moved[0], z[0] - (z[1] + z[3] - 2 * mean) / 3)
    torch.testing.assert_close(moved[3], z[3] - (z[0] + z[1] - 2 * mean) / 3)
    torch.testing.assert_close(moved[[2, 4]], z[[2, 4]])


def test_the_regulars_head_does_not_hear_who_speaks() -> None:
    classifier = fitted(kind="dense", regulars=0.5)
    assert classifier.regulars is not None
    torch.nn.init.normal_(classifier.output.weight)
    torch.nn.init.normal_(classifier.regulars.weight)
    layers, speakers = features(6), torch.tensor([0, 0, 0, 1, 1, 1])
    z = classifier.embed(layers)
    strangers, regulars = classifier.both(z, speakers)
    torch.testing.assert_close(strangers, classifier(layers))
    torch.testing.assert_close(regulars, classifier.regulars(without_speaker(z, speakers)))
    assert fitted(kind="dense").both(z, speakers)[1] is None
