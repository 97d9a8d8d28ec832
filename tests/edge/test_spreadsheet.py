import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.event import Event, SpeakerMatch
from edge.outputs import CsvTable
from edge.people.clip_labels import read_labels, real_path
from edge.spreadsheet import FORMULA, CsvWriter, harmless, plain

DANGEROUS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "+49 30 1234", "=", "--1"]
DANGEROUS += ["＝1+1", "'=1+1", "''@a"]  # noqa: RUF001  (a full-width sign)


@pytest.mark.parametrize("text", DANGEROUS)
def test_a_formula_is_marked_and_comes_back(text: str) -> None:
    assert harmless(text) == f"'{text}"
    assert plain(f"'{text}") == text


@pytest.mark.parametrize("cell", [-1.5, 0, None, True, "-1.5", "+3", "-1e-05", "", "a=b", "-", "'quoted'", "Ann", "—"])
def test_everything_else_stays(cell: object) -> None:
    assert harmless(cell) is cell
    if isinstance(cell, str):
        assert plain(cell) == cell


@given(st.lists(st.one_of(st.text(), st.sampled_from(DANGEROUS), st.floats(allow_nan=False)), min_size=1))
def test_no_cell_begins_a_formula(cells: list[object]) -> None:
    file = io.StringIO(newline="")
    CsvWriter(file).writerows([cells])
    (row,) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    for cell, written in zip(cells, row, strict=True):
        if isinstance(cell, float):
            assert float(written) == cell
        else:
            assert written == "-" or not FORMULA.match(written) or float(written) is not None
            assert plain(written) == cell


def test_nobodys_name_is_run_by_a_spreadsheet(tmp_path: Path) -> None:
    table = CsvTable(tmp_path / "table.csv", ["happy"])
    table.open()
    for name in ("=1+1", "-Bo", "@ann"):
        table.write(Event("utterance", name, "now", speaker=SpeakerMatch(name, 0.9), emotion="happy", confidence=0.5))
        table.write(Event("error", "x.wav", "now", path=f"{name}/x.wav", message=f"{name}: is damaged"))
    table.close()
    rows = list(csv.DictReader((tmp_path / "table.csv").open(newline="")))
    assert [row["path"] for row in rows] == ["'=1+1", "'=1+1/x.wav", "'-Bo", "'-Bo/x.wav", "'@ann", "'@ann/x.wav"]
    assert [row["speaker"] for row in rows[::2]] == ["'=1+1", "'-Bo", "'@ann"]
    assert [row["error"] for row in rows[1::2]] == ["'=1+1: is damaged", "'-Bo: is damaged", "'@ann: is damaged"]
    assert {row["confidence"] for row in rows[::2]} == {"0.5"}


def test_a_table_of_ours_is_read_as_labels(tmp_path: Path) -> None:
    (tmp_path / "=1.wav").touch()
    (tmp_path / "labels.csv").write_text("path,emotion\n'=1.wav,happy\n")
    assert read_labels(tmp_path / "labels.csv", ("happy",)) == {real_path(tmp_path / "=1.wav"): "happy"}
