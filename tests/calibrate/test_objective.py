from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from calibrate.recipe import HeadRecipe, ScheduleRecipe
from calibrate.training.heads import Classifier
from calibrate.training.objective import CONTRAST_TEMPERATURE, Objective, supervised_contrast

LABELS, SPEAKERS, BATCH = 3, 4, 12


def batch(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return (
        torch.randn(BATCH, 2, 5, generator=draw),
        torch.randint(LABELS, (BATCH,), generator=draw),
        torch.randint(SPEAKERS, (BATCH,), generator=draw),
    )


def classifier(**recipe: Any) -> Classifier:
    torch.manual_seed(0)
    made = Classifier(HeadRecipe(kind="dense", dim=6, dropout=0.0, **recipe), 2, 5, LABELS)
    torch.nn.init.normal_(made.output.weight)
    return made


def loss_of(made: Classifier, features: Tensor, target: Tensor, speakers: Tensor, **schedule: Any) -> Tensor:
    torch.manual_seed(1)
    objective = Objective(made, ScheduleRecipe(**schedule), SPEAKERS)
    loss: Tensor = objective(made, features, target, speakers, np.random.default_rng(0))
    return loss


def test_alone_it_is_the_cross_entropy() -> None:
    made = classifier()
    features, target, _ = batch()
    expected = F.cross_entropy(made(features), target, label_smoothing=0.1)
    torch.testing.assert_close(loss_of(made, *batch(), label_smoothing=0.1), expected)
    assert not list(Objective(made, ScheduleRecipe(), SPEAKERS).parameters())


def test_mixed_features_are_judged_by_both_labels() -> None:
    made = classifier()
    features, target, speakers = batch()
    plain = loss_of(made, features, target, speakers)
    assert loss_of(made, features, target, speakers, mixup=0.4) != plain
    barely = loss_of(made, features, target, speakers, mixup=1e-4)
    torch.testing.assert_close(barely, plain, rtol=1e-3, atol=1e-3)
    rng = np.random.default_rng(0)
    order = torch.from_numpy(rng.permutation(BATCH))
    share = abs(rng.beta(0.4, 0.4) - 0.5) + 0.5
    logits = made(share * features + (1 - share) * features[order])
    expected = share * F.cross_entropy(logits, target) + (1 - share) * F.cross_entropy(logits, target[order])
    torch.testing.assert_close(loss_of(made, features, target, speakers, mixup=0.4), expected)


def test_the_adversary_learns_speakers_and_the_embedding_unlearns_them() -> None:
    made = classifier()
    features, target, speakers = batch()
    torch.manual_seed(1)
    objective = Objective(made, ScheduleRecipe(adversarial=0.5), SPEAKERS)
    assert objective.adversary is not None
    z = made.embed(features).detach().requires_grad_()
    wanted = torch.autograd.grad(F.cross_entropy(objective.adversary(z), speakers), [z, objective.adversary.weight])
    weight = made.project.weight
    plain = torch.autograd.grad(loss_of(made, features, target, speakers), weight)[0]
    through_z = torch.autograd.grad(made.embed(features), weight, wanted[0])[0]
    with_term = loss_of(made, features, target, speakers, adversarial=0.5)
    torch.testing.assert_close(torch.autograd.grad(with_term, weight)[0], plain - 0.5 * through_z)
    loss = objective(made, features, target, speakers, np.random.default_rng(0))
    torch.testing.assert_close(torch.autograd.grad(loss, objective.adversary.weight)[0], 0.5 * wanted[1])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=9), st.integers(0, 99))
def test_the_contrastive_loss_is_that_of_its_paper(labels: list[int], seed: int) -> None:
    z = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(seed))
    unit = F.normalize(z, dim=1).double()
    terms = []
    for anchor, label in enumerate(labels):
        others = [other for other in range(len(labels)) if other != anchor]
        mates = [other for other in others if labels[other] == label]
        likeness = {other: (unit[anchor] @ unit[other]).item() / CONTRAST_TEMPERATURE for other in others}
        total = np.log(sum(np.exp(likeness[other]) for other in others))
        if mates:
            terms.append(-np.mean([likeness[mate] - total for mate in mates]))
    loss = supervised_contrast(z.requires_grad_(), torch.tensor(labels))
    assert loss.item() == pytest.approx(np.mean(terms) if terms else 0, abs=1e-4)
    loss.backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()
