"""``edge.listen``: live audio as a program uses it."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge
import edge.listening
from edge.capture import Block
from edge.timing import Timing
from helpers.conversation import Conversation
from helpers.signals import silence, speech_like
from helpers.virtual_microphone import VirtualMicrophone

ROOT = Path(__file__).resolve().parents[2]
FAST = {"capture.realtime": False}
EMOTIONS = ["neutral", "happy", "angry"]


@pytest.fixture(scope="module")
def model(bundle_folder: Path) -> edge.Model:
    return edge.load(bundle_folder)


class Room:
    """A source of a program's own: three blocks of speech, then it goes on in silence until it is closed."""

    name = "room"
    can_wait = False

    def __init__(self) -> None:
        self.closed = threading.Event()

    def blocks(self) -> Iterator[Block]:
        for _ in range(3):
            yield Block(np.concatenate([speech_like(1.0), silence(0.8)]).astype(np.float32), time.monotonic())
        while not self.closed.wait(0.01):
            yield Block(np.zeros(480, np.float32), time.monotonic())

    def close(self) -> None:
        self.closed.set()


class Kept:
    """An output that keeps what it gets."""

    name = "kept"

    def __init__(self) -> None:
        self.events: list[edge.Event] = []

    def open(self) -> None: ...

    def write(self, event: edge.Event) -> None:
        self.events.append(event)

    def close(self) -> None: ...


def emotions(events: Iterator[edge.Event] | list[edge.Event]) -> list[str | None]:
    return [event.emotion for event in events if event.type == "utterance"]


def test_a_file_to_its_end(model: edge.Model, conversation: Conversation) -> None:
    with edge.listen(conversation.path, model=model, settings=FAST) as events:
        seen = list(events)
    assert emotions(seen) == EMOTIONS
    assert [event.type for event in (seen[0], seen[-1])] == ["status", "status"]
    assert events.summary is not None
    assert events.summary.utterances == 3


def test_leaving_the_loop_ends_the_run(model: edge.Model) -> None:
    room = Room()
    before = threading.active_count()
    with edge.listen(room, model=model) as events:
        for event in events:
            if event.type == "utterance":
                break
    assert room.closed.is_set()
    assert threading.active_count() <= before


def test_stop_from_another_thread_ends_the_loop(model: edge.Model) -> None:
    with edge.listen(Room(), model=model) as events:
        threading.Timer(0.3, events.stop).start()
        assert len(emotions(list(events))) == 3


def test_several_sources_at_once(model: edge.Model, conversation: Conversation, tmp_path: Path) -> None:
    copy = tmp_path / "copy.wav"
    copy.write_bytes(conversation.path.read_bytes())
    with edge.listen([conversation.path, copy], model=model, settings=FAST) as events:
        seen = list(events)
    for name in (conversation.path.name, "copy.wav"):
        assert emotions([event for event in seen if event.source == name]) == EMOTIONS


def test_the_sources_of_the_settings(model: edge.Model, conversation: Conversation) -> None:
    entries = {
        f"sources.{number}.{key}": value
        for number, name in enumerate(("hall", "yard"))
        for key, value in (("name", name), ("source", str(conversation.path)), ("realtime", False))
    }
    with edge.listen(model=model, settings=entries) as events:
        heard = [event.source for event in events if event.type == "utterance"]
    assert sorted(heard) == ["hall"] * 3 + ["yard"] * 3
    with edge.listen(conversation.path, model=model, settings=entries | FAST) as events:
        assert {event.source for event in events} == {"conversation.wav"}


def test_outputs_and_observers_get_what_the_loop_gets(model: edge.Model, conversation: Conversation) -> None:
    kept = Kept()
    timings: list[Timing] = []
    with edge.listen(
        conversation.path, model=model, settings=FAST, outputs=[kept], observers=[timings.append]
    ) as events:
        seen = list(events)
    assert kept.events == seen
    assert len(timings) == 3


@pytest.mark.parametrize(
    ("source", "people", "error", "message"),
    [
        ("missing.wav", None, edge.AudioFileError, r"missing\.wav: no such file"),
        ("missing.wav", "zoe", edge.StoreError, "nobody is called 'zoe'"),
    ],
)
def test_what_fails_is_raised_where_it_is_iterated(
    model: edge.Model, source: str, people: str | None, error: type[Exception], message: str
) -> None:
    with edge.listen(source, model=model, people=people, settings=FAST) as events, pytest.raises(error, match=message):
        list(events)


def test_unknown_settings_and_bundles_fail_at_once() -> None:
    with pytest.raises(edge.UsageError, match=r"'segmenter\.end_silence'.*did you mean 'segmenter\.end_silence_s'"):
        edge.listen(settings={"segmenter.end_silence": 1})
    with pytest.raises(edge.ModelError, match="no bundle folder"):
        edge.listen(settings={"encoder.bundle": "defualt"})


