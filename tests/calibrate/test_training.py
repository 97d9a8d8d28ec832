import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from calibrate.cli.app import main
from calibrate.dataset import Part, Rows, read_parts
from calibrate.recipe import HeadRecipe, Recipe, ScheduleRecipe, read_recipe
from calibrate.run import Run, build_run, load_run
from calibrate.splits import Split
from calibrate.train import train_run
from calibrate.training import trainer as training
from calibrate.training.heads import Classifier
from calibrate.training.sources import BatchFeatures
from calibrate.training.trainer import train_classifier
from edge.errors import ModelError, UsageError
from helpers.calling import exit_code

pytestmark = pytest.mark.slow

MakeRecipe = Callable[..., Recipe]

LIGHT: dict[str, Any] = {"epochs": 2, "batch": 16, "augmentation": {"copies": 0}}
STAGED = Path(__file__).resolve().parents[2] / "configs" / "staged.toml"

KINDS: dict[str, dict[str, Any]] = {
    "linear": {},
    "dense": {"head": {"kind": "dense", "dropout": 0.3}, "schedule": {"learning_rate": 0.01}},
    "weighted": {"head": {"mix": "weighted"}},
    "averaged": {"schedule": {"average": 0.9, "evaluate_every": 2, "patience": 1, "stop_after": 50, "mixup": 0.2}},
    "whisper": {
        "encoder": {"finetune": 1},
        "finetune": LIGHT | {"augmentation": {"copies": 1, "codec_probability": 0}},
    },
    "hubert": {"encoder": {"finetune": 1}, "head": {"kind": "dense"}, "finetune": LIGHT | {"rank": 0}},
    "everything": {
        "encoder": {"finetune": 2},
        "head": {"kind": "dense", "dropout": 0.3},
        "finetune": LIGHT
        | {"rank": 0, "front": True, "average": 0.9, "mixup": 0.2, "adversarial": 0.1, "contrastive": 0.1}
        | {"evaluate_every": 2, "patience": 1, "stop_after": 4},
    },
    "from nothing": {
        "encoder": {"finetune": 1},
        "schedule": {"epochs": 0},
        "finetune": LIGHT | {"learning_rate": 0.02},
    },
    "staged": {"encoder": {"finetune": 2}, "head": {"kind": "dense"}},
}


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("features")


@pytest.fixture(autouse=True)
def shared_cache(features: Path, tmp_path: Path) -> None:
    """What a frozen encoder makes of a clip is the same in all of these tests, and computed once."""
    (tmp_path / "cache").symlink_to(features)


class StoppedError(Exception):
    pass


def train(
    recipe: Recipe, encoder: Path, data: Path, folder: Path, stop_after: int | None = None, resume: bool = False
) -> Run:
    """Train in ``folder``; ``stop_after`` ends the run as a kill would, right after that many checkpoints.

    A recipe that fine-tunes is stopped in its second stage, unless that has too few epochs to be stopped within.
    """
    run = build_run(recipe, str(encoder))
    stage = folder / "frozen" if recipe.encoder.finetune and recipe.finetune.epochs == stop_after else folder
    with pytest.MonkeyPatch.context() as patch:
        if stop_after is not None:
            save = training.Checkpoint.save

            def save_and_stop(self: training.Checkpoint, epochs: int) -> None:
                save(self, epochs)
                if epochs == stop_after and self.path.parent == stage:
                    raise StoppedError

            patch.setattr(training.Checkpoint, "save", save_and_stop)
        train_run(run, read_parts(recipe, data), folder, folder.parent / "cache", resume)
    return run


def recipe_for(kind: str, recipe_of: MakeRecipe) -> tuple[Recipe, str]:
    recipe: Recipe = recipe_of(**KINDS[kind])
    if kind == "staged":
        shipped = read_recipe(STAGED)
        recipe = recipe.model_copy(update={"schedule": shipped.schedule, "finetune": shipped.finetune})
    return recipe, "hubert" if kind == "hubert" else "whisper"


