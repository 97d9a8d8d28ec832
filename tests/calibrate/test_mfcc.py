import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from calibrate.cli.app import main
from calibrate.corpora import Utterance, read_corpus
from calibrate.corpora.mfcc import (
    draw_clips,
    mean_mfcc,
    new_transform,
    points_picture,
    pooled_mfcc,
    principal_points,
)
from edge.audio import read_audio
from edge.errors import UsageError
from helpers import layouts
from helpers.calling import exit_code


def test_a_vector_a_speaker_with_what_is_known_of_them(
    crema_d: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("features", "mfcc", "crema-d", crema_d, "--out", tmp_path, "--coefficients", 13)
    assert exit_code(main, monkeypatch, "affectd-calibrate", *arguments) == 0
    assert "4 speakers, 24 clips" in capsys.readouterr().out
    described = json.loads((tmp_path / "mfcc.json").read_text())
    assert (described["corpus"], described["coefficients"]) == ("crema-d", 13)
    ann = described["speakers"]["crema-d-1002"]
    assert (ann["gender"], ann["age"], ann["race"], ann["clips"]) == ("f", 21, "Caucasian", 6)
    assert "race" not in described["speakers"]["crema-d-1047"]
    vectors = {name: np.array(facts["mfcc"], np.float32) for name, facts in described["speakers"].items()}
    assert list(vectors) == [f"crema-d-{actor}" for actor in layouts.ACTORS]
    stacked = np.stack(list(vectors.values()))
    assert stacked.shape == (4, 13)
    np.testing.assert_allclose(stacked.mean(axis=0), described["mean"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(stacked.std(axis=0), described["deviation"], rtol=1e-3, atol=1e-4)
    assert plt.imread(tmp_path / "mfcc.png").shape[1] == 2 * 5 * 120, "gender and race"
    assert plt.get_fignums() == []


def test_a_vector_is_the_mean_over_frames_then_clips(crema_d: Path) -> None:
    mine = [utterance for utterance in read_corpus("crema-d", crema_d).utterances if "1001" in utterance.speaker]
    rows = mean_mfcc(mine, 20)["crema-d-1001"]
    transform = new_transform(20)
    frames = transform(torch.from_numpy(read_audio(mine[0].path))).numpy()
    np.testing.assert_allclose(rows[0], frames.mean(axis=1), rtol=1e-4, atol=1e-3)
    assert len(rows) == 6


def test_even_a_click_has_a_vector() -> None:
    transform = new_transform(5)
    assert np.isfinite(pooled_mfcc(transform, np.ones(3, np.float32))).all()


def test_few_clips_as_json_name_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = layouts.esd(tmp_path / "esd")
    arguments = ("features", "mfcc", "esd", folder, "--out", tmp_path / "out", "--clips", 2, "--json")
    assert exit_code(main, monkeypatch, "affectd-calibrate", *arguments) == 0
    described = json.loads(capsys.readouterr().out)
    assert {speaker["clips"] for speaker in described["speakers"].values()} == {2}
    assert len(described["files"]) == len(set(described["files"])) == 8
    assert all((folder / name).is_file() for name in described["files"])
    assert plt.imread(tmp_path / "out" / "mfcc.png").shape[1] == 5 * 120, "gender alone"


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 5), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_a_draw_takes_as_many_of_each_as_there_are(names: list[str], clips: int, seed: int) -> None:
    utterances = [Utterance(Path(f"{row}.wav"), "x", name, "happy") for row, name in enumerate(names)]
    drawn = draw_clips(utterances, clips, seed)
    assert drawn == draw_clips(utterances, clips, seed)
    assert draw_clips(utterances, None, seed) == utterances
    for name in set(names):
        assert sum(utterance.speaker == name for utterance in drawn) == min(clips, names.count(name))


def test_the_first_component_tells_two_kinds_of_voice_apart() -> None:
    rng = np.random.default_rng(0)
    kinds = np.repeat((0, 1), 10)
    vectors = rng.normal(size=(20, 8)) + 6 * kinds[:, None] * rng.normal(size=8)
    points, shares = principal_points(vectors * 10.0 ** np.arange(8))
    apart = points[kinds == 0, 0].mean() - points[kinds == 1, 0].mean()
    assert abs(apart) > 3 * points[kinds == 0, 0].std()
    assert 1 > shares[0] > shares[1] > 0
    same = principal_points(np.ones((3, 4)))
    assert not same[0].any()
    assert not same[1].any()


def test_a_corpus_that_knows_no_gender_is_drawn(tmp_path: Path) -> None:
    speakers = [Utterance(Path("a.wav"), "x", "x-a", "sad")] * 2
    points_picture(np.eye(2), np.array([0.6, 0.4]), speakers).write(tmp_path)
    assert (tmp_path / "mfcc.png").is_file()


def test_what_is_not_possible(crema_d: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for coefficients in (1, 65):
        with pytest.raises(UsageError, match=f"{coefficients} coefficients are not possible: from 2 to 64"):
            new_transform(coefficients)
    gone = Utterance(tmp_path / "gone.wav", "x", "x-a", "sad")
    assert mean_mfcc([gone], 5) == {}
    assert "gone.wav" in caplog.text


def test_one_speaker_has_no_components(
    crema_d: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one").mkdir()
    for path in crema_d.glob("1001_*.wav"):
        (tmp_path / "one" / path.name).write_bytes(path.read_bytes())
    arguments = ("features", "mfcc", "crema-d", tmp_path / "one", "--out", tmp_path / "out")
    assert exit_code(main, monkeypatch, "affectd-calibrate", *arguments) == 2
    assert "has 1 speakers; principal components need two" in capsys.readouterr().err
