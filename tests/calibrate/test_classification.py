import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt
from sklearn import metrics

from calibrate.cli.app import main
from calibrate.experiments.classification import averages, classification_report, rows
from calibrate.metrics import Figures, figures
from calibrate.recipe import Recipe
from helpers.calling import exit_code
from helpers.run_folders import LOG, write_run

LABELS = ("neutral", "happy", "sad", "angry")
PROTOCOL = "test speakers of a <draw>"

Call = Callable[..., int]
Write = Callable[..., Path]


def made(seed: int = 0, present: int = 4) -> tuple[Figures, np.ndarray, np.ndarray]:
    """60 utterances of the first labels, half of them answered at random."""
    rng = np.random.default_rng(seed)
    true = rng.choice(present, size=60, p=np.arange(1, present + 1) / np.arange(1, present + 1).sum())
    predicted = np.where(rng.random(60) < 0.5, true, rng.integers(4, size=60))
    probabilities = np.eye(4, dtype=np.float32)[predicted]
    return figures(probabilities, true, [f"s{row % 5}" for row in range(60)], LABELS), predicted, true


def test_figures_are_those_of_scikit_learn() -> None:
    figure, predicted, true = made()
    expected = metrics.classification_report(true, predicted, labels=range(4), target_names=LABELS, output_dict=True)
    described = classification_report({"x": figure}, LABELS, PROTOCOL, None).values["corpora"]["x"]
    for label in LABELS:
        row = figure.classes[label]
        assert (row.precision, row.recall, row.f1, row.support) == pytest.approx(
            tuple(expected[label][name] for name in ("precision", "recall", "f1-score", "support"))
        )
    for name in ("macro", "weighted"):
        shares = tuple(expected[f"{name} avg"][of] for of in ("precision", "recall", "f1-score"))
        assert averages(figure)[f"{name} average"] == pytest.approx(shares)
        assert described[f"{name} average"]["f1"] == round(shares[2], 4)
    assert ("accuracy", "", "", pytest.approx(expected["accuracy"]), 60) in rows(figure)


def test_labels_that_do_not_occur_count_in_no_average() -> None:
    figure, predicted, true = made(present=3)
    assert 3 in predicted
    expected = metrics.classification_report(true, predicted, labels=range(3), output_dict=True, zero_division=0)
    assert averages(figure)["macro average"][2] == pytest.approx(expected["macro avg"]["f1-score"])
    assert "angry" not in classification_report({"x": figure}, LABELS, PROTOCOL, None).markdown()


def test_one_page_holds_everything(tmp_path: Path) -> None:
    corpora = {"ravdess": made(0)[0], "a<b": made(1)[0]}
    log = tmp_path / "log.csv"
    log.write_text(LOG)
    out = tmp_path / "deep" / "out"
    classification_report(corpora, LABELS, PROTOCOL, log).write(out)
    html = (out / "report.html").read_text()
    assert html.count("data:image/png;base64,") == 3, "two confusion matrices, one training"
    assert re.findall(r"(?:src|href)=\"(?!data:)", html) == []
    assert "&lt;draw&gt;" in html
    assert "a&lt;b" in html
    assert "<td>weighted average</td>" in html
    classification_report(corpora, LABELS, PROTOCOL, None).write(tmp_path)
    assert (tmp_path / "report.html").read_text().count("data:image/png") == 2
    with (out / "report.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["label"] for row in table] == [*LABELS, "accuracy", "macro average", "weighted average"] * 2
    assert table[0]["corpus"] == "ravdess"
    assert float(table[1]["recall"]) == pytest.approx(corpora["ravdess"].classes["happy"].recall, abs=5e-4)
    text = (out / "report.md").read_text()
    assert "![confusion matrix](confusion-ravdess.png)" in text
    assert "![losses and validation UA](training.png)" in text
    for markdown_table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in markdown_table.splitlines()}) == 1
    assert plt.get_fignums() == []


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return lambda *arguments: exit_code(main, monkeypatch, "affectd-calibrate", *arguments, "--threads", 1)


def test_the_report_of_a_run_and_of_a_bundle(
    call: Call,
    encoders: dict[str, Path],
    bundle_folder: Path,
    data: Path,
    recipe_of: Callable[..., Recipe],
    recipe_file: Write,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = recipe_file()
    write_run(tmp_path / "mine", recipe_of(), encoders["whisper"], ("ravdess-01", "office-anna"))
    assert call("report", "mine", "--data", data, "--out", "report", "--json") == 0
    stdout, stderr = capsys.readouterr()
    assert stderr == ""
    described = json.loads(stdout)
    assert described == json.loads((tmp_path / "report" / "report.json").read_text())
    assert described["protocol"] == (
        "test speakers of splits.csv, never trained on; what is spoken in each file; run mine, torch"
    )
    assert (tmp_path / "report" / "training.png").is_file()
    assert call("report", bundle_folder, "--data", data, "--recipe", recipe, "--out", "other") == 0
    assert "report written to other/report.html" in capsys.readouterr().out
    assert not (tmp_path / "other" / "training.png").exists()
    assert call("report", "mine", "--data", data, "--out", "train", "--split", "train") == 0
    protocol = "2 of 6 trained on; what is spoken in each file; run mine, torch"
    assert protocol in (tmp_path / "train" / "report.md").read_text()


def test_mistakes_are_told_in_one_line(
    call: Call, bundle_folder: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for message, model, options in (
        ("holds neither bundle.json", tmp_path, ()),
        ("a bundle is evaluated with --recipe", bundle_folder, ()),
    ):
        assert call("report", model, "--data", data, "--out", "report", *options) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "report").exists()
