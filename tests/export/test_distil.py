import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from calibrate.dataset import read_parts
from calibrate.encoders.pretrained import load_encoder
from calibrate.encoders.shapes import WhisperStudentShape
from calibrate.encoders.students import save_student
from calibrate.recipe import Recipe
from calibrate.run import Run, build_run, load_run
from calibrate.train import train_run
from calibrate.training.augment import augment
from edge.errors import ModelError, UsageError
from export.cli.app import main
from export.distil.imitation import UNLABELLED, Imitation, RunningStandardise
from export.distil.student_recipe import DistilRecipe
from export.distil.teacher import Rendering, batches_of, chatter, overlaid, view_of
from export.distil.train import distil
from export.distil.unlabelled import with_unlabelled
from helpers.calling import exit_code
from helpers.layouts import emovo
from helpers.models import toml

QUIET = {"gain_db": 0.0, "noise_probability": 0.0, "room_probability": 0.0, "telephone_probability": 0.0}
STUDENTS: dict[str, dict[str, Any]] = {
    "whisper": {"kind": "whisper", "layers": 2, "width": 16, "heads": 2, "hidden": 32, "positions": 25},
    "compact": {"kind": "compact", "layers": 1, "width": 12, "heads": 2, "hidden": 16},
}
POOLED = {"whisper": [1, 2], "compact": [1]}


