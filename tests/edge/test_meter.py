"""What a terminal's last line says of the sources."""

import io
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edge.audio import Waveform
from edge.bundle import Bundle
from edge.engine import Engine
from edge.event import Event
from edge.meter import FALL_DB_PER_S, HOLD_S, SILENT_DBFS, Meter
from edge.outputs import LiveTable, can_refresh
from edge.outputs.meter_line import meter_line
from edge.recognizer import Recognizer
from helpers.running import Played, Recorder, encoder
from helpers.signals import silence, speech_like

NOW = "2026-01-02T03:04:05.678+01:00"
WIDTHS = (40, 80, 120)
BEHIND_A_SHELL = """
import fcntl, os, sys, termios
from rich.console import Console
from edge.meter import Meter
from edge.outputs import LiveTable
meter = Meter()
meter.name = "mic"
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
for behind in (False, True):
    if os.fork() == 0:
        if behind:
            os.setpgid(0, 0)
        LiveTable(Console(file=sys.stdout, force_terminal=True)).refresh([meter])
        sys.stdout.flush()
        os._exit(0)
    os.wait()
    print("|", flush=True)
"""


class Clock:
    """A clock that the test moves."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def tone(dbfs: float, count: int = 480) -> Waveform:
    """A square wave of this level."""
    return (10 ** (dbfs / 20) * np.resize([1, -1], count)).astype(np.float32)


def metered(name: str = "mic", dbfs: float = -35.0, voiced: bool = False, too_short: int = 0) -> Meter:
    meter = Meter(Clock())
    meter.name, meter.too_short = name, too_short
    meter.follow(tone(dbfs), voiced)
    return meter


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_meter_goes_up_at_once_and_down_slowly_also_where_no_audio_comes() -> None:
    clock = Clock()
    meter = Meter(clock)
    assert meter.level_dbfs == SILENT_DBFS
    meter.follow(tone(-20))
    assert meter.level_dbfs == pytest.approx(-20, abs=0.1)
    clock.now_s += 0.5
    assert meter.level_dbfs == pytest.approx(-20 - FALL_DB_PER_S / 2, abs=0.1)
    meter.follow(tone(-60))
    assert meter.level_dbfs == pytest.approx(-20 - FALL_DB_PER_S / 2, abs=0.1), "a quieter block is below it"
    meter.follow(tone(-10))
    assert meter.level_dbfs == pytest.approx(-10, abs=0.1)
    meter.follow(np.zeros(0, np.float32))
    clock.now_s += 60
    assert meter.level_dbfs == SILENT_DBFS


def test_a_voice_and_clipping_are_shown_for_a_moment() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.follow(tone(0), voiced=True)
    meter.follow(tone(-40))
    assert (meter.hears_voice, meter.is_clipping) == (True, True)
    clock.now_s += 0.9 * HOLD_S
    meter.follow(tone(-40), voiced=True)
    clock.now_s += 0.2 * HOLD_S
    assert (meter.hears_voice, meter.is_clipping) == (True, False)
    clock.now_s += HOLD_S
    assert (meter.hears_voice, meter.is_clipping) == (False, False)


def test_a_line_says_level_voice_and_what_was_not_reported() -> None:
    unreported = {"mic": {"too slow": 1, "by others": 2, "not speech": 0}}
    assert meter_line([metered()], {}, 80).plain.rstrip() == "━━━━━╌╌╌╌╌       -35 dBFS"
    heard = meter_line([metered(voiced=True, too_short=3)], unreported, 80)
    assert heard.plain.rstrip() == "━━━━━╌╌╌╌╌ voice -35 dBFS  3 too short, 1 too slow, 2 by others"
    assert [(heard.plain[span.start : span.end], span.style) for span in heard.spans][:2] == [
        ("━━━━━╌╌╌╌╌", "green"),
        (" voice", "green"),
    ]
    assert meter_line([metered(voiced=True, too_short=3)], unreported, 40).plain.rstrip().endswith("3 too short")
    assert "too loud" in meter_line([metered(dbfs=0)], {}, 80).plain
    assert not meter_line([Meter()], {}, 80), "nothing came from it yet"


@pytest.mark.parametrize("width", WIDTHS)
def test_several_sources_share_the_line(width: int) -> None:
    meters = [metered("kitchen", voiced=True), metered("a very long name of a hall", too_short=2)]
    line = meter_line([*meters, Meter()], {}, width)
    assert line.cell_len <= width
    name = "a ve" if width == 40 else "a very"
    assert re.match(rf"kitc\S* +━━━╌╌╌ voice .* {name}.* ━━━╌╌╌ ", line.plain)
    assert ("2 too short" in line.plain) == (width == 120)
    assert ("dBFS" in line.plain) == (width > 40)
    many = meter_line([metered(f"room{number}") for number in range(9)], {}, width)
    assert many.cell_len <= width
    assert many.plain.rstrip().endswith(f" +{9 - many.plain.count('roo')}")
    assert many.plain.count("━━━╌╌╌") == many.plain.count("roo") == (width + 2) // 20


@given(
    names=st.lists(st.text(min_size=1, max_size=30), max_size=12),
    dbfs=st.floats(-200, 0),
    count=st.integers(0, 10**9),
    width=st.integers(1, 200),
)
def test_no_line_is_longer_than_the_terminal(names: list[str], dbfs: float, count: int, width: int) -> None:
    meters = [metered(name, dbfs, bool(count % 2), count) for name in names]
    line = meter_line(meters, {name: {"too slow": count} for name in names}, width)
    assert line.cell_len <= width
    assert "\n" not in line.plain


def shown(table: LiveTable, stream: io.StringIO, *steps: Event | Sequence[Meter]) -> list[list[str]]:
    """Return what each line of the terminal showed, one after the other."""
    for step in steps:
        if isinstance(step, Event):
            table.write(step)
        else:
            table.refresh(step)
    table.close()
    return [line.split("\r\x1b[2K") for line in plain(stream.getvalue()).split("\n")]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> tuple[LiveTable, io.StringIO]:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = io.StringIO()
    return LiveTable(Console(file=stream, width=100, force_terminal=True)), stream


def utterance(kind: str = "utterance", **values: object) -> Event:
    answer = {} if kind in ("speech_start", "resumed") else {"emotion": "sad", "confidence": 0.7, "end_s": 2.0}
    return Event(kind, "mic", NOW, id=1, start_s=1.0, **answer | values)


def test_the_last_line_is_a_meter_before_while_and_after_somebody_speaks(
    terminal: tuple[LiveTable, io.StringIO],
) -> None:
    quiet, voice = [metered(dbfs=-63)], [metered(voiced=True)]
    ready = Event("status", "mic", NOW, message="ready")
    start, provisional, end = utterance("speech_start"), utterance("provisional"), utterance(speech=0.2)
    other = Event("skipped", "mic", NOW, id=2, start_s=1.0, end_s=2.0, reason="other_voice", message="another")
    slow = Event("skipped", "mic", NOW, id=3, start_s=1.0, end_s=2.0, reason="too_slow", message="slow")
    steps = (ready, quiet, voice, start, voice, provisional, voice, end, other, slow, quiet)
    first, *_, before_heading, row, _, _, last = shown(*terminal, *steps)
    assert first == ["ready"]
    assert [line.split()[:3] for line in before_heading[:2]] == [
        ["━╌╌╌╌╌╌╌╌╌", "-63", "dBFS"],
        ["━━━━━╌╌╌╌╌", "voice", "-35"],
    ]
    assert before_heading[-1].startswith("time")
    assert [line.split()[0] for line in row] == ["0:01.0-…", "0:01.0-…", *["0:01.0-0:02.0"] * 3]
    assert all(re.search(r"━ *voice|━╌+ voice", line) for line in row[:2])
    assert "not speech?" in row[-1]
    assert last[-2].rstrip().endswith("dBFS  1 not speech, 1 by others, 1 too slow")
    assert last[-1] == "", "the end leaves an empty line"


def test_a_meter_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for width in WIDTHS:
        stream = io.StringIO()
        table = LiveTable(Console(file=stream, width=width, force_terminal=True))
        meters = [metered(voiced=True, too_short=10**6)]
        (lines,) = shown(table, stream, meters, meters)
        assert [len(line) < width and "voice" in line for line in lines] == [True, True, False]
        start, *_ = shown(table, stream, utterance("speech_start"), meters)[1:]
        assert all(len(line) < width for line in start)
        assert "0:01.0-…" in start[-2]


@pytest.mark.parametrize("console", [{}, {"force_terminal": True}])
def test_what_cannot_erase_a_line_has_no_meter(console: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert not can_refresh(LiveTable(Console(file=io.StringIO(), **console)))


def test_a_table_behind_a_shell_leaves_the_terminal_to_it() -> None:
    terminal, side = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", BEHIND_A_SHELL], stdin=side, stdout=side, start_new_session=True, env=environment
    )
    os.close(side)
    text = b""
    while text.count(b"|") < 2 and (data := os.read(terminal, 10_000)):
        text += data
    assert process.wait() == 0
    os.close(terminal)
    in_front, behind, _ = text.split(b"|")
    assert b"dBFS" in in_front
    assert behind.strip() == b""


class Watched(Recorder):
    """A display that keeps what the sources heard when it was refreshed."""

    can_refresh = True

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[str, Meter] = {}
        self.refreshed = threading.Event()

    def refresh(self, meters: Sequence[Meter]) -> None:
        self.heard = {meter.name: meter for meter in meters if meter.name}
        self.refreshed.set()


def test_a_display_sees_what_each_source_hears(bundle: Bundle) -> None:
    display, recorder, levels_dbfs = Watched(), Recorder(), {}

    def look() -> None:
        hall.ended.wait(60)
        for _ in range(2):  # the first may have begun before
            display.refreshed.clear()
            assert display.refreshed.wait(60)
        levels_dbfs.update({name: meter.level_dbfs for name, meter in display.heard.items()})

    burst = np.concatenate([silence(2.0), speech_like(0.15), silence(1.0)])
    hall = Played(silence(1.0), name="hall")
    kitchen = Played(burst, look, name="kitchen")
    settings = encoder()
    Engine([hall, kitchen], Recognizer(bundle, settings.encoder), [recorder, display], settings).run()
    assert levels_dbfs.keys() == {"kitchen"}, "the hall is over"
    assert {name: meter.too_short for name, meter in display.heard.items()} == {"kitchen": 1}
    assert [event.type for event in display.events] == [event.type for event in recorder.events]
