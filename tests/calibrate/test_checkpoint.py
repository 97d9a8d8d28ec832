import pytest
import torch
from torch import Tensor, nn

from calibrate.recipe import ScheduleRecipe
from calibrate.training.checkpoint import KeptWeights


def weights(value: float) -> nn.Parameter:
    return nn.Parameter(torch.full((2,), value))


def put(parameter: nn.Parameter, value: float) -> None:
    with torch.no_grad():
        parameter.fill_(value)


def first(parameter: Tensor) -> float:
    return float(parameter.detach()[0])


def test_the_average_follows_the_weights_ever_more_slowly() -> None:
    parameter, expected = weights(1.0), 1.0
    kept = KeptWeights([parameter], ScheduleRecipe(average=0.5))
    for step, value in enumerate([4.0, -2.0, 8.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], start=1):
        put(parameter, value)
        kept.update()
        decay = min(0.5, step / (step + 9))
        expected = decay * expected + (1 - decay) * value
    assert 0 < expected < 0.1
    with kept.applied():
        assert first(parameter) == pytest.approx(expected, rel=1e-5)
    assert first(parameter) == 0.0
    kept.settle()
    assert first(parameter) == pytest.approx(expected, rel=1e-5)


def test_without_averaging_the_last_weights_stay() -> None:
    parameter = weights(1.0)
    kept = KeptWeights([parameter], ScheduleRecipe(stop_after=0))
    put(parameter, 2.0)
    kept.update()
    with kept.applied():
        assert first(parameter) == 2.0
        kept.note_best()
    put(parameter, 3.0)
    kept.settle()
    assert first(parameter) == 3.0


def test_early_stopping_returns_to_the_best_average() -> None:
    parameter = weights(0.0)
    schedule = ScheduleRecipe(average=0.1, stop_after=3)
    kept = KeptWeights([parameter], schedule)
    put(parameter, 1.0)
    kept.update()
    with kept.applied():
        kept.note_best()
        best = first(parameter)
    put(parameter, 9.0)
    kept.update()
    again = KeptWeights([parameter], schedule)
    again.load_state_dict(kept.state_dict())
    for each in (kept, again):
        put(parameter, 9.0)
        each.settle()
        assert first(parameter) == pytest.approx(best)
    assert 0 < best <= 1