def log_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def states_of(run: Run) -> dict[str, Tensor]:
    return {**run.classifier.state_dict(), **run.encoder.state_dict()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_ends_with_the_same_numbers(
    kind: str, recipe_of: MakeRecipe, encoders: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    recipe, family = recipe_for(kind, recipe_of)
    whole = train(recipe, encoders[family], data, tmp_path / "whole")
    epochs = 1 if recipe.encoder.finetune else 2
    with pytest.raises(StoppedError):
        train(recipe, encoders[family], data, tmp_path / "parts", stop_after=epochs)
    stage = "frozen" if kind == "staged" else "."
    assert len(log_of(tmp_path / "parts" / stage)) == epochs
    torch.rand(7)
    resumed = train(recipe, encoders[family], data, tmp_path / "parts", resume=True)
    torch.testing.assert_close(states_of(resumed), states_of(whole), rtol=1e-5, atol=1e-6)
    assert resumed.temperature == pytest.approx(whole.temperature, rel=1e-4)
    assert log_of(tmp_path / "parts") == log_of(tmp_path / "whole")


@pytest.mark.parametrize("kind", ["linear", "dense", "weighted", "averaged", "whisper", "everything"])
def test_emotions_that_can_be_heard_are_learnt(
    kind: str, recipe_of: MakeRecipe, encoders: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    recipe, family = recipe_for(kind, recipe_of)
    recipe = recipe.model_copy(update={"schedule": recipe.schedule.model_copy(update={"epochs": 12})})
    run = train(recipe, encoders[family], data, tmp_path / "run")
    test, probabilities = run.probabilities(read_parts(recipe, data)["test"], run.source(tmp_path / "cache"))
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (probabilities.argmax(1) == test.labels).mean() > 0.8, "chance is 1/3"


def test_head_and_encoder_may_start_together(
    recipe_of: MakeRecipe, encoders: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(
        encoder={"finetune": 2},
        schedule={"epochs": 0},
        finetune=LIGHT | {"epochs": 6, "learning_rate": 0.02, "encoder_learning_rate": 0.01},
    )
    train(recipe, encoders["whisper"], data, tmp_path / "run")
    rows = log_of(tmp_path / "run")
    assert not (tmp_path / "run" / "frozen").exists()
    assert float(rows[-1]["validation_loss"]) < 0.7 * np.log(3)


def test_the_command_line_fine_tunes_and_shows_what_it_gave(
    recipe_file: Callable[..., Path],
    encoders: dict[str, Path],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = recipe_file(schedule={"epochs": 2}, finetune={"epochs": 1})
    train_it = ["affectd-calibrate", "train", recipe, "--data", data, "--encoder", encoders["whisper"], "--finetune"]
    assert exit_code(main, monkeypatch, *train_it, 1) == 0
    shown = capsys.readouterr().out
    said = (
        "validation speakers, before fine-tuning",
        "run written to runs/tiny/frozen\n",
        "run written to runs/tiny\n",
    )
    assert [shown.index(text) for text in said] == sorted(shown.index(text) for text in said)
    run = Path("runs/tiny")
    for folder in (run, run / "frozen"):
        assert json.loads((folder / "validation" / "metrics.json").read_text())["protocol"].startswith("validation")
        assert (folder / "training.png").is_file()
    assert (load_run(run).recipe.encoder.finetune, load_run(run / "frozen").recipe.encoder.finetune) == (1, 0)
    assert exit_code(main, monkeypatch, *train_it, 3) == 2
    error = capsys.readouterr().err
    assert "fine-tuning 3 layers" in error
    assert "encoder.layers = 2" in error


def test_the_log_tells_every_epoch(
    recipe_of: MakeRecipe, encoders: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(schedule={"epochs": 6, "warmup": 0.2})
    train(recipe, encoders["whisper"], data, tmp_path / "run")
    rows = log_of(tmp_path / "run")
    assert tuple(rows[0]) == ("epoch", "train_loss", "validation_loss", "validation_ua", "learning_rate")
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"]) < np.log(3) + 0.1
    assert float(rows[-1]["validation_loss"]) < np.log(3)
    assert all(0 <= float(row["validation_ua"]) <= 1 for row in rows)
    rates = [float(row["learning_rate"]) for row in rows]
    assert max(rates) <= 0.02
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-6)


def test_the_seed_decides_everything(
    recipe_of: MakeRecipe, encoders: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    def trained(seed: int, folder: str) -> dict[str, Tensor]:
        recipe = recipe_of(seed=seed, head={"kind": "dense"}, schedule={"epochs": 1})
        return train(recipe, encoders["whisper"], data, tmp_path / folder).classifier.state_dict()

    first = trained(0, "a")
    torch.rand(3)
    torch.testing.assert_close(trained(0, "b"), first, rtol=0, atol=0)
    assert not torch.equal(trained(1, "c")["project.weight"], first["project.weight"])
    torch.manual_seed(0)
    heads = [build_run(recipe_of(seed=seed, head={"kind": "dense"}), str(encoders["whisper"])) for seed in (0, 1)]
    assert not torch.equal(heads[0].classifier.project.weight, heads[1].classifier.project.weight)


@pytest.mark.parametrize("family", ["whisper", "hubert", "wavlm"])
def test_fine_tuning_changes_the_last_layers_only(
    family: str, recipe_of: MakeRecipe, encoders: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(
        encoder={"finetune": 2, "layers": 3, "pooled": [1, 3]},
        schedule={"epochs": 1},
        finetune=LIGHT | {"epochs": 1, "encoder_learning_rate": 1e-3, "rank": 0},
    )
    before = build_run(recipe, str(encoders[family])).encoder.encoder.state_dict()
    run = train(recipe, encoders[family], data, tmp_path / "run")
    after = run.encoder.encoder.state_dict()
    blocks = next(name for name, module in run.encoder.encoder.named_modules()
                  if module is run.encoder.encoder.transformer_layers())  # fmt: skip
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed
    assert {name.removeprefix(f"{blocks}.").split(".")[0] for name in changed} == {"1", "2"}
    assert all(name.startswith(f"{blocks}.") for name in changed)
    assert all(any(part in name for name in changed) for part in ("q_proj", "fc1" if family == "whisper" else "dense"))


def test_a_frozen_encoder_does_not_change(
    recipe_of: MakeRecipe, encoders: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    before = build_run(recipe_of(), str(encoders["whisper"])).encoder.state_dict()
    after = train(recipe_of(), encoders["whisper"], data, tmp_path / "run").encoder.state_dict()
    torch.testing.assert_close(after, before, rtol=0, atol=0)


class NotedRows:
    """A source of random features that notes which rows each batch drew."""

    learns = None

    def __init__(self) -> None:
        self.drawn: list[int] = []

    def clean(self, part: Part, spoken_only: bool = False) -> tuple[Part, Tensor]:
        return part, torch.randn(len(part.labels), 1, 4, generator=torch.Generator().manual_seed(0))

    def augmented(self, part: Part) -> BatchFeatures:
        features = self.clean(part)[1]

        def batch(rows: Rows, rng: np.random.Generator) -> Tensor:
            self.drawn += rows.tolist()
            return features[rows]

        return batch


def test_batches_are_drawn_evenly_over_corpora_and_labels(data: Path, recipe_of: MakeRecipe, tmp_path: Path) -> None:
    parts = read_parts(recipe_of(), data)
    train = parts["train"]
    lopsided = train.select((train.corpora == "ravdess") | (train.labels == 0) | (train.speakers == "office-anna"))
    source = NotedRows()
    classifier = Classifier(HeadRecipe(kind="dense", dim=2), 1, 4, 3)
    schedule = ScheduleRecipe(epochs=100, batch=16)
    train_classifier(classifier, source, (lopsided, parts["validation"]), schedule, tmp_path)
    cells = Counter((lopsided.corpora[row], int(lopsided.labels[row])) for row in source.drawn)
    assert len(source.drawn) == 100 * 16 * -(-len(lopsided.labels) // 16)
    shares = np.array(list(cells.values())) / len(source.drawn)
    np.testing.assert_allclose(shares, 1 / 6, atol=0.02)


def test_a_log_ahead_of_its_checkpoint_is_cut_back(
    recipe_of: MakeRecipe, encoders: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    with pytest.raises(StoppedError):
        train(recipe_of(), encoders["whisper"], data, tmp_path / "run", stop_after=2)
    with (tmp_path / "run" / "log.csv").open("a") as file:
        file.write("3,0,0,0,0\r\n")
    train(recipe_of(), encoders["whisper"], data, tmp_path / "run", resume=True)
    assert [row["epoch"] for row in log_of(tmp_path / "run")] == ["1", "2", "3", "4"]
    assert float(log_of(tmp_path / "run")[2]["train_loss"]) > 0


def test_resuming_what_never_ran_or_has_ended(
    recipe_of: MakeRecipe, encoders: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    first = train(recipe_of(), encoders["whisper"], data, tmp_path / "run", resume=True)
    again = train(recipe_of(), encoders["whisper"], data, tmp_path / "run", resume=True)
    torch.testing.assert_close(states_of(again), states_of(first), rtol=0, atol=0)
    assert len(log_of(tmp_path / "run")) == 4


def test_a_checkpoint_that_does_not_fit_is_refused(
    recipe_of: MakeRecipe, encoders: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    train(recipe_of(), encoders["whisper"], data, tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    with pytest.raises(ModelError, match="is no checkpoint of this recipe"):
        train(recipe_of(head={"dim": 8}), encoders["whisper"], data, tmp_path / "run", resume=True)
    for content in (b"", b"garbage", checkpoint.read_bytes()[:-2_000]):
        checkpoint.write_bytes(content)
        with pytest.raises(ModelError, match="without --resume"):
            train(recipe_of(), encoders["whisper"], data, tmp_path / "run", resume=True)


@pytest.fixture
def holed(data: Path, tmp_path: Path) -> Path:
    """The data with one damaged clip in every part."""
    folder = tmp_path / "holed"
    shutil.copytree(data, folder)
    for actor in ("01", "05", "06"):
        next((folder / "ravdess" / f"Actor_{actor}").glob("*.wav")).write_bytes(b"RIFF")
    return folder


def test_damaged_clips_are_left_out_of_frozen_training(
    recipe_of: MakeRecipe, encoders: dict[str, Path], holed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = train(recipe_of(), encoders["whisper"], holed, tmp_path / "run")
    assert "cannot be read and is left out" in caplog.text
    part = read_parts(recipe_of(), holed)["test"]
    readable, probabilities = run.probabilities(part, run.source(tmp_path / "cache"))
    assert len(readable.labels) == len(probabilities) == len(part.labels) - 1


def test_damaged_clips_are_left_out_of_fine_tuning(
    recipe_of: MakeRecipe, encoders: dict[str, Path], holed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = recipe_of(encoder={"finetune": 1}, schedule={"epochs": 1}, finetune=LIGHT | {"epochs": 1})
    train(recipe, encoders["whisper"], holed, tmp_path / "run")
    assert "cannot be read and is left out" in caplog.text
    assert len(log_of(tmp_path / "run")) == 1


def test_training_ends_early_with_the_best_weights(data: Path, recipe_of: MakeRecipe, tmp_path: Path) -> None:
    """Random features teach nothing, so the first evaluations are the best."""
    parts = read_parts(recipe_of(), data)
    schedule = ScheduleRecipe(epochs=40, batch=16, learning_rate=0.3, warmup=0, decay="none", patience=2, stop_after=6)
    classifier = Classifier(HeadRecipe(kind="dense", dim=4, dropout=0), 1, 4, 3)
    train_classifier(classifier, NotedRows(), (parts["train"], parts["validation"]), schedule, tmp_path)
    rows = log_of(tmp_path)
    losses = [float(row["validation_loss"]) for row in rows]
    assert len(rows) == losses.index(min(losses)) + 1 + 6
    assert {round(float(row["learning_rate"]) / 0.3, 6) for row in rows} == {1, 0.1}, "the second fall ends it"
    part, features = NotedRows().clean(parts["validation"])
    assert training.validate(classifier, features, part)[0] == pytest.approx(min(losses), rel=1e-4)


def test_a_part_with_nothing_readable_is_told(
    recipe_of: MakeRecipe, encoders: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    run = build_run(recipe_of(), str(encoders["whisper"]))
    parts: dict[Split, Part] = read_parts(recipe_of(), data)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    utterances = [utterance.__class__(tmp_path / "broken.wav", "ravdess", utterance.speaker, utterance.emotion)
                  for utterance in parts["validation"].utterances]  # fmt: skip
    parts["validation"] = Part(utterances, parts["validation"].labels)
    with pytest.raises(UsageError, match=r"none of 12 files can be read, the first of them .*broken.wav"):
        train_run(run, parts, tmp_path / "run", tmp_path / "cache")
