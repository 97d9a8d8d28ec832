import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from rich.console import Console

from edge.errors import UsageError
from edge.event import Event, SpeakerMatch
from edge.outputs import CsvTable, JsonLines, LiveTable, open_as, open_output, wanted_outputs
from edge.settings import OutputSettings
from edge.values import Value

LABELS = ["sad", "angry", "fear"]
NOW = "2026-01-02T03:04:05.678+01:00"


def utterance(**changes: object) -> Event:
    values = {
        "start_s": 61.25,
        "end_s": 63.0,
        "emotion": "angry",
        "confidence": 0.72,
        "scores": {"sad": 0.18, "angry": 0.72, "fear": 0.1},
        "needs_review": True,
        "latency_ms": {"endpoint": 510.0, "total": 534.6},
    }
    return Event("utterance", "talk.wav", NOW, **(values | changes))


def printed(*events: Event, width: int = 80, **console: object) -> str:
    stream = io.StringIO()
    table = LiveTable(Console(file=stream, width=width, **console))
    for event in events:
        table.write(event)
    return stream.getvalue()


def test_json_lines_are_flushed_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with path.open("w", encoding="latin-1") as stream:
        output = JsonLines(stream)
        output.open()
        output.write(utterance(speaker=SpeakerMatch("Zoë 🎤", 0.9)))
        assert json.loads(path.read_bytes())["speaker"] == {"name": "Zoë 🎤", "score": 0.9}
        output.write(utterance(path="bad\udcff.wav"))
    assert json.loads(path.read_bytes().splitlines()[1])["path"] == r"bad\udcff.wav"


def test_rows_fit_eighty_columns_under_one_heading() -> None:
    slow = {"endpoint": 510.0, "total": 1534.6}
    text = printed(
        utterance(room=0.35, latency_ms=slow),
        utterance(start_s=599.96, end_s=603.0, emotion="surprise", needs_review=False),
    )
    heading, first, second = text.splitlines()
    assert heading.split() == ["time", "speaker", "emotion", "confidence", "room", "then", "latency"]
    assert first.split() == ["1:01.2-1:03.0", "—", "angry", "━━━━╌╌", "72%", "?", "35%", "sad", "18%", "1535", "ms"]
    assert second.startswith("10:00.0-10:03.0")
    assert "?" not in second
    for column in ("speaker", "emotion", "confidence", "then", "latency"):
        assert first[heading.index(column) - 1] == " "
        assert first[heading.index(column)] != " "


def test_a_row_tells_the_speaker_what_was_cut_and_what_was_lost() -> None:
    row = printed(utterance(speaker=SpeakerMatch("Bartholomew", 0.9), truncated=True, dropped_s=1.25), width=100)
    assert "Bartholo  angry" in row
    assert row.rstrip().endswith("535 ms … 1.2 s lost")


@pytest.mark.parametrize(
    ("relative", "word"),
    [
        ({"sad": -1.0, "angry": 2.5, "fear": 1.5}, "angrier"),
        ({"sad": -1.0, "angry": 0.5, "fear": 1.5}, "more fear"),
        ({"sad": -1.0, "angry": 0.5, "fear": 0.9}, "as usual"),
    ],
)
def test_a_row_says_in_a_word_how_else_than_usual_someone_sounds(relative: dict[str, float], word: str) -> None:
    ann = SpeakerMatch("Ann", 0.9)
    assert printed(utterance(speaker=ann, relative=relative), width=100).rstrip().endswith(f"535 ms  {word}")
    assert word not in printed(utterance(speaker=ann), width=100)


def test_a_row_doubts_what_is_no_speech() -> None:
    assert "not speech?" in printed(utterance(speech=0.2), width=100)
    assert "not speech?" in printed(utterance(speech=0.2, path="dog.wav"), width=100)
    assert "speech" not in printed(utterance(speech=0.5), utterance(speech=None), width=100)


def test_analysed_rows_end_in_the_end_of_the_path() -> None:
    heading, row = printed(utterance(path="/a/rather/long/folder/of/recordings/clip-17.wav")).splitlines()
    assert heading.endswith("file")
    assert row[heading.index("file") - 1 : heading.index("file") + 1] == " …"
    assert row.endswith("recordings/clip-17.wav")
    assert "…" in row
    assert len(row) <= 80


def test_messages_are_printed_in_full() -> None:
    message = "a long reason " * 12
    text = printed(
        Event("status", "mic", NOW, message="ready: bundle tiny 0"),
        Event("skipped", "mic", NOW, start_s=1.0, end_s=2.0, message="too slow"),
        Event("error", "x.wav", NOW, path="x.wav", message=message),
    )
    assert text.startswith("ready: bundle tiny 0\n0:01.0-0:02.0    skipped: too slow\nerror: a long reason")
    assert text.count("reason") == 12


