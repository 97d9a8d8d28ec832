import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from calibrate.cli.app import main
from calibrate.corpora import Utterance, read_corpus
from calibrate.corpora.overview import emotions_picture, lengths_picture, speakers_picture, summarise, write_table
from edge.spreadsheet import plain
from helpers.calling import exit_code

PICTURES = {"lengths.png", "emotions.png", "speakers.png"}


def test_crema_d_becomes_a_table_with_all_that_is_known(
    crema_d: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tables"
    assert exit_code(main, monkeypatch, "affectd-calibrate", "table", "crema-d", crema_d, "--out", out) == 0
    assert "24" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"crema-d.csv", "summary.json", *PICTURES}
    with (out / "crema-d.csv").open(encoding="utf-8", newline="") as file:
        rows = {Path(row["path"]).stem: row for row in csv.DictReader(file)}
    assert len(rows) == 24
    angry = rows["1015_IEO_ANG_HI"]
    assert (angry["speaker"], angry["sentence"], angry["text"]) == ("1015", "IEO", "It's eleven o'clock")
    assert [angry[label] for label in ("neutral", "happy", "angry")] == ["0", "0", "1"]
    assert (angry["intensity"], angry["gender"], angry["age"], angry["race"]) == ("2", "m", "32", "African American")
    assert (angry["emotion"], angry["perceived"]) == ("anger", "anger:neutral")
    assert 0.3 <= float(angry["length_s"]) <= 0.5
    assert rows["1015_IEO_HAP_LO"]["intensity"] == "0"
    assert rows["1015_TIE_HAP_XX"]["intensity"] == ""
    assert (rows["1047_TIE_HAP_XX"]["race"], rows["1047_TIE_HAP_XX"]["ethnicity"]) == ("", "Hispanic")
    assert plt.imread(out / "speakers.png").shape[1] == 3 * 4 * 120, "gender, age and race"
    assert plt.get_fignums() == []


def test_esd_as_json_for_a_machine(
    esd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("table", "esd", esd, "--out", tmp_path, "--json")
    assert exit_code(main, monkeypatch, "affectd-calibrate", *arguments) == 0
    stdout, stderr = capsys.readouterr()
    assert stderr == ""
    summary = json.loads(stdout)
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert (summary["utterances"], summary["speakers"], summary["sentences"]) == (24, 4, 4)
    assert summary["emotions"] == {"angry": 8, "happy": 8, "neutral": 8}
    assert summary["gender"] == {"f": 2, "m": 2}
    assert summary["ages"] == []
    assert summary["intensity"] == {"unknown": 24}
    assert summary["length_s"]["shortest"] <= summary["length_s"]["median"] <= summary["length_s"]["longest"]
    assert plt.imread(tmp_path / "speakers.png").shape[1] == 4 * 120, "gender alone"


def test_the_plain_reader_reads_the_table_back(crema_d: Path, tmp_path: Path) -> None:
    utterances = read_corpus("crema-d", crema_d).utterances
    write_table(tmp_path / "crema-d.csv", utterances, [0.4] * len(utterances))
    again = read_corpus("csv", tmp_path / "crema-d.csv", strict=True).utterances
    for one, other in zip(utterances, again, strict=True):
        assert other.path.resolve() == one.path
        for fact in ("corpus", "speaker", "emotion", "gender", "intensity", "text"):
            assert getattr(other, fact) == getattr(one, fact)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\n")), st.floats(-10, 10))
@settings(max_examples=30, deadline=None)
def test_whatever_a_corpus_says_survives(tmp_path_factory: pytest.TempPathFactory, text: str, valence: float) -> None:
    table = tmp_path_factory.getbasetemp() / "any.csv"
    write_table(table, [Utterance(Path("a.wav"), "any", "any-ann", "Joy", text=text, valence=valence)], [None])
    with table.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (plain(row["text"]), row["speaker"], row["happy"], row["length_s"]) == (text, "ann", "1", "")
    assert float(row["valence"]) == pytest.approx(valence, rel=1e-4)


def test_what_cannot_be_opened_is_counted(crema_d: Path, tmp_path: Path) -> None:
    utterances = read_corpus("crema-d", crema_d).utterances[:3]
    gone = [*utterances, replace(utterances[0], path=tmp_path / "gone.wav")]
    summary = summarise(gone, [0.5, 0.4, 0.3, None])
    assert (summary["utterances"], summary["unreadable"], summary["length_s"]["longest"]) == (4, 1, 0.5)
    assert summarise(gone[3:], [None])["hours"] == 0
    for picture in (emotions_picture(gone), speakers_picture(gone), lengths_picture([None])):
        picture.write(tmp_path)
        assert (tmp_path / picture.file).is_file()


def test_mistakes_are_told_in_one_line(
    crema_d: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for message, corpus, folder in (
        ("did you mean 'crema-d'", "crema", crema_d),
        ("no such folder", "crema-d", tmp_path / "gone"),
        ("holds no recording of esd", "esd", crema_d),
    ):
        arguments = ("table", corpus, folder, "--out", tmp_path / "out")
        assert exit_code(main, monkeypatch, "affectd-calibrate", *arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
