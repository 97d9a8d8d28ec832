import csv
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from edge.journal import Journal
from edge.people.store import SpeakerStore
from helpers.journals import Writer, became, enrolled, said

Call = Callable[..., int]
Capture = pytest.CaptureFixture[str]
WEEK = (1, 1, 2, 3)
"""Days ago of what Anna says."""


def at(days_ago: float, hour: int = 12) -> datetime:
    """Return a local time of one of the last days."""
    return (
        datetime.now().replace(hour=hour, minute=5, second=0, microsecond=0) - timedelta(days=days_ago)
    ).astimezone()


def day(days_ago: int) -> str:
    return f"{at(days_ago):%Y-%m-%d}"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with a journal of the last days, in which Anna, Bo, strangers and a dog are heard."""
    folder = tmp_path / "store"
    enrolled(folder, "Anna", "Bo")
    happier = {"relative": {"neutral": -1.5, "happy": 2.0, "angry": -0.5}}
    with Writer(folder) as writer:
        for number, days_ago in enumerate(WEEK):
            writer.add(said("happy" if number else "neutral", "Anna", at(days_ago), needs_review=not number, **happier))
        writer.add(said("angry", "Bo", at(1), "hall"), said("neutral", None, at(1), "hall", speech=0.9))
        writer.add(said("angry", None, at(1, 15), "hall", speech=0.1))
        writer.add(became("disconnected", at(1, 14)), became("connected", at(1, 15)), became("ready", at(20)))
    return folder


@pytest.fixture
def history(call: Call, store: Path) -> Call:
    """Run ``affectd history`` with that store."""

    def history(*arguments: object) -> int:
        command = arguments[:1] if arguments[:1] == ("clear",) else ()
        return call("history", *command, "--store", store, *arguments[len(command) :])

    return history


def records(history: Call, capture: Capture, *arguments: object) -> list[dict[str, Any]]:
    capture.readouterr()
    assert history("--json", *arguments) == 0
    found: list[dict[str, Any]] = json.loads(capture.readouterr().out)
    return found


def rows(store: Path) -> int:
    with Journal(store / "journal.db") as journal:
        return journal.extent().rows


def test_days_and_people(history: Call, capsys: Capture) -> None:
    found = records(history, capsys)
    assert [(record["day"], record["person"], record["utterances"]) for record in found] == [
        (day(3), "Anna", 1),
        (day(2), "Anna", 1),
        (day(1), "Anna", 2),
        (day(1), "Bo", 1),
        (day(1), "—", 2),
    ]
    anna, bo, stranger = found[2:]
    assert anna["emotions"] == {"neutral": 0.5, "happy": 0.5, "angry": 0.0}
    assert (anna["needs_review"], anna["duration_s"], anna["than_usual"]) == (1, 5.0, "happier")
    assert anna["relative"] == {"neutral": -1.5, "happy": 2.0, "angry": -0.5}
    assert (bo["than_usual"], bo["relative"]) == (None, None)
    assert (stranger["emotions"]["neutral"], stranger["notes"]) == (1.0, {"no_speech": 1})


def test_hours_say_why_nobody_was_heard(history: Call, capsys: Capture) -> None:
    found = records(history, capsys, "--by", "hour", "--since", "yesterday")
    assert [(record["hour"][-5:], record["utterances"], record["notes"]) for record in found] == [
        ("12:00", 4, {}),
        ("14:00", 0, {"disconnected": 1}),
        ("15:00", 1, {"no_speech": 1, "connected": 1}),
    ]


@pytest.mark.parametrize(
    ("arguments", "utterances"),
    [
        (("--since", "30d"), 7),
        (("--since", "today"), 0),
        (("--person", "ANNA"), 4),
        (("--source", "hall"), 3),
        (("--source", "hall", "--person", "bo"), 1),
        (("--since", "{2}"), 6),
        (("--until", "{2}"), 2),
        (("--since", "{2}", "--until", "{2}"), 1),
        (("--until", "{1}T14:00"), 6),
        (("--since", "4d", "--until", "{3}"), 1),
        (("--since", "2w"), 7),
    ],
)
def test_what_is_counted_can_be_narrowed(
    arguments: tuple[str, ...], utterances: int, history: Call, capsys: Capture
) -> None:
    dates = [argument.format(*map(day, range(4))) for argument in arguments]
    found = records(history, capsys, "--by", "source", *dates)
    assert sum(record["utterances"] for record in found) == utterances


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("by", ["day,person", "hour", "source", "person"])
def test_a_table_fits_its_terminal(
    by: str, width: int, history: Call, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    capsys.readouterr()
    assert history("--by", by, "--since", "4d") == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= width
    heading = next(line for line in text.splitlines() if line.strip())
    assert heading.split()[: by.count(",") + 1] == by.split(",")
    if width == 120:
        assert {"neutral", "angry", "else"} <= set(heading.split())
    if width >= 80:
        assert "happier" in text
        assert "else" in heading or "person" in by
    assert text.count("Anna") == {"day,person": 3, "person": 1}.get(by, 0)


def test_each_utterance_by_itself(history: Call, store: Path, tmp_path: Path, capsys: Capture) -> None:
    found = records(history, capsys, "--by", "utterance", "--person", "Bo")
    (record,) = found
    assert datetime.fromisoformat(record.pop("time")) == at(1)
    assert record == {
        "source": "hall",
        "person": "Bo",
        "certainty": 0.9,
        "emotion": "angry",
        "confidence": 0.6,
        "speech": None,
        "duration_s": 2.5,
        "needs_review": False,
        "scores": {"neutral": 0.2, "happy": 0.2, "angry": 0.6},
        "than_usual": None,
        "relative": None,
    }
    file = tmp_path / "each.csv"
    assert history("--by", "utterance", "--csv", file) == 0
    assert capsys.readouterr().out.count("Anna") == 4
    with file.open(newline="") as lines:
        assert [line["angry"] for line in csv.DictReader(lines)].count("0.6") == 2


def test_a_spreadsheet_and_a_plot(history: Call, tmp_path: Path, capsys: Capture) -> None:
    table, plot = tmp_path / "h.csv", tmp_path / "h.svg"
    for _ in range(2):  # an earlier one is replaced
        assert history("--csv", table, "--plot", plot) == 0
    with table.open(newline="") as lines:
        found = list(csv.DictReader(lines))
    assert [(line["person"], line["happy"]) for line in found[2:]] == [("Anna", "0.5"), ("Bo", "0.0"), ("—", "0.0")]
    assert found[4]["notes"] == "no_speech 1"
    namespace = "{http://www.w3.org/2000/svg}"
    picture = ElementTree.parse(plot).getroot()
    assert picture.tag == f"{namespace}svg"
    bars = picture.findall(f"{namespace}rect")
    hints = sorted(bar.findtext(f"{namespace}title") or "" for bar in bars)
    assert f"{day(1)}: neutral 1 of 2" in hints
    assert len(bars) == 6
    text = [label.text for label in picture.findall(f"{namespace}text")]
    assert {"Anna", "Bo", "—", "neutral", "happy", day(3), day(2), day(1)} <= set(text)
    heights = {bar.findtext(f"{namespace}title"): float(bar.get("height", 0)) for bar in bars}
    assert heights[f"{day(3)}: happy 1 of 1"] == pytest.approx(60, abs=1)


@pytest.mark.parametrize("option", ["--csv", "--plot"])
def test_no_other_file_is_replaced(option: str, history: Call, tmp_path: Path, capsys: Capture) -> None:
    recording = tmp_path / "talk.wav"
    recording.write_bytes(b"RIFF")
    assert history(option, recording) == 2
    assert f"cannot write {recording}: it exists and is no" in capsys.readouterr().err
    assert recording.read_bytes() == b"RIFF"


@pytest.mark.parametrize("by", ["day", "hour", "person", "source", "source,day", "hour,person,source"])
def test_any_grouping_has_a_plot(by: str, history: Call, tmp_path: Path) -> None:
    assert history("--by", by, "--plot", tmp_path / "p.svg", "--since", "30d") == 0
    root = ElementTree.parse(tmp_path / "p.svg").getroot()
    assert len(root) > 10


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--by", "days"), 2, "--by 'days' is not one of day, hour, person, source, utterance (did you mean 'day'?)"),
        (("--by", "day,utterance"), 2, "is not one of"),
        (("--by", "utterance", "--plot", "x.svg"), 2, "a plot is by day, hour, person or source"),
        (("--since", "soon"), 2, "'soon' is no time: 2026-01-31, 2026-01-31T15:00, today, yesterday, or 7d"),
        (("--since", "999999d"), 2, "is no time"),
        (("--until", "9999-12-31"), 2, "is no time"),
        (("--person", "Ana"), 5, "nobody is called 'Ana' in"),
        (("--person", "Anna", "clear", "--yes"), 2, "stands before clear, where it has no effect: put it behind it"),
        (("--journal", __file__), 2, "it exists and is no journal of affectd"),
    ],
)
def test_mistakes_are_named(
    arguments: tuple[str, ...], code: int, message: str, history: Call, store: Path, capsys: Capture
) -> None:
    assert history(*arguments) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert rows(store) == 10


def test_an_empty_journal_says_how_to_fill_it(call: Call, history: Call, tmp_path: Path, capsys: Capture) -> None:
    for arguments in ((), ("--csv", tmp_path / "h.csv", "--plot", tmp_path / "h.svg"), ("--by", "utterance")):
        assert call("history", "--store", tmp_path / "none", *arguments) == 0
        stdout, stderr = capsys.readouterr()
        assert stdout == ""
        assert re.fullmatch(r"affectd: nothing is in .*journal\.db yet: affectd run --set outputs\..*\n", stderr)
    assert (tmp_path / "h.csv").read_text().startswith("day,person,utterances,")
    assert not (tmp_path / "none").exists()
    assert history("--since", "today") == 0
    assert f"which goes from {at(20):%Y-%m-%d %H:%M} to {at(1, 15):%Y-%m-%d %H:%M}" in capsys.readouterr().err


def test_another_key_is_said_and_a_missing_one_ends_it(history: Call, store: Path, capsys: Capture) -> None:
    key = (store / "store.key").read_text()
    (store / "store.key").unlink()
    assert history() == 5
    assert "the key of the store is missing" in capsys.readouterr().err
    (store / "store.key").write_text(key[::-1].strip() + "\n")
    (store / "store.key").chmod(0o600)
    assert history() == 0
    assert "how 7 of the utterances sounded cannot be read" in capsys.readouterr().err
    assert {"emotion", "scores"}.isdisjoint(records(history, capsys, "--by", "utterance")[0])
    assert history("--by", "utterance") == 0
    assert capsys.readouterr().out.count("unreadable") == 7


def test_names_follow_and_who_was_forgotten_elsewhere_has_a_number(history: Call, store: Path, capsys: Capture) -> None:
    with SpeakerStore.open(store) as opened:
        anna = opened.rename("anna", "Ada").id
    assert [record["person"] for record in records(history, capsys, "--by", "person")] == ["Ada", "Bo", "—"]
    with SpeakerStore.open(store) as opened:
        opened.forget("Ada")
    assert {record["person"] for record in records(history, capsys, "--by", "person")} == {anna[:8], "Bo", "—"}
    assert history("clear", "--person", anna[:8], "--yes") == 0
    assert {record["person"] for record in records(history, capsys, "--by", "person")} == {"Bo", "—"}


def test_the_journal_of_the_settings_is_read(call: Call, store: Path, tmp_path: Path, capsys: Capture) -> None:
    (store / "journal.db").rename(tmp_path / "moved.db")
    settings = tmp_path / "settings.toml"
    settings.write_text(f'[[outputs]]\ntype = "journal"\npath = "{tmp_path / "moved.db"}"\n')
    for place in (("--config", settings), ("--journal", tmp_path / "moved.db")):
        capsys.readouterr()
        assert call("history", "--store", store, *place, "--by", "person", "--json") == 0
        assert [record["person"] for record in json.loads(capsys.readouterr().out)] == ["Anna", "Bo", "—"]


def test_clear_needs_an_answer(history: Call, store: Path, capsys: Capture) -> None:
    assert history("clear") == 2
    assert "cannot be undone: run this on a terminal, or with --yes" in capsys.readouterr().err
    assert history("clear", "--before", day(1), "--yes", "--json") == 0
    stdout, stderr = capsys.readouterr()
    assert json.loads(stdout) == {"journal": str(store / "journal.db"), "deleted": 3}
    assert f"deleted everything from before {day(1)} 00:00 in {store / 'journal.db'}, rows: 3" in stderr
    assert history("clear", "--person", "anna", "--yes") == 0
    assert rows(store) == 5
    (store / "store.key").unlink()
    assert history("clear", "--yes") == 0
    assert rows(store) == 0


@pytest.mark.parametrize(("answer", "code", "left"), [(b"y\n", 0, 0), (b"n\n", 1, 10)])
def test_clear_asks_at_a_terminal(answer: bytes, code: int, left: int, clean_environment: None, store: Path) -> None:
    terminal, side = pty.openpty()
    command = [sys.executable, "-m", "edge", "history", "clear", "--store", str(store)]
    process = subprocess.Popen(command, stdin=side, stderr=side, stdout=subprocess.PIPE)
    os.close(side)
    os.write(terminal, answer)
    process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == code
    assert rows(store) == left


def test_a_person_takes_what_they_said_with_them(call: Call, store: Path, tmp_path: Path, capsys: Capture) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(f'[[outputs]]\ntype = "journal"\npath = "{tmp_path / "other.db"}"\n')
    (tmp_path / "other.db").write_bytes((store / "journal.db").read_bytes())
    with SpeakerStore.open(store) as opened:
        anna = opened.person("anna").id
    assert call("speakers", "show", "anna", "--store", store) == 0
    assert re.search(r"journal +4 utterances since ", capsys.readouterr().out)
    assert call("speakers", "forget", "anna", "--yes", "--json", "--store", store, "--config", settings) == 0
    stdout, stderr = capsys.readouterr()
    assert json.loads(stdout) == {"name": "Anna", "rooms": 0, "journal": 8}
    assert stderr == "affectd: Anna is forgotten, and so are 8 utterances in the journal\n"
    for path in [*store.glob("*.db*"), *tmp_path.glob("*.db*")]:
        assert anna.encode() not in path.read_bytes()
    assert call("speakers", "forget", "bo", "--yes", "--store", store) == 0
    assert capsys.readouterr().err == "affectd: Bo is forgotten, and so is 1 utterance in the journal\n"


def test_a_damaged_journal_hinders_nobody_from_being_forgotten(call: Call, store: Path, capsys: Capture) -> None:
    path = store / "journal.db"
    damaged = path.read_bytes()[:4096] + b"\xff" * 20_000
    path.write_bytes(damaged)
    with SpeakerStore.open(store) as opened:
        anna = opened.person("anna").id
    assert call("speakers", "show", "anna", "--store", store) == 0
    assert "what is in the journal is unknown" in capsys.readouterr().err
    assert call("speakers", "forget", "anna", "--yes", "--store", store) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"affectd: Anna is forgotten, but not in the journal: {path}: is damaged")
    assert f"then `affectd history clear --journal {path} --person {anna}`" in error
    assert path.read_bytes() == damaged
    path.write_bytes((store / "speakers.db").read_bytes())
    assert call("speakers", "forget", "bo", "--yes", "--store", store) == 0