MICROPHONE = """
import sys, edge
with edge.listen("mic", settings={"encoder.bundle": sys.argv[1]}) as events:
    for event in events:
        print(event.type, event.emotion, flush=True)
        if event.type == "utterance":
            break
"""


@pytest.mark.slow
def test_the_microphone(virtual_microphone: VirtualMicrophone, bundle_folder: Path, conversation: Conversation) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", MICROPHONE, bundle_folder],
        cwd=ROOT,
        env=os.environ | virtual_microphone.environment,
        stdout=subprocess.PIPE,
    )
    assert program.stdout is not None
    try:
        assert program.stdout.readline().startswith(b"status")
        virtual_microphone.play(conversation.path)
        assert [program.stdout.readline() for _ in range(3)][1:] == [b"provisional neutral\n", b"utterance neutral\n"]
        assert program.wait(timeout=30) == 0
    finally:
        program.kill()


def test_the_examples_of_docstrings_are_true(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = doctest.testmod(edge.listening, optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": []}, "the list of sources is empty"),
        ({"source": 5}, "int is no source"),
        ({"source": np.zeros(9)}, "ndarray is no source"),
        ({"source": b"x"}, "is no source"),
        ({"model": "nano"}, r"model 'nano' is no model; edge\.load"),
        ({"outputs": ["json"]}, "output 'json' has no open, write and close"),
        ({"observers": [5]}, "observer 5 cannot be called"),
    ],
)
def test_arguments_that_are_something_else(model: edge.Model, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(edge.UsageError, match=message):
        edge.listen(**{"model": model, **arguments})


def test_it_listens_once_and_only_inside_with(model: edge.Model, conversation: Conversation) -> None:
    listening = edge.listen(conversation.path, model=model, settings=FAST)
    with pytest.raises(edge.UsageError, match="iterate inside `with"):
        next(iter(listening))
    with listening as events:
        assert len(emotions(list(events))) == 3
        with pytest.raises(edge.UsageError, match="listens only once"):
            listening.run()
    with pytest.raises(edge.UsageError, match="listens only once"), listening:
        pass


def test_what_fails_is_raised_without_a_loop_too(model: edge.Model) -> None:
    listening = edge.listen("missing.wav", model=model, settings=FAST)
    with pytest.raises(edge.AudioFileError, match=r"missing\.wav: no such file"), listening:
        listening._thread.join(10)


class Stuck(Kept):
    """An output that nobody reads from."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where, self.gate = where, threading.Event()

    def open(self) -> None:
        if self.where == "open":
            self.gate.wait()

    def write(self, event: edge.Event) -> None:
        if self.where == "write":
            self.gate.wait()


@pytest.mark.parametrize("where", ["open", "write"])
def test_who_leaves_waits_for_no_output_that_is_stuck(
    model: edge.Model, conversation: Conversation, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.outputs.queued.FLUSH_S", 0.2)
    stuck = Stuck(where)
    started_s = time.monotonic()
    with edge.listen(conversation.path, model=model, settings=FAST, outputs=[stuck]) as events:
        next(iter(events))
    assert time.monotonic() - started_s < 5
    assert events.summary
    assert events.summary.lost_events["kept"] > 0
    stuck.gate.set()


class Exits(Room):
    """A source that asks the interpreter to exit."""

    def blocks(self) -> Iterator[Block]:
        yield from ()
        raise SystemExit(3)


def test_an_exit_in_a_thread_is_raised_where_it_is_iterated(model: edge.Model) -> None:
    with edge.listen(Exits(), model=model) as events, pytest.raises(SystemExit):
        list(events)


def test_without_a_loop_the_outputs_get_everything(model: edge.Model, conversation: Conversation) -> None:
    kept = Kept()
    summary = edge.listen(conversation.path, model=model, settings=FAST, outputs=[kept]).run()
    assert summary.utterances == 3
    assert emotions(kept.events) == EMOTIONS


def test_a_program_that_wants_it_finds_its_room_again(model: edge.Model, tmp_path: Path) -> None:
    def shares(**settings: bool) -> list[float]:
        found = {"encoder.bundle": str(model.recognizer.bundle.folder), "speakers.store": str(tmp_path)} | {
            key.replace("_", "."): value for key, value in settings.items()
        }
        heard: list[float] = []
        with edge.listen(Room(), settings=found) as events:
            for event in events:
                heard += [event.room] if event.type == "utterance" else []
                if len(heard) == 3:
                    events.stop()
        return heard

    first = shares()
    assert first[0] == 0 < first[1]
    assert not list(tmp_path.iterdir())
    assert shares(room_remember=True)[0] == 0
    assert shares(room_remember=True)[0] > 0
    assert shares(room_enabled=False) == [0, 0, 0]