def test_colour_only_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1;31mangry" in printed(utterance(), force_terminal=True)
    assert "\x1b" not in printed(utterance())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in printed(utterance(), force_terminal=True)


def test_markup_in_names_is_text() -> None:
    assert "[red]" in printed(utterance(path="[red]x.wav"))
    assert "[/red]" in printed(Event("error", "x", NOW, message="cannot read [/red]"))


@pytest.mark.parametrize(
    ("terminal", "wanted", "kind"), [(True, False, LiveTable), (True, True, JsonLines), (False, False, JsonLines)]
)
def test_json_unless_on_a_terminal(terminal: bool, wanted: bool, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr("sys.stdout", stream)
    assert type(open_output(wanted)) is kind


def test_csv_has_a_column_per_label(tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    table = CsvTable(file, ["sad", "angry", "fear"])
    table.open()
    table.write(utterance(path="a, b.wav", room=0.25, speech=0.875))
    table.write(Event("status", "c.wav", NOW, message="ready"))
    table.write(Event("error", "c.wav", NOW, path="c.wav", message="is empty"))
    table.close()
    with file.open(newline="") as stream:
        spoken, failed = csv.DictReader(stream)
    assert (spoken["path"], spoken["emotion"], spoken["needs_review"]) == ("a, b.wav", "angry", "True")
    assert (float(spoken["room"]), float(spoken["speech"])) == (0.25, 0.875)
    assert [float(spoken[label]) for label in ("sad", "angry", "fear")] == [0.18, 0.72, 0.1]
    assert (failed["path"], failed["error"], failed["angry"]) == ("c.wav", "is empty", "")


def test_csv_names_the_source_of_what_is_not_from_a_file() -> None:
    stream = io.StringIO()
    table = CsvTable(stream, ["sad", "angry", "fear"])
    table.open()
    table.write(utterance())
    table.close()
    (row,) = csv.DictReader(io.StringIO(stream.getvalue()))
    assert (row["path"], row["emotion"]) == ("talk.wav", "angry")


def test_json_lines_have_a_file_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    output = JsonLines(file)
    output.open()
    output.write(utterance())
    assert json.loads(file.read_bytes())["emotion"] == "angry", "at once"
    output.close()
    assert output.name == str(file)
    with pytest.raises(UsageError, match="cannot write"):
        JsonLines(tmp_path).open()


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_file_is_continued_where_that_is_wanted(kind: Literal["json", "csv"], tmp_path: Path) -> None:
    """As a service is started again: nothing that was written is lost, but a line that the power cut in two."""
    path = tmp_path / "output"
    settings = OutputSettings(type=kind, path=str(path), append=True)
    for name in ("Ann", "Bob"):
        output = open_as(settings, LABELS)
        output.open()
        output.write(utterance(speaker=SpeakerMatch(name, 0.9)))
        output.close()
        with path.open("ab") as file:
            file.write(b"x" * 100_000)
    lines = path.read_text().splitlines()
    if kind == "json":
        assert [json.loads(line)["speaker"]["name"] for line in lines[:2]] == ["Ann", "Bob"]
        return
    assert [line.split(",")[3] for line in lines[:3]] == ["speaker", "Ann", "Bob"]
    other = open_as(settings, ["other", "labels"])
    with pytest.raises(UsageError, match="it has other columns"):
        other.open()
    assert path.read_text().splitlines()[:3] == lines[:3]


def test_the_settings_say_which_outputs_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO())
    files = (OutputSettings(path=str(tmp_path / "a.jsonl")), OutputSettings(type="csv", path=str(tmp_path / "a.csv")))
    shown = OutputSettings(type="table")

    def kinds(settings: tuple[OutputSettings, ...], json: bool = False) -> list[type]:
        return [type(open_as(output, ["sad"])) for output in wanted_outputs(settings, json)]

    assert kinds(()) == [JsonLines]
    assert kinds(files) == [JsonLines, CsvTable]
    assert kinds((shown, *files)) == [LiveTable, JsonLines, CsvTable]
    assert kinds((shown, *files), json=True) == [JsonLines, CsvTable, JsonLines]
    assert kinds((OutputSettings(type="csv"),)) == [CsvTable]
    assert kinds((OutputSettings(type="csv"),), json=True) == [JsonLines]


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_file_that_is_no_such_output_is_not_replaced(kind: Literal["json", "csv"], tmp_path: Path) -> None:
    path = tmp_path / "output"
    settings = OutputSettings(type=kind, path=str(path))
    table, lines = CsvTable(path, LABELS), JsonLines(path)
    own, other = (table, lines) if kind == "csv" else (lines, table)
    other.open()
    other.write(utterance())
    other.close()
    for content in (path.read_bytes(), b"RIFF", b'{"type": "FeatureCollection"}', b"path,emotion\n"):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="it exists and is no"):
            open_as(settings, LABELS)
        with pytest.raises(UsageError, match="it exists and is no"):
            own.open()
        assert path.read_bytes() == content
    path.unlink()
    for _ in range(2):
        output = open_as(settings, LABELS)
        output.open()
        output.write(utterance(speaker=SpeakerMatch("Ann", 0.9)))
        output.close()
    assert path.read_bytes().count(b"Ann") == 1, "an earlier one is replaced"


