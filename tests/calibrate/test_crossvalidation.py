import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from calibrate.dataset import read_parts
from calibrate.experiments.crossvalidation import cross_validate
from calibrate.experiments.retraining import JoinedFeatures, Retrainer, set_aside
from calibrate.experiments.selection import held_out_folds
from calibrate.recipe import Recipe
from calibrate.run import build_run
from calibrate.workspace import Workspace
from edge.errors import UsageError

pytestmark = pytest.mark.slow

Write = Callable[..., Path]


def test_every_speaker_but_the_test_speakers_is_held_out_once(
    recipe_file: Write, data: Path, encoders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_file(head={"kind": "dense", "dim": 8})
    out = tmp_path / "out"
    workspace = Workspace(data, tmp_path / "cache").open()
    found = cross_validate(workspace, recipe, folds=3, encoder=str(encoders["whisper"]))
    found.write(out)
    found.show()
    assert "UA by enrolment clips" in capsys.readouterr().out
    report = json.loads((out / "adaptation.json").read_text())
    assert set(report["speaker_gains"]) == {"ravdess-01", "ravdess-02", "ravdess-03", "ravdess-04", "ravdess-05"} | {
        "office-anna",
        "office-ben",
        "office-cem",
    }
    assert report["protocol"].startswith("3 folds over the 8 training and validation speakers of splits.csv")
    assert {(gain["corpus"], gain["clips"]) for gain in report["gains"]} >= {("ravdess", 0), ("office", 8)}
    assert all(0 <= ua <= 1 for gain in report["gains"] for ua in gain["ua"].values())
    assert (out / "adaptation.png").stat().st_size > 1_000


def test_joined_features_are_those_of_the_parts(
    recipe_of: Callable[..., Recipe], data: Path, encoders: dict[str, Path], tmp_path: Path
) -> None:
    recipe = recipe_of()
    parts = read_parts(recipe, data)
    run = build_run(recipe, str(encoders["whisper"]))
    source = run.source(tmp_path)
    joined = JoinedFeatures(source, [parts["train"], parts["validation"]])
    whole = joined.whole
    assert whole.paths == parts["train"].paths + parts["validation"].paths
    odd = whole.select(np.arange(len(whole.paths)) % 2 == 1)
    expected = np.concatenate([source.clean(parts[name])[1].numpy() for name in ("train", "validation")])
    np.testing.assert_array_equal(joined.clean(odd)[1].numpy(), expected[1::2])
    rows = np.arange(len(odd.paths))[::-1].copy()
    drawn = joined.augmented(odd)(rows, np.random.default_rng(0)).numpy()
    copies = [source.augmented(parts[name]) for name in ("train", "validation")]
    for row, features in zip(rows, drawn, strict=True):
        place = 2 * row + 1
        first = len(parts["train"].paths)
        part, index = (0, place) if place < first else (1, place - first)
        variants = [copies[part](np.array([index]), np.random.default_rng(seed)).numpy()[0] for seed in range(20)]
        assert any(np.array_equal(features, variant) for variant in variants)


def test_folds_deal_out_each_corpus(recipe_of: Callable[..., Recipe], data: Path) -> None:
    part = read_parts(recipe_of(), data)["train"]
    folds = held_out_folds(part, 2, seed=0)
    assert np.array_equal(np.sum(folds, axis=0), np.ones(len(part.paths))), "everyone is held out once"
    for held in folds:
        speakers = np.unique(part.speakers[held]).tolist()
        assert [name.partition("-")[0] for name in speakers] == ["office", "ravdess", "ravdess"]
    with pytest.raises(UsageError, match="office has 2 speakers to train on, too few for 3 folds"):
        held_out_folds(part, 3, seed=0)


def test_a_fine_tuned_encoder_learns_anew_for_every_fold(
    recipe_of: Callable[..., Recipe], data: Path, encoders: dict[str, Path], tmp_path: Path
) -> None:
    recipe = recipe_of(encoder={"finetune": 1}, schedule={"epochs": 1}, finetune={"epochs": 1})
    train = read_parts(recipe, data)["train"]
    trainer = Retrainer(recipe, str(encoders["whisper"]), tmp_path, [train])
    before = {name: tensor.clone() for name, tensor in trainer._run.encoder.state_dict().items()}
    first, source = trainer.train(train, None, seed=0)
    again, _ = trainer.train(train, None, seed=0)
    assert first.encoder is not again.encoder
    for name, tensor in first.encoder.state_dict().items():
        torch.testing.assert_close(tensor, again.encoder.state_dict()[name])
        torch.testing.assert_close(trainer._run.encoder.state_dict()[name], before[name])
    assert any(not torch.equal(tensor, before[name]) for name, tensor in first.encoder.state_dict().items())
    assert first.probabilities(train, source)[1].shape == (len(train.paths), 3)


def test_nobody_is_set_aside_unless_training_listens(recipe_of: Callable[..., Recipe], data: Path) -> None:
    train = read_parts(recipe_of(), data)["train"]
    kept, logged = set_aside(recipe_of(), train, seed=0)
    assert kept is train
    assert 0 < len(logged.paths) < len(train.paths)
    kept, aside = set_aside(recipe_of(schedule={"stop_after": 3}), train, seed=0)
    assert not set(kept.speakers) & set(aside.speakers)
    assert set(aside.corpora) == {"ravdess", "office"}
    assert len(kept.paths) + len(aside.paths) == len(train.paths)
    alone = train.select(train.speakers == "office-anna")
    with pytest.raises(UsageError, match="needs validation speakers"):
        set_aside(recipe_of(schedule={"patience": 3}), alone, seed=0)