@pytest.fixture(scope="module")
def teacher_folder(
    data: Path, recipe_of: Callable[..., Recipe], encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run with a dense head on two layers of a tiny random Whisper."""
    folder = tmp_path_factory.mktemp("teacher")
    recipe = recipe_of(
        encoder={"layers": 2, "pooled": [1, 2]}, head={"kind": "dense", "dim": 8}, schedule={"epochs": 9}
    )
    run = build_run(recipe, str(encoders["whisper"]))
    train_run(run, read_parts(recipe, data), folder, tmp_path_factory.mktemp("cache"))
    return folder


@pytest.fixture
def teacher(teacher_folder: Path) -> Run:
    return load_run(teacher_folder)


def recipe_for(kind: str, **changes: Any) -> DistilRecipe:
    described = {"name": kind, "student": STUDENTS[kind], "pooled": POOLED[kind], "views": 2, "epochs": 3, "batch_s": 4}
    return DistilRecipe.model_validate(described | {"learning_rate": 3e-3, "averaging": 0.5} | changes)


def log_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "log.csv").read_text().splitlines()))


@given(lengths=st.lists(st.integers(1, 64_000), min_size=1, max_size=30), batch_s=st.floats(0.5, 10))
def test_batches_hold_every_row_once_within_their_length(lengths: list[int], batch_s: float) -> None:
    samples = np.array(lengths)
    batches = batches_of(samples, np.argsort(samples), batch_s)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or samples[batch].max() * len(batch) <= batch_s * 16_000


def test_a_view_is_made_once_and_holds_what_the_teacher_says(teacher: Run, data: Path, tmp_path: Path) -> None:
    paths = read_parts(teacher.recipe, data)["train"].paths[:5]
    rendering = Rendering(teacher.recipe.augmentation, 0.1, 0.5, 1.0)
    clean, changed = (view_of(teacher, paths, rendering, view, 2, tmp_path) for view in (0, 1))
    for row in range(5):
        waveform = torch.from_numpy(clean.waveform(row))[None]
        states, frames, pooled = teacher.encoder.states(waveform, torch.tensor([waveform.shape[1]]))
        expected = torch.stack(states, 2)[0, : int(frames) : 2]
        np.testing.assert_allclose(clean.target(row), expected.detach(), atol=0.01)
        z = teacher.classifier.embed(pooled.unflatten(1, (2, -1)))
        np.testing.assert_allclose(clean.embeddings[row], z[0].detach(), atol=1e-4)
    assert not np.array_equal(clean.samples, changed.samples)
    (folder,) = tmp_path.glob("*/view-1")
    before = folder.stat().st_mtime_ns
    again = view_of(teacher, paths, rendering, 1, 2, tmp_path)
    assert folder.stat().st_mtime_ns == before
    np.testing.assert_array_equal(again.audio, changed.audio)
    (folder / "audio.npy").unlink()
    (folder.parent / "view-2.partial").mkdir()
    assert len(view_of(teacher, paths, rendering, 2, 2, tmp_path).embeddings) == 5


@pytest.mark.parametrize("kind", STUDENTS)
def test_a_student_comes_nearer_and_goes_on_where_it_stopped(
    teacher: Run, data: Path, tmp_path: Path, kind: str
) -> None:
    parts = read_parts(teacher.recipe, data)
    pair, cache = (parts["train"], parts["validation"]), tmp_path / "cache"
    distil(teacher, pair, recipe_for(kind), tmp_path / "whole", cache)
    whole = log_of(tmp_path / "whole")
    assert [row["epoch"] for row in whole] == ["1", "2", "3"]
    assert float(whole[-1]["loss"]) < float(whole[0]["loss"])
    assert float(whole[-1]["validation_cosine"]) > (0.9 if kind == "whisper" else 0.0)
    distil(teacher, pair, recipe_for(kind), tmp_path / "parts", cache)
    checkpoint = tmp_path / "parts" / "checkpoint.pt"
    state = torch.load(checkpoint, weights_only=True)
    assert state["epochs"] == 3
    student = load_encoder(str(tmp_path / "whole" / "encoder"), STUDENTS[kind]["layers"], 1.0)
    same = load_encoder(str(tmp_path / "parts" / "encoder"), STUDENTS[kind]["layers"], 1.0)
    for name, tensor in student.state_dict().items():
        torch.testing.assert_close(same.state_dict()[name], tensor, msg=name)


def test_a_killed_distillation_resumes_with_the_same_numbers(
    teacher: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = read_parts(teacher.recipe, data)
    pair, cache, recipe = (parts["train"], parts["validation"]), tmp_path / "cache", recipe_for("compact")
    distil(teacher, pair, recipe, tmp_path / "whole", cache)
    killed = iter([None, None, KeyboardInterrupt()])

    def dying(*arguments: Any) -> Any:
        error = next(killed)
        if error:
            raise error
        return save(*arguments)

    save = __import__("export.distil.train", fromlist=["Training"]).Training.save
    with monkeypatch.context() as patch:
        patch.setattr("export.distil.train.Training.save", dying)
        with pytest.raises(KeyboardInterrupt):
            distil(teacher, pair, recipe, tmp_path / "killed", cache)
    distil(teacher, pair, recipe, tmp_path / "killed", cache, resume=True)
    assert log_of(tmp_path / "killed") == log_of(tmp_path / "whole")


def test_the_command_makes_a_run_with_the_teachers_heads(
    teacher_folder: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    described = recipe_for("compact", epochs=1).model_dump(mode="json") | {"corpora": []}
    path = tmp_path / "distil.toml"
    path.write_text("\n".join(line for line in toml(described).splitlines() if not line.startswith("corpora")))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> int:
        return exit_code(main, monkeypatch, "affectd-export", "distil", *arguments, "--threads", "1")

    assert call(teacher_folder, path, "--data", data, "--out", tmp_path / "student") == 0
    assert f"run written to {tmp_path / 'student'}" in capsys.readouterr().out
    assert load_encoder(str(tmp_path / "student" / "encoder"), 1).layers == 1
    run, taught = load_run(tmp_path / "student"), load_run(teacher_folder)
    torch.testing.assert_close(run.classifier.output.weight, taught.classifier.output.weight)
    assert (run.recipe.labels, run.speakers) == (taught.recipe.labels, taught.speakers)
    assert run.corpora
    assert (tmp_path / "student" / "validation").is_dir()
    path.write_text(path.read_text().replace("epochs", "epoch"))
    assert call(teacher_folder, path, "--data", data, "--out", tmp_path / "other") == 2
    assert "epochs" in capsys.readouterr().err


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("kind", STUDENTS)
def test_the_run_says_what_the_student_says(teacher: Run, data: Path, tmp_path: Path, kind: str, rank: int) -> None:
    recipe = recipe_for(kind, rank=rank)
    imitation = Imitation(teacher, recipe)
    parts = read_parts(teacher.recipe, data)
    waveform, lengths = 0.1 * torch.randn(3, 9000), torch.tensor([9000, 8000, 9000])
    imitation.train()
    for _ in range(3):
        imitation(waveform, lengths)
    imitation.eval()
    save_student(imitation.encoder.encoder, recipe.student, tmp_path, "student")
    run = imitation.as_run(teacher, recipe, str(tmp_path))
    with torch.inference_mode():
        pooled = run.encoder(waveform, lengths).unflatten(1, (len(recipe.pooled), -1))
        torch.testing.assert_close(run.logits(pooled), imitation(waveform, lengths)[3])
    assert set(parts["train"].speakers) == set(run.speakers)


def test_a_student_starts_from_another_encoder_than_its_teacher(
    teacher: Run, encoders: dict[str, Path], tmp_path: Path
) -> None:
    other = load_encoder(str(encoders["whisper"]), 3, 1.0)
    with torch.no_grad():
        other.conv1.bias += 1  # type: ignore[union-attr, operator]
    shape = WhisperStudentShape(layers=3, width=16, heads=2, hidden=32, hop=160, positions=50)
    save_student(other, shape, tmp_path, "another")
    starts = {start: Imitation(teacher, recipe_for("whisper", start=start)) for start in ("", str(tmp_path))}
    biases = [starts[start].encoder.encoder.conv1.bias for start in starts]  # type: ignore[union-attr]
    torch.testing.assert_close(biases[1], biases[0] + 1)
    for start, imitation in starts.items():
        mapped = [isinstance(mapping, torch.nn.Linear) for mapping in imitation.maps]
        assert mapped == [bool(start)] * 2, "states of another encoder are in a space of their own"
    with pytest.raises(UsageError, match="starts from scratch"):
        Imitation(teacher, recipe_for("compact"), str(tmp_path))


def test_a_student_hears_noise_that_its_teacher_does_not(teacher: Run, data: Path, tmp_path: Path) -> None:
    parts = read_parts(teacher.recipe, data)
    pair = (parts["train"], parts["validation"])
    noise = {"copies": 1, "noise_probability": 1.0, "snr_db": [0.0, 5.0]}
    quiet, noisy = (recipe_for("compact", augmentation=noise | changes, views=1) for changes in (QUIET, {}))
    crowded = recipe_for("compact", augmentation=noise | QUIET | {"voices_probability": 1.0}, views=1)
    logs = {}
    for name, recipe in (("quiet", quiet), ("noisy", noisy), ("again", noisy), ("crowded", crowded)):
        distil(teacher, pair, recipe, tmp_path / name, tmp_path / "cache")
        logs[name] = [row["loss"] for row in log_of(tmp_path / name)]
    assert len(list((tmp_path / "cache").glob("teacher-*"))) == 1, "what the teacher hears is the same"
    assert logs["noisy"] == logs["again"]
    assert len({tuple(losses) for losses in logs.values()}) == 3
    for shifting in ("trim_probability", "speed", "tempo"):
        with pytest.raises(ValueError, match=shifting):
            recipe_for("compact", augmentation={shifting: 0.1})


def test_what_disturbs_speech_leaves_the_views_once_the_student_has_its_own(teacher: Run) -> None:
    teachers = teacher.recipe.augmentation.model_copy(update={"mask": 0.1, "speed": 0.2})
    assert recipe_for("compact").of_views(teachers) == teachers
    left = recipe_for("compact", augmentation={"copies": 1}).of_views(teachers)
    assert (left.trim_probability, left.speed, left.tempo) == (teachers.trim_probability, 0.2, teachers.tempo)
    rng = np.random.default_rng(0)
    waveform = 0.1 * rng.standard_normal(16_000).astype(np.float32)
    still = left.model_copy(update={"trim_probability": 0.0, "speed": 0.0})
    np.testing.assert_allclose(augment(waveform, still, rng), waveform)


def test_chatter_is_as_many_voices_equally_loud(teacher: Run, data: Path, tmp_path: Path) -> None:
    paths = read_parts(teacher.recipe, data)["train"].paths[:5]
    view = view_of(teacher, paths, Rendering(teacher.recipe.augmentation, 0.1, 0.0, 1.0), 0, 2, tmp_path)
    one, again = (chatter(view, 1, 5_000, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert one.shape == (5_000,)
    assert np.sqrt(np.mean(np.square(chatter(view, 1, 400_000, np.random.default_rng(1))))) == pytest.approx(
        1, rel=0.05
    )
    assert np.sqrt(np.mean(np.square(chatter(view, 6, 400_000, np.random.default_rng(1))))) == pytest.approx(
        6**0.5, rel=0.4
    )


def test_running_statistics_settle_on_those_of_all_batches() -> None:
    torch.manual_seed(0)
    standardise = RunningStandardise(2)
    features = torch.randn(4000, 2) * torch.tensor([0.1, 20.0]) + torch.tensor([3.0, -50.0])
    for batch in features.split(8):
        standardise(batch)
    standardise.eval()
    found = standardise(features)
    torch.testing.assert_close(found.mean(0), torch.zeros(2), atol=0.15, rtol=0)
    torch.testing.assert_close(found.std(0), torch.ones(2), atol=0.15, rtol=0)


@given(below_db=st.floats(0, 30), lengths=st.tuples(st.integers(10, 500), st.integers(10, 500)))
def test_an_overlaid_voice_is_as_much_quieter_as_said(below_db: float, lengths: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    waveform = rng.standard_normal(lengths[0]).astype(np.float32)
    other = np.full(lengths[1], 0.3, np.float32)
    added = overlaid(waveform, other, below_db) - waveform
    ratio = np.sqrt(np.mean(waveform**2) / np.mean(added**2))
    assert 20 * np.log10(ratio) == pytest.approx(below_db, abs=0.1)


def test_speech_without_labels_helps_and_an_empty_folder_is_named(teacher: Run, data: Path, tmp_path: Path) -> None:
    part = read_parts(teacher.recipe, data)["train"]
    more = with_unlabelled(part, [data / "team" / "dana"])
    assert len(more.paths) == len(part.paths) + 6
    assert more.labels[len(part.labels) :].tolist() == [UNLABELLED] * 6
    weights = more.balanced_weights()
    assert weights[len(part.labels) :].sum() == pytest.approx(1 / 3)
    recipe = recipe_for("compact", epochs=1, weights=(1, 1, 1, 1))
    distil(teacher, (more, more.select(more.labels != UNLABELLED)), recipe, tmp_path / "student", tmp_path / "cache")
    assert np.isfinite([float(value) for value in log_of(tmp_path / "student")[0].values()]).all()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="audio"):
        with_unlabelled(part, [tmp_path / "empty"])
    with pytest.raises(UsageError, match="is of emovo, whose licence allows evaluation only"):
        with_unlabelled(part, [emovo(tmp_path / "more")])


def test_a_linear_head_is_refused(run: Run, tmp_path: Path, data: Path) -> None:
    parts = read_parts(run.recipe, data)
    with pytest.raises(ModelError, match="linear"):
        distil(run, (parts["train"], parts["validation"]), recipe_for("compact"), tmp_path, tmp_path)
