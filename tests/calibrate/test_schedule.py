import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from calibrate.recipe import FinetuneRecipe, ScheduleRecipe
from calibrate.training.schedule import Plateau, parameter_groups, rate_factor

losses = st.lists(st.sampled_from([0.5, 0.7, 0.9, 1.0, 1.1]) | st.floats(0, 2), max_size=40)


@given(losses, st.integers(1, 4))
def test_rates_fall_when_those_of_pytorch_do(seen: Sequence[float], patience: int) -> None:
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.1, patience=patience, threshold=0, eps=0)
    ours = Plateau(patience, stop_after=0)
    for loss in seen:
        ours.note(loss)
        theirs.step(loss)
        assert ours.factor == pytest.approx(optimiser.param_groups[0]["lr"])
        assert not ours.ended


@given(losses, st.integers(1, 5))
def test_training_ends_when_the_best_is_too_long_ago(seen: Sequence[float], stop_after: int) -> None:
    plateau = Plateau(patience=0, stop_after=stop_after)
    for count, loss in enumerate(seen, start=1):
        best = plateau.note(loss)
        assert best == (loss < min(seen[: count - 1], default=math.inf))
        since = count - 1 - seen[:count].index(min(seen[:count]))
        assert plateau.ended == (since >= stop_after)
    assert plateau.factor == 1


def test_a_plateau_is_restored() -> None:
    plateau, restored = Plateau(2, 9), Plateau(2, 9)
    for loss in (1.0, 2.0, 2.0, 2.0, 2.0):
        plateau.note(loss)
    restored.load_state_dict(plateau.state_dict())
    assert vars(restored) == vars(plateau)
    assert (restored.falls, restored.since_best) == (1, 4)


def test_rates_rise_then_fall_as_the_recipe_says() -> None:
    plateau = Plateau(1, 0)
    cosine = rate_factor(ScheduleRecipe(warmup=0.1), 100, plateau)
    assert [cosine(step) for step in (0, 4, 9, 10, 100)] == pytest.approx([0.1, 0.5, 1, 1, 0])
    assert cosine(55) == pytest.approx(0.5)
    constant = rate_factor(ScheduleRecipe(warmup=0.0, decay="none"), 100, plateau)
    assert [constant(step) for step in (0, 1, 50, 99)] == [1, 1, 1, 1]
    for loss in (1.0, 2.0, 2.0):
        plateau.note(loss)
    assert [constant(99), cosine(9)] == pytest.approx([0.1, 0.1])


def test_lower_layers_learn_more_slowly() -> None:
    head = [nn.Parameter(torch.zeros(2))]
    layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    layers[1].bias.requires_grad_(False)
    schedule = FinetuneRecipe(learning_rate=0.5, encoder_learning_rate=0.1, layer_decay=0.5)
    groups = parameter_groups(head, layers, schedule)
    assert [group["lr"] for group in groups] == pytest.approx([0.5, 0.1, 0.05, 0.025])
    assert [len(group["params"]) for group in groups] == [1, 2, 1, 2]
    assert groups[1]["params"][0] is layers[2].weight
    assert parameter_groups(head, None, schedule) == [{"params": head, "lr": 0.5}]