def early(event_type: str, **values: object) -> Event:
    return replace(utterance(id=1, **values), type=event_type)


def test_a_terminals_last_line_is_what_is_not_final_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    events = (
        early("speech_start"),
        early("provisional", emotion="sad"),
        early("resumed"),
        early("provisional", emotion="fear"),
        utterance(id=1),
        early("speech_start", start_s=70.0),
        Event("status", "mic", NOW, message="the room has changed"),
    )
    text = re.sub(r"\x1b\[[0-9;]*m", "", printed(*events, force_terminal=True))
    heading, first, second, last = (line.split("\r\x1b[2K") for line in text.split("\n"))
    assert heading[0].startswith("time")
    assert [row.split()[2:3] for row in first] == [[], ["sad"], [], ["fear"], ["angry"]]
    assert [row.split() for row in second] == [["1:10.0-…"], ["the", "room", "has", "changed"]]
    assert [row.split() for row in last] == [["1:10.0-…"]]


def test_what_is_no_terminal_gets_final_rows_only() -> None:
    text = printed(early("speech_start"), early("provisional", emotion="sad"), early("resumed"), utterance(id=1))
    heading, row = text.splitlines()
    assert heading.startswith("time")
    assert "angry" in row


@pytest.mark.parametrize("width", [40, 50, 79, 80, 120])
@pytest.mark.parametrize("path", [None, "recordings/of/a/long/winter/interview.wav"])
def test_the_answer_fits_any_terminal(width: int, path: str | None) -> None:
    heading, *rows = printed(utterance(speaker=SpeakerMatch("Ann", 0.9), path=path), width=width).splitlines()
    assert max(map(len, (heading, *rows))) <= width
    assert {"1:01.2-1:03.0", "Ann", "angry", "72%"} <= set(rows[-1].replace("?", "").split())
    assert "…" not in rows[-1].replace("…", "", 1 if path else 0)
    assert heading.split()[:3] == ["time", "speaker", "emotion"]
    assert ("interview.wav" in "".join(rows)) is (path is not None)


def test_a_file_is_named_once_above_its_rows_on_a_narrow_terminal() -> None:
    text = printed(*(utterance(path=path) for path in ("a.wav", "a.wav", "b.wav")), width=40)
    assert [line for line in text.splitlines() if line.endswith(".wav")] == ["a.wav", "b.wav"]


VALUES = {"arousal": Value(0.421, -1.0, 1.0), "valence": Value(-0.25, -1.0, 1.0)}


def test_csv_has_a_column_per_value_after_those_of_the_labels() -> None:
    stream = io.StringIO()
    table = CsvTable(stream, [*LABELS, "arousal", "valence"])
    table.open()
    table.write(utterance(values=VALUES))
    table.write(utterance())
    valued, plain = csv.DictReader(io.StringIO(stream.getvalue()))
    assert list(valued)[-3:] == ["fear", "arousal", "valence"]
    assert (float(valued["arousal"]), float(valued["valence"])) == (0.421, -0.25)
    assert plain["arousal"] == "", "another bundle answered"


def test_a_row_ends_in_the_values_and_leaves_a_path_what_it_can() -> None:
    assert printed(utterance(values=VALUES), width=120).rstrip().endswith("535 ms  arousal 0.42  valence -0.25")
    row = printed(utterance(values=VALUES, path="/a/long/folder/clip-17.wav"), width=120).splitlines()[1]
    assert row.endswith("/a/long/folder/clip-17.wav  arousal 0.42  valence -0.25")


def test_json_has_values_with_their_range_or_none() -> None:
    event = utterance(values=VALUES).to_dict()
    assert event["values"]["arousal"] == {"value": 0.421, "low": -1.0, "high": 1.0}
    assert "values" not in utterance().to_dict()
