"""Speech against other sounds: a logistic regression on embeddings, with every corpus and side weighing the same."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from calibrate.dataset import read_parts
from calibrate.recipe import Recipe
from calibrate.run import build_run
from calibrate.speech_check import SPEECH_ODDS, fit_speech_check, speech_check_of
from edge.errors import UsageError


def cloud(count: int, centre: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(centre, 1, (count, 3)).astype(np.float32)


def even(count: int) -> np.ndarray:
    return np.full(count, 1 / count)


def test_both_sides_weigh_the_same_however_many_there_are_and_speech_is_likelier() -> None:
    few, many = cloud(40, -1, 0), cloud(4_000, 1, 1)
    check = fit_speech_check(many, even(4_000), few, even(40))
    least = SPEECH_ODDS / (1 + SPEECH_ODDS)
    caught = np.mean([check.probability(each) < least for each in cloud(500, -1, 2)])
    kept = np.mean([check.probability(each) >= least for each in cloud(500, 1, 3)])
    assert caught == pytest.approx(kept, abs=0.05)
    assert min(caught, kept) > 0.9
    assert np.mean([check.probability(each) >= 0.5 for each in cloud(500, 1, 3)]) > kept


def test_the_weight_of_an_utterance_counts() -> None:
    quiet, loud, other = cloud(50, 1, 0), cloud(50, -1, 1), cloud(50, -1, 2)
    speech = np.concatenate([quiet, loud])
    for share in (0.999, 0.001):
        weights = np.concatenate([even(50) * share, even(50) * (1 - share)])
        check = fit_speech_check(speech, weights, other, even(50))
        heard = (
            np.mean([check.probability(each) for each in quiet]),
            np.mean([check.probability(each) for each in other]),
        )
        assert (heard[0] - heard[1] > 0.5) == (share > 0.5)


def test_a_recipe_without_sounds_has_no_check_and_one_with_a_wrong_folder_is_refused(
    data: Path, recipe_of: Callable[..., Recipe], encoders: dict[str, Path], tmp_path: Path
) -> None:
    for sounds in (None, {"folder": "nowhere", "origin": ""}, {"folder": "team/../none", "origin": ""}):
        recipe = recipe_of(sounds=sounds)
        run = build_run(recipe, str(encoders["whisper"]))
        train = read_parts(recipe, data)["train"]
        if sounds is None:
            assert speech_check_of(run, train, data, run.source(tmp_path)) is None
        else:
            with pytest.raises(UsageError, match="no such file or folder"):
                speech_check_of(run, train, data, run.source(tmp_path))
