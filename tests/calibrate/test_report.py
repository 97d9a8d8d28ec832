import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt

from calibrate.metrics import Figures, figures
from calibrate.report import (
    Note,
    Picture,
    Report,
    Table,
    deviation,
    figures_report,
    headline,
    interval,
    points,
    spread,
    summary,
    training_picture,
)

LABELS = ("neutral", "happy", "sad", "angry")
PROTOCOL = "test speakers of splits.csv, never trained on"


def made(right: int, speakers: int = 12) -> Figures:
    """24 utterances of three of the labels, this many of them right, the rest called sad."""
    true = np.array([0, 1, 3] * 8)
    predicted = np.where(np.arange(24) < right, true, 2)
    probabilities = np.where(np.eye(4, dtype=bool)[predicted], 0.7, 0.1).astype(np.float32)
    genders = [("f", "m", None)[row % 3] for row in range(24)]
    return figures(probabilities, true, [f"s{row % speakers:02d}" for row in range(24)], LABELS, genders)


@pytest.fixture
def corpora() -> dict[str, Figures]:
    return {"ravdess": made(18), "office": made(0)}


def test_a_report_holds_every_figure(tmp_path: Path, corpora: dict[str, Figures]) -> None:
    figures_report(corpora, LABELS, PROTOCOL).write(tmp_path / "deep" / "report")
    folder = tmp_path / "deep" / "report"
    assert {path.name for path in folder.iterdir()} == {
        "report.md",
        "metrics.json",
        "confusion-ravdess.png",
        "confusion-office.png",
    }
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["protocol"] == PROTOCOL
    assert metrics["corpora"]["ravdess"] == summary(corpora["ravdess"])
    assert metrics["corpora"]["ravdess"]["ua"] == 0.75
    assert metrics["corpora"]["ravdess"]["speaker_ua"]["s00"] == 1
    assert metrics["corpora"]["office"]["confusion"] == [[0, 0, 8, 0], [0, 0, 8, 0], [0, 0, 0, 0], [0, 0, 8, 0]]
    for picture in folder.glob("*.png"):
        assert plt.imread(picture).shape[0] > 300
    assert plt.get_fignums() == []


def test_the_markdown_reads_right(corpora: dict[str, Figures]) -> None:
    text = figures_report(corpora, LABELS, PROTOCOL).markdown()
    assert text.startswith(f"Protocol: {PROTOCOL}.\n")
    assert "| ravdess | 24 | 12 | 0.750 | 0.59 to 0.90 | 0.750 |" in text
    assert "| office | 24 | 12 | 0.000 | 0.00 to 0.00 | 0.000 | 0.000 | 0.700 | 0.000 | 0.000 | 0.000 |" in text
    assert "| happy | 1.000 | 0.750 | 0.857 | 8 |" in text
    assert "| s11 | 0.500 |" in text
    assert "| gender | UA |\n|---|---|\n| female | 0.750 |\n| male | 0.750 |\n" in text
    assert "![confusion matrix](confusion-office.png)" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    assert headline({}).markdown() == headline(corpora).markdown()[:2]


def test_a_summary_is_rounded_json(corpora: dict[str, Figures]) -> None:
    described = summary(made(17))
    assert described == json.loads(json.dumps(described))
    assert described["ua"] == round(made(17).ua, 4)
    assert described["gini"] == round(made(17).gini, 4) > 0
    assert described["gender_ua"] == {"f": 0.75, "m": 0.75}
    assert described["mean_speaker_ua"] == round(made(17).mean_speaker_ua, 4)


def test_the_training_log_is_drawn(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("epoch,train_loss,validation_loss,validation_ua,learning_rate\n1,1.9,2.0,0.2,0.1\n2,1.5,1.8,0.4,0\n")
    training_picture(log).write(tmp_path)
    assert plt.imread(tmp_path / "training.png").shape[1] == 1_080
    assert plt.get_fignums() == []


@pytest.fixture
def report() -> Report:
    """One of everything."""
    return Report(
        ("x.md", "x.csv", "x.json", "x.html"),
        "A title",
        "as drawn",
        {"ua": 0.5},
        [
            Table(("corpus", "UA", "n"), [("[bold]", 0.12345, 3), ("b", None, math.nan)], caption="n: utterances"),
            Note("Only here.", medium="file"),
            Note("Only [there].", medium="terminal"),
            Picture("dot.png", "a dot", lambda figure: figure.subplots().plot(1, 1), (2, 1)),
        ],
        sheet=Table(("corpus", "ua"), [("a", 0.12345)]),
        parts={"deeper": Report(("y.json",), "", "", {}, ())},
        attachments=(lambda out: (out / "along.txt").touch(),),
        closing="all written to {out}",
    )


def test_one_description_becomes_every_file(report: Report, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    report.write(out)
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {"x.md", "x.csv", "x.json", "x.html", "dot.png", "along.txt", "deeper/y.json"}
    assert (out / "x.md").read_text() == (
        "# A title\n\nProtocol: as drawn.\n\n| corpus | UA | n |\n|---|---|---|\n| [bold] | 0.123 | 3 |\n| b | - | - |"
        "\n\nN: utterances.\n\nOnly here.\n\n![a dot](dot.png)\n"
    )
    assert json.loads((out / "x.json").read_text()) == {"protocol": "as drawn", "ua": 0.5}
    assert (out / "x.csv").read_bytes() == b"corpus,ua\r\na,0.123\r\n"
    assert "<td>0.123</td>" in (out / "x.html").read_text()
    assert "[there]" not in (out / "x.html").read_text()
    assert json.loads((out / "deeper" / "y.json").read_text()) == {}, "without a protocol"


def test_the_terminal_shows_tables_or_json(report: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report.write(None)
    report.show()
    shown = capsys.readouterr().out
    assert "A title" in shown
    assert "[bold]" in shown, "names are no markup"
    assert "Only [there]." in shown
    assert "Only here." not in shown
    assert "written" not in shown
    report.show(out=tmp_path)
    assert capsys.readouterr().out.endswith(f"all written to {tmp_path}\n")
    report.show(as_json=True, out=tmp_path)
    assert json.loads(capsys.readouterr().out) == report.values


def test_numbers_in_cells() -> None:
    assert spread([]) == "-"
    assert spread([0.5]) == "0.500"
    assert spread([0.4, 0.6]) == "0.500 ± 0.141"
    assert deviation([1.0]) == 0
    assert interval(0.5, 0.4, 0.6) == "0.500 (0.400 to 0.600)"
    assert points(-0.012) == "-1.2"
    assert points(0.1, 0.05, 0.15) == "+10.0 (+5.0 to +15.0)"
