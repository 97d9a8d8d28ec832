"""Tables on terminals of 40, 80 and 120 columns: nothing is lost, and no word or figure is broken."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.text import Text

from edge.bundle import Bundle
from edge.cli.kit.display import new_table, print_table
from edge.room_store import RoomStore
from edge.settings import RoomSettings, Settings, SpeakerSettings
from helpers.conversation import Conversation
from helpers.rooms import learnt

Call = Callable[..., int]
Capture = pytest.CaptureFixture[str]

NAME = "Maximiliane von und zu Hohenstein"
WIDTHS = (40, 80, 120)
BOUNDLESS = 4_000
COMMANDS = {
    "enroll": ("enroll", NAME, "CLIPS", "--yes"),
    "speakers list": ("speakers", "list"),
    "speakers show": ("speakers", "show", NAME),
    "rooms list": ("rooms", "list"),
    "rooms show": ("rooms", "show", "USB Audio CODEC: Studio Microphone"),
    "doctor": ("doctor", "--source", "-"),
    "config show": ("config", "show", "--set", "vad.gate_dbfs=-50"),
}


@pytest.fixture
def shown(
    call: Call,
    conversation: Conversation,
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> Callable[[tuple[str, ...], int], list[str]]:
    """Return the lines that a command prints on a terminal of so many columns; somebody is enrolled, a room known."""
    store = tmp_path / "store"
    rooms = RoomStore(Settings(speakers=SpeakerSettings(store=str(store))))
    rooms.save("USB Audio CODEC: Studio Microphone", bundle, learnt(bundle, RoomSettings()))
    own = {"AFFECTD_SPEAKERS_STORE": store, "AFFECTD_ENCODER_BUNDLE": bundle.folder}
    for name, value in own.items():
        monkeypatch.setenv(name, str(value))
    assert call("enroll", NAME, conversation.path, "--yes", "--json") == 0

    def shown(command: tuple[str, ...], width: int) -> list[str]:
        capsys.readouterr()
        monkeypatch.setenv("COLUMNS", str(width))
        assert call(*(str(conversation.path) if word == "CLIPS" else word for word in command)) == 0
        return capsys.readouterr().out.splitlines()

    return shown


def words(lines: list[str]) -> list[str]:
    """Return what is said, without lines and heads of columns."""
    first = next((place for place, line in enumerate(lines) if "─" in line), -1)
    return sorted(word for line in lines[first + 1 :] for word in line.split() if "─" not in word)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_width_loses_or_breaks_a_word(
    command: tuple[str, ...], shown: Callable[[tuple[str, ...], int], list[str]]
) -> None:
    whole = words(shown(command, BOUNDLESS))
    for width in WIDTHS:
        lines = shown(command, width)
        assert max(map(len, lines)) <= width
        said = words(lines)
        broken = [word for word in whole if word not in said]
        # A path, or the like, may be longer than a line, and a few milliseconds are never the same twice.
        assert [word for word in broken if len(word) < 24 and not word.replace(".", "").isdigit()] == []


def test_rows_become_blocks_only_where_columns_would_break(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    table = new_table("name", "clips", "note")
    table.add_row(Text("Anna"), "8", "a note that is much longer than any terminal of forty columns is wide")
    table.add_row("7", "12", "short", style="bold")
    monkeypatch.setenv("COLUMNS", "44")
    print_table(table)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert (lines[0], lines[2]) == (" name   clips   note", " Anna   8       a note that is much longer")
    monkeypatch.setenv("COLUMNS", "30")
    print_table(table)
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "Anna",
        "  clips  8",
        "  note   a note that is much",
        "         longer than any",
        "         terminal of forty",
        "         columns is wide",
        "name 7",
        "  clips  12",
        "  note   short",
    ]
