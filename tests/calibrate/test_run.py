import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate.corpora import Utterance
from calibrate.dataset import Part, read_parts
from calibrate.recipe import Recipe
from calibrate.run import MODEL_NAME, RUN_NAME, Run, build_run, load_run
from calibrate.train import train_run
from calibrate.training.temperature import fit_temperature
from edge.errors import ModelError, UsageError

MakeRecipe = Callable[..., Recipe]


def part_of(labels: np.ndarray) -> Part:
    return Part([Utterance(Path(f"{row}.wav"), "mine", "mine-1", "happy") for row in range(len(labels))], labels)


@pytest.fixture(scope="module")
def frozen(
    data: Path, recipe_of: MakeRecipe, encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, Path]:
    folder = tmp_path_factory.mktemp("frozen")
    run = build_run(recipe_of(), str(encoders["whisper"]))
    train_run(run, read_parts(recipe_of(), data), folder, folder / "cache")
    return run, folder


@settings(max_examples=10, deadline=None)
@given(st.floats(0.2, 5.0), st.integers(0, 100))
def test_the_temperature_of_made_logits_is_found(temperature: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(2 * rng.standard_normal((6_000, 4))).float()
    labels = (logits + torch.from_numpy(rng.gumbel(size=logits.shape))).argmax(1).numpy()
    assert fit_temperature(logits * temperature, part_of(labels)) == pytest.approx(temperature, rel=0.1)


def test_the_temperature_of_a_perfect_or_useless_head_is_usable() -> None:
    labels = np.arange(40) % 4
    perfect = 3 * torch.eye(4)[torch.from_numpy(labels)]
    for logits in (perfect, -perfect, torch.zeros(40, 4), 1e4 * perfect, 1e-4 * perfect):
        temperature = fit_temperature(logits, part_of(labels))
        assert np.isfinite(temperature)
        assert temperature > 0
        probabilities = (logits / temperature).softmax(1)
        assert torch.isfinite(probabilities).all()


def test_a_saved_run_loads_to_the_same_answers(data: Path, frozen: tuple[Run, Path]) -> None:
    run, folder = frozen
    loaded = load_run(folder)
    part = read_parts(run.recipe, data)["test"]
    (_, before), (_, after) = (each.probabilities(part, each.source(folder / "cache")) for each in (run, loaded))
    np.testing.assert_array_equal(before, after)
    assert (loaded.recipe, loaded.temperature, loaded.corpora) == (run.recipe, run.temperature, run.corpora)
    assert loaded.speakers == run.speakers
    assert not loaded.classifier.training
    assert loaded.encoder_label == "whisper"


def test_a_fine_tuned_run_carries_its_encoder(
    data: Path, recipe_of: MakeRecipe, encoders: dict[str, Path], tmp_path: Path
) -> None:
    recipe = recipe_of(
        encoder={"finetune": 1}, schedule={"epochs": 1}, finetune={"epochs": 1, "encoder_learning_rate": 1e-2}
    )
    parts = read_parts(recipe, data)
    run = build_run(recipe, str(encoders["hubert"]))
    before_finetuning = {name: each.clone() for name, each in run.encoder.state_dict().items()}
    train_run(run, parts, tmp_path / "run", tmp_path / "cache")
    frozen = load_run(tmp_path / "run" / "frozen")
    assert frozen.recipe == recipe.with_finetune(0)
    assert frozen.speakers == run.speakers
    torch.testing.assert_close(frozen.encoder.state_dict(), before_finetuning, rtol=0, atol=0)
    loaded = load_run(tmp_path / "run")
    torch.testing.assert_close(loaded.encoder.state_dict(), run.encoder.state_dict(), rtol=0, atol=0)
    (_, before), (_, after) = (each.probabilities(parts["test"], each.source(tmp_path)) for each in (run, loaded))
    np.testing.assert_allclose(after, before, atol=1e-6)
    _, frozen_answers = frozen.probabilities(parts["test"], frozen.source(tmp_path))
    assert not np.allclose(frozen_answers, before, atol=1e-3)


def test_an_encoder_can_lie_elsewhere(frozen: tuple[Run, Path], encoders: dict[str, Path], tmp_path: Path) -> None:
    run, folder = frozen
    moved = tmp_path / "moved"
    shutil.copytree(encoders["whisper-encoder"], moved)
    loaded = load_run(folder, str(moved))
    assert loaded.encoder_name == str(moved)
    torch.testing.assert_close(loaded.encoder.state_dict(), run.encoder.state_dict(), rtol=0, atol=0)


def test_the_record_names_every_corpus_with_its_licence_and_speakers(frozen: tuple[Run, Path]) -> None:
    run, folder = frozen
    assert [corpus.model_dump() for corpus in run.corpora] == [
        {"name": "ravdess", "licence": "CC BY-NC-SA 4.0", "licence_verified": True, "speakers": 4, "utterances": 24},
        {"name": "office", "licence": "own", "licence_verified": False, "speakers": 2, "utterances": 12},
    ]
    assert run.speakers == ["office-anna", "office-ben", *(f"ravdess-0{actor}" for actor in (1, 2, 3, 4))]
    described = json.loads((folder / RUN_NAME).read_text())
    assert described["recipe"]["labels"] == ["neutral", "happy", "angry"]
    assert 0 < described["temperature"] < 100


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / MODEL_NAME).unlink(),
        lambda folder: (folder / RUN_NAME).unlink(),
        lambda folder: (folder / RUN_NAME).write_text("{"),
        lambda folder: (folder / RUN_NAME).write_text("{}"),
        lambda folder: (folder / MODEL_NAME).write_bytes((folder / MODEL_NAME).read_bytes()[:-100]),
        lambda folder: edit(folder, lambda run: run["recipe"]["head"].update(dim=8)),
        lambda folder: edit(folder, lambda run: run["recipe"]["head"].update(size=8)),
        lambda folder: edit(folder, lambda run: run.pop("temperature")),
    ],
)
def test_a_damaged_run_is_refused_in_one_line(
    frozen: tuple[Run, Path], tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(frozen[1], folder)
    damage(folder)
    with pytest.raises(ModelError, match="holds no finished training run") as error:
        load_run(folder)
    assert "\n" not in str(error.value)


def test_a_run_does_not_load_on_another_encoder(frozen: tuple[Run, Path], encoders: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load_run(frozen[1], "/nowhere/at/all")
    with pytest.raises(ModelError, match="is not one of whisper"):
        load_run(frozen[1], str(encoders["bert"]))


def test_more_components_than_features_are_refused(recipe_of: MakeRecipe, encoders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match=r"head\.dim = 97 exceeds the 96 features"):
        build_run(recipe_of(head={"dim": 97}), str(encoders["whisper"]))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    described = json.loads((folder / RUN_NAME).read_text())
    change(described)
    (folder / RUN_NAME).write_text(json.dumps(described))
