"""A head that has not learned enough is found out, and enrolment is measured against one that has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from calibrate.dataset import read_parts
from calibrate.evaluate import evaluate_run
from calibrate.experiments.adaptation import measure_adaptation
from calibrate.recipe import Recipe, ScheduleRecipe
from calibrate.report import figures_report
from calibrate.run import Run, build_run
from calibrate.train import train_run
from calibrate.training.convergence import Undertrained, find_undertrained
from calibrate.workspace import Workspace

pytestmark = pytest.mark.slow

LITTLE = {"epochs": 1, "learning_rate": 1e-5}
ENOUGH = {"epochs": 60, "stop_after": 20}
HEADS: list[dict[str, Any]] = [
    {"kind": "linear"},
    {"kind": "dense", "dim": 8},
    {"kind": "stack", "dim": 8, "hidden": [8]},
    {"kind": "linear", "mix": "weighted"},
]


def trained(recipe: Recipe, data: Path, encoder: Path, folder: Path) -> Run:
    parts = read_parts(recipe, data)
    run = build_run(recipe, str(encoder), np.unique(parts["train"].speakers).tolist())
    train_run(run, parts, folder, folder / "cache")
    return run


def lacking(run: Run, data: Path, cache: Path) -> Undertrained | None:
    parts, source = read_parts(run.recipe, data), run.source(cache)
    spoken = source.clean(parts["validation"], spoken_only=True)
    return find_undertrained(run.classifier, run.recipe, source.clean(parts["train"]), spoken)


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_training_too_briefly_is_said(
    head: dict[str, Any], recipe_of: Callable[..., Recipe], data: Path, encoders: dict[str, Path], tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    recipe = recipe_of(head=head, schedule=LITTLE)
    run = trained(recipe, data, encoders["whisper"], tmp_path)
    assert "the head is under-trained" in caplog.text
    assert "raise schedule.epochs (1)" in caplog.text
    found = lacking(run, data, tmp_path / "cache")
    assert found is not None
    assert found.ua < found.converged_ua
    found.replace_output(run.classifier)
    assert lacking(run, data, tmp_path / "cache") is None, "there is nothing better on these embeddings"


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_a_head_that_has_learned_is_left_alone(
    head: dict[str, Any], recipe_of: Callable[..., Recipe], data: Path, encoders: dict[str, Path], tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    trained(recipe_of(head=head, schedule=ENOUGH), data, encoders["whisper"], tmp_path)
    assert "under-trained" not in caplog.text


def test_a_head_that_is_fitted_at_once_is_not_asked(
    recipe_of: Callable[..., Recipe], data: Path, encoders: dict[str, Path], tmp_path: Path
) -> None:
    for head in ({"kind": "logistic", "dim": 8}, {"kind": "linear", "speaker": "id"}):
        recipe = recipe_of(head=head)
        run = build_run(recipe, str(encoders["whisper"]), ["ravdess-01"])
        assert lacking(run, data, tmp_path) is None


def test_what_training_lacks_is_no_gain_of_enrolment(
    recipe_of: Callable[..., Recipe], data: Path, encoders: dict[str, Path], tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    ua = {}
    for name, schedule in (("little", LITTLE), ("enough", ENOUGH)):
        folder = tmp_path / name
        trained(recipe_of(schedule=schedule), data, encoders["whisper"], folder)
        workspace = Workspace(data, tmp_path / "cache")
        report = measure_adaptation(workspace, folder, split="test", encoder=None)
        assert ("stands in its place" in report.protocol) == (name == "little")
        report.write(folder)
        gains = json.loads((folder / "adaptation.json").read_text())["gains"]
        ua[name] = np.mean([gain["ua"]["none"] for gain in gains])
    assert ua["little"] == pytest.approx(ua["enough"], abs=0.15)
    assert "which stands in its place here" in caplog.text


def test_heads_by_epochs_stop_early_by_default(
    recipe_of: Callable[..., Recipe], data: Path, encoders: dict[str, Path], tmp_path: Path
) -> None:
    default = ScheduleRecipe()
    assert default.epochs > default.stop_after > 0
    schedule = {"epochs": default.epochs, "stop_after": 5, "learning_rate": 0.1}
    trained(recipe_of(head={"kind": "dense", "dim": 8}, schedule=schedule), data, encoders["whisper"], tmp_path)
    epochs = (tmp_path / "log.csv").read_text().splitlines()[1:]
    losses = [float(row.split(",")[2]) for row in epochs]
    assert len(losses) < default.epochs
    assert int(np.argmin(losses)) + 1 == len(losses) - 5, "five evaluations after the best"


def test_a_label_that_is_never_recognised_is_said(
    recipe_of: Callable[..., Recipe], data: Path, encoders: dict[str, Path], tmp_path: Path
) -> None:
    recipe = recipe_of()
    run = build_run(recipe, str(encoders["whisper"]))
    with torch.no_grad():
        run.classifier.output.bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
    part = read_parts(recipe, data)["test"]
    text = figures_report(evaluate_run(run, part, tmp_path), recipe.labels, "a protocol").markdown()
    assert "ravdess: none of 2 utterances of happy is recognised" in text
    assert "office: none of 2 utterances of angry is recognised" in text
    assert "utterances of neutral is" not in text
    assert "ravdess: one speaker, so there is no interval" in text
