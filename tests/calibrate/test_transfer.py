import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate.cli.app import main
from calibrate.corpora import Utterance
from calibrate.dataset import Part
from calibrate.experiments.transfer.figures import Outcome, Side, Training, Transfer
from calibrate.experiments.transfer.report import gain_rows, rows, transfer_report
from calibrate.experiments.transfer.rounds import Cut, Round, some_speakers, speaker_counts, with_shared_labels
from calibrate.metrics import unweighted_accuracy
from helpers import layouts
from helpers.calling import exit_code

pytestmark = pytest.mark.slow

Call = Callable[..., int]
Write = Callable[..., Path]
WAYS = ["zero-shot", "target only", "fine-tuned", "joint"]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run ``affectd-calibrate transfer`` inside the test's process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "180")

    def call(*arguments: object) -> int:
        return exit_code(
            main, monkeypatch, "affectd-calibrate", "transfer", *arguments, "--threads", 1, "--out", "report"
        )

    return call


def report_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report" / "transfer.json").read_text())
    return found


def test_english_to_mandarin_in_the_layout_of_esd(
    call: Call,
    recipe_file: Write,
    encoders: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    layouts.esd(tmp_path / "esd")
    corpora = [{"name": "esd", "folder": "esd", "licence": "research only"}]
    changes: dict[str, Any] = {"head": {"kind": "dense", "dim": 8}, "schedule": {"epochs": 12}}
    recipe = recipe_file(corpora=corpora, splits={"file": ""}, **changes)
    where = (recipe, "--data", ".", "--encoder", encoders["wav2vec2"])
    sides = ("--source", "esd:0011-0020", "--target", "esd:0001-0010")
    assert call(*where, *sides, "--folds", 2, "--seeds", 2) == 0
    assert "esd:0011-0020 to esd:0001-0010: UA (95 %)" in capsys.readouterr().out
    report = report_of(tmp_path)
    assert [row["training"] for row in report["trainings"]] == WAYS
    assert [row["target_speakers"] for row in report["trainings"]] == [0, 1, 1, 1]
    for row in report["trainings"]:
        assert list(row["source"]["speakers"]) == ["esd-0011", "esd-0012"]
        assert list(row["target"]["speakers"]) == ["esd-0001", "esd-0002"], "everyone is heard once"
        for side in (row["source"], row["target"]):
            assert len(side["seeds"]) == 2
            assert side["low"] <= side["value"] <= side["high"]
    assert report["trainings"][3]["target"]["value"] > 0.5, "chance is 1/3, and the tones are alike"
    assert {gain["gain"] for gain in report["target_gains"]} >= {"joint over target only", "joint over fine-tuned"}
    text = (tmp_path / "report" / "transfer.md").read_text()
    assert "Target: esd:0001-0010, 2 test speakers, 12 utterances; so few that intervals are too narrow." in text
    assert (tmp_path / "report" / "transfer.png").is_file()
    with (tmp_path / "report" / "transfer.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["training"] for row in table[::2]] == WAYS
    assert float(table[1]["ua"]) == pytest.approx(report["trainings"][0]["target"]["value"], abs=1e-4)


def test_more_and_more_target_speakers_of_the_fixed_split(
    call: Call, recipe_file: Write, data: Path, encoders: dict[str, Path], tmp_path: Path, capsys: Any
) -> None:
    where = (recipe_file(), "--data", data, "--encoder", encoders["whisper"])
    sides = ("--source", "office", "--target", "ravdess", "--target-speakers", "all, 2,1,2", "--seeds", 1)
    assert call(*where, *sides, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report == report_of(tmp_path)
    assert [row["target_speakers"] for row in report["trainings"]] == [0, 1, 1, 1, 2, 2, 2, 4, 4, 4]
    assert list(report["trainings"][0]["target"]["speakers"]) == ["ravdess-06"], "the test speaker of the split"


def test_the_encoder_learns_along(
    call: Call, recipe_file: Write, data: Path, encoders: dict[str, Path], tmp_path: Path
) -> None:
    recipe = recipe_file(
        encoder={"finetune": 1}, schedule={"epochs": 1}, finetune={"epochs": 1, "evaluate_every": 1, "stop_after": 2}
    )
    where = (recipe, "--data", data, "--encoder", encoders["whisper"], "--seeds", 1)
    assert call(*where, "--source", "ravdess", "--target", "office") == 0
    assert [row["target_speakers"] for row in report_of(tmp_path)["trainings"]] == [0, 2, 2, 2]


def test_mistakes_are_told_in_one_line(
    call: Call, recipe_file: Write, data: Path, encoders: dict[str, Path], capsys: Any
) -> None:
    for message, options in (
        ("--target ofice: the recipe has ravdess, office (did you mean 'office'?)", ("ravdess", "ofice")),
        ("--source ravdess:21-24: no such speaker; ravdess has 01 to 06", ("ravdess:21-24", "office")),
        ("--source ravdess and --target ravdess:03 share 1 speakers", ("ravdess", "ravdess:03")),
        ("'3' must be all or 1 to 2, those of office who can train", ("ravdess", "office", "--target-speakers", 3)),
        ("'few' must be all or 1 to 2", ("ravdess", "office", "--target-speakers", "1,few")),
        ("--folds 5: office has 4 speakers", ("ravdess", "office", "--folds", 5)),
        ("ravdess:06 has no speaker in the train split; --folds hears", ("office", "ravdess:06")),
    ):
        source, target, *more = options
        where = (recipe_file(), "--data", data, "--encoder", encoders["whisper"])
        assert call(*where, "--source", source, "--target", target, *more) == 2, options
        stderr = capsys.readouterr().err
        assert message in stderr
        assert stderr.count("\n") == 1, stderr


def part_of(labels: Sequence[int], speakers: Sequence[str], corpus: str = "c") -> Part:
    utterances = [Utterance(Path(f"{row}.wav"), corpus, speaker, "happy") for row, speaker in enumerate(speakers)]
    return Part(utterances, np.array(labels, np.int64))


def test_numbers_of_speakers() -> None:
    people = part_of([0, 1, 0], ["c-a", "c-b", "c-c"])
    cut = Cut(people, None, people)
    assert speaker_counts("all", [Round(cut, cut)]) == [None]
    assert speaker_counts("3,all, 1,3", [Round(cut, cut)]) == [1, 3], "three are all"
    assert speaker_counts("2,all", [Round(cut, cut)]) == [2, None]
    one, two = (set(some_speakers(people, count, seed=5).speakers) for count in (1, 2))
    assert one < two
    assert some_speakers(people, None, seed=5).paths == people.paths


def test_labels_that_both_sides_have() -> None:
    parts = [part_of([0, 1, 2, 3], ["a"] * 4), part_of([3, 1, 4], ["b"] * 3)]
    (source, target), labels = with_shared_labels(parts, ("neutral", "happy", "sad", "angry", "fear"))
    assert labels == ("happy", "angry")
    assert source.labels.tolist() == [0, 1]
    assert target.labels.tolist() == [1, 0]
    assert target.paths == [Path("0.wav"), Path("1.wav")]


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abc"), st.booleans()), min_size=1, max_size=30))
def test_counts_give_the_usual_ua(answers: list[tuple[int, str, bool]]) -> None:
    labels, speakers, right = zip(*answers, strict=True)
    part = part_of(labels, speakers)
    side = Side.of([part], 3)
    counted = side.count(part, np.array(right))
    predicted = np.where(right, part.labels, 9)
    ua = side.ua(counted[None], np.ones((1, len(side.speakers))))
    assert ua.tolist() == [[pytest.approx(unweighted_accuracy(predicted, part.labels))]]


def test_gains_are_paired_over_speakers() -> None:
    """Speakers differ, the gain does not, so that its interval is a point."""
    asked = np.full((10, 2), 20)
    side = Side("c", [f"c-{speaker}" for speaker in range(10)], asked)
    hits = np.arange(10)[:, None] + np.array([[2, 4]])
    ways: list[tuple[Training, float, int]] = [("zero-shot", 0, 0), ("target only", 4, 3), ("joint", 4, 7)]
    outcomes = [
        Outcome(training, speakers, [np.stack([hits, hits]), np.stack([hits + more, hits + more])])
        for training, speakers, more in ways
    ]
    found = Transfer(side, side, ("happy", "sad"), outcomes, "a to b")
    assert gain_rows(found) == [
        ["target only over zero-shot", "4", "+15.0 (+15.0 to +15.0)"],
        ["joint over zero-shot", "4", "+35.0 (+35.0 to +35.0)"],
        ["joint over target only", "4", "+20.0 (+20.0 to +20.0)"],
    ]
    zero, _, joint = rows(found)
    assert zero[:2] == ["zero-shot", "0"]
    assert zero[2].startswith("0.375 (0.2")
    assert joint[-1] == "+0.0 (+0.0 to +0.0)"
    assert "too narrow" not in transfer_report(found).markdown()
    assert transfer_report(found).values["trainings"][2]["target"]["speakers"]["c-9"] == (18 + 20) / 40
