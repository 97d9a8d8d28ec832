import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from calibrate.recipe import HeadRecipe
from calibrate.training.heads import Classifier, LayerMix, Standardise, principal_components
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


def test_a_head_of_low_rank_has_two_thin_products() -> None:
    classifier = fitted(kind="dense", rank=2)
    assert (classifier.narrow.weight.shape, classifier.project.weight.shape) == ((2, LAYERS * WIDTH), (6, 2))
    layers = features(7)
    inner = classifier.embed(layers).clamp(-1 + 1e-6, 1 - 1e-6).atanh() - classifier.project.bias
    expected = classifier.features(layers) @ classifier.narrow.weight.T @ classifier.project.weight.T  # type: ignore[operator]
    torch.testing.assert_close(inner, expected, atol=1e-2, rtol=1e-2)


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


def test_dropout_only_while_training() -> None:
    classifier = fitted(kind="dense", dropout=0.5)
    layers = features(4)
    torch.testing.assert_close(classifier.embed(layers), classifier.embed(layers))
    classifier.train()
    assert not torch.equal(classifier.embed(layers), classifier.embed(layers))


def test_a_stack_is_dense_relu_dropout_and_batch_normalisation() -> None:
    classifier = fitted(kind="stack", hidden=(12, 9), dropout=0.0)
    layers = features(40)
    x = classifier.features(layers)
    for dense, norm in ((classifier.hidden[0], classifier.hidden[3]), (classifier.hidden[4], classifier.hidden[7])):
        x = norm((x @ dense.weight.T + dense.bias).relu())
    assert classifier.after is not None
    x = classifier.after[2]((x @ classifier.project.weight.T + classifier.project.bias).relu())
    torch.testing.assert_close(classifier.embed(layers), x)
    assert x.shape == (40, 6)
    classifier.train()
    torch.testing.assert_close(classifier.embed(layers).mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    dropped = fitted(kind="stack", dropout=0.5).train()
    assert dropped.dropout.p == 0, "the last block has dropped already"


def test_the_last_layer_and_means_only() -> None:
    layers = features(5)
    assert LayerMix(LAYERS, WIDTH, "last").dim == WIDTH
    torch.testing.assert_close(LayerMix(LAYERS, WIDTH, "last")(layers), layers[:, -1])
    torch.testing.assert_close(LayerMix(LAYERS, WIDTH, "last", "mean")(layers), layers[:, -1, : WIDTH // 2])
    both = LayerMix(LAYERS, WIDTH, "concatenate", "mean")
    assert both(layers).shape == (5, both.dim) == (5, LAYERS * WIDTH // 2)


def test_features_as_they_are() -> None:
    layers = features(5)
    classifier = fitted(kind="stack", standardise=False)
    torch.testing.assert_close(classifier.features(layers), layers.flatten(1))


@pytest.mark.parametrize("speaker", ["id", "mfcc"])
def test_a_head_hears_who_speaks_and_a_stranger_as_the_mean(speaker: str) -> None:
    recipe = HeadRecipe(kind="stack", dim=6, speaker=speaker, speaker_dim=3, scale_mfcc=False)
    torch.manual_seed(0)
    classifier = Classifier(recipe, LAYERS, WIDTH, LABELS, ["ann", "bob"]).eval()
    assert classifier.speaker is not None
    assert classifier.rows_of(["bob", "cem", "ann"]).tolist() == [1, -1, 0]
    vectors = torch.tensor([[-380.0, 1, 2], [-390, 3, 0]])
    classifier.speaker.measured(vectors)
    layers = features(2)
    told = classifier.features(layers) + vectors[[1, 0]] @ classifier.speaker.transform.weight.T
    expected = classifier.embed_features(told + classifier.speaker.transform.bias)
    torch.testing.assert_close(classifier.embed(layers, torch.tensor([1, 0])), expected)
    between = classifier.embed_features(classifier.features(layers) + classifier.speaker.of(vectors.mean(0)[None]))
    torch.testing.assert_close(classifier.embed(layers, torch.tensor([-1, -1])), between)
    torch.testing.assert_close(classifier.embed(layers), between)
    learns = {name for name, parameter in classifier.named_parameters() if parameter.requires_grad}
    assert ("speaker.vectors" in learns) == (speaker == "id")


def test_scaled_mfcc_are_standardised_over_the_speakers() -> None:
    recipe = HeadRecipe(kind="stack", speaker="mfcc", speaker_dim=3)
    classifier = Classifier(recipe, LAYERS, WIDTH, LABELS, ["ann", "bob", "cem"])
    assert classifier.speaker is not None
    vectors = torch.tensor([[-380.0, 1, 2], [-390, 3, 0], [-400, 2, 4]])
    classifier.speaker.measured(vectors)
    scaled = classifier.speaker.standardise(vectors)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(3), atol=1e-3, rtol=0)


def test_more_components_than_features_are_refused() -> None:
    with pytest.raises(UsageError, match=r"head.dim = 9 exceeds the 8 features"):
        fitted(kind="linear", mix="weighted", dim=9)
    assert fitted(kind="dense", mix="weighted", dim=9).embed(features(2)).shape == (2, 9)
