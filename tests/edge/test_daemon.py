"""A running ``affectd run`` as its users and its service manager see it: asked, paused, told to read settings again."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.daemon.pauses import Pauses
from helpers.conversation import Conversation
from helpers.pipes import feed
from helpers.ports import free_port

pytestmark = pytest.mark.slow

Start = Callable[..., "subprocess.Popen[bytes]"]
Call = Callable[..., int]
PATIENCE_S = 30


class Service:
    """A running affectd, whose events a thread collects."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, what: Callable[[dict[str, Any]], bool], count: int = 1) -> dict[str, Any]:
        """Return the ``count``-th event of a kind."""

        def found() -> list[dict[str, Any]]:
            return [event for event in self.events if what(event)]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= count, PATIENCE_S), self.events
        return found()[count - 1]

    def of(self, event_type: str, source: str) -> list[dict[str, Any]]:
        return [event for event in self.events if (event["type"], event["source"]) == (event_type, source)]

    def end(self) -> bytes:
        """Stop it in good order, and return what it said on standard error."""
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        assert self.process.stderr
        return self.process.stderr.read()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()


def reason(wanted: str, source: str | None = None) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event.get("reason") == wanted and source in (None, event["source"])


def is_utterance(event: dict[str, Any]) -> bool:
    return event["type"] == "utterance"


@pytest.fixture
def pipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    found = [tmp_path / name for name in ("hall", "yard")]
    for pipe in found:
        os.mkfifo(pipe)
    return found


def write_config(path: Path, bundle: Path, sources: list[Path], more: str = "") -> Path:
    entries = "".join(f'[[sources]]\nsource = "{source}"\n' for source in sources)
    path.write_text(f'[encoder]\nbundle = "{bundle}"\n[room]\nremember = false\n{more}\n{entries}')
    return path


def test_settings_are_read_again_without_a_word_that_is_lost(
    start: Start, call: Call, pipes: list[Path], conversation: Conversation, bundle_folder: Path, tmp_path: Path
) -> None:
    hall, yard = pipes
    written = tmp_path / "events.jsonl"
    config = write_config(tmp_path / "affectd.toml", bundle_folder, [hall])
    service = Service(start("run", "--json", "--config", config, without_terminal=True))
    stop = threading.Event()
    feed(hall, conversation.samples, stop)
    service.wait_for(lambda event: event["type"] == "speech_start")
    # In the middle of a word: another end of silence, another output, another source.
    more = f'[segmenter]\nend_silence_s = 0.4\n[[outputs]]\ntype = "json"\npath = "{written}"\n'
    write_config(config, bundle_folder, [hall, yard], more)
    service.process.send_signal(signal.SIGHUP)
    changed = service.wait_for(reason("settings_changed"))
    assert changed["message"] == ("settings were read again, and differ in segmenter.end_silence_s, sources, outputs")
    feed(yard, conversation.samples, stop)
    service.wait_for(is_utterance, 6)
    for source in ("hall", "yard"):
        starts_s = [event["start_s"] for event in service.of("utterance", source)]
        assert starts_s == pytest.approx([start_s for start_s, _ in conversation.turns_s], abs=0.15)
    first, *others = service.of("utterance", "hall")
    assert first["latency_ms"]["endpoint"] == pytest.approx(510, abs=31), "its silence was not cut"
    assert all(event["latency_ms"]["endpoint"] == pytest.approx(420, abs=31) for event in others)
    assert sum(event["dropped_s"] for event in service.events if is_utterance(event)) == 0

    # A source that is taken away ends with what was said there; the other one does not notice.
    write_config(config, bundle_folder, [yard], more)
    assert call("reload", "--pid", service.process.pid) == 0
    service.wait_for(reason("stopped", "hall"))
    # Settings that do not work change nothing.
    config.write_text("[segmenter]\nend_silense_s = 1")
    assert call("reload", "--pid", service.process.pid) == 2
    said = service.wait_for(reason("settings_changed"), 3)
    assert "end_silense_s" in said["message"]
    assert "did you mean" in said["message"]
    assert service.process.poll() is None
    stop.set()
    service.process.wait(PATIENCE_S)
    assert service.process.returncode == 0
    ids = [event["id"] for event in service.events if event["type"] in ("utterance", "skipped")]
    assert sorted(ids) == list(range(1, 7))
    assert len([line for line in written.read_text().splitlines() if '"utterance"' in line]) >= 5


def test_another_bundle_and_people_take_over_between_utterances(
    start: Start, call: Call, pipes: list[Path], conversation: Conversation, bundle_folder: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path / "affectd.toml", Path("nano"), pipes[:1])
    service = Service(start("run", "--json", "--config", config, without_terminal=True))
    feed(pipes[0], conversation.samples)
    service.wait_for(lambda event: event["type"] == "speech_start")
    write_config(config, bundle_folder, pipes[:1], '[speakers]\nonly = ["Nobody"]')
    assert call("reload") == 5, "who is not enrolled"
    write_config(config, tmp_path / "gone", pipes[:1])
    assert call("reload") == 3
    write_config(config, bundle_folder, pipes[:1])
    assert call("reload") == 0
    service.process.wait(PATIENCE_S)
    answers = service.of("utterance", "hall")
    assert [set(event["scores"]) for event in answers][-1] == {"neutral", "happy", "angry"}, "those of the tiny bundle"
    starts_s = [event["start_s"] for event in answers]
    assert starts_s == pytest.approx([start_s for start_s, _ in conversation.turns_s], abs=0.15)


def test_a_source_is_paused_and_listened_to_again(
    start: Start,
    call: Call,
    pipes: list[Path],
    conversation: Conversation,
    bundle_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = write_config(tmp_path / "affectd.toml", bundle_folder, pipes)
    service = Service(start("run", "--json", "--config", config))
    stop = threading.Event()
    for pipe in pipes:
        feed(pipe, conversation.samples, stop)
    service.wait_for(lambda event: event["type"] == "speech_start", 2)
    assert call("pause", "hall") == 0
    assert capsys.readouterr().err == "affectd: paused: hall\n"
    service.wait_for(reason("paused", "hall"))
    service.wait_for(lambda event: is_utterance(event) and event["source"] == "hall")
    assert call("status", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert [(source["name"], source["state"]) for source in facts["sources"]] == [
        ("hall", "paused"),
        ("yard", "listening"),
    ]
    assert facts["bundle"] == "tiny"
    assert call("status") == 0
    assert "listening" in capsys.readouterr().out
    service.wait_for(lambda event: is_utterance(event) and event["source"] == "yard", 2)
    assert call("resume") == 0
    service.wait_for(reason("continued", "hall"))
    service.wait_for(lambda event: is_utterance(event) and event["source"] == "yard", 3)
    service.wait_for(lambda event: is_utterance(event) and event["source"] == "hall", 2)
    cut_off, last = service.of("utterance", "hall")
    assert cut_off["end_s"] < conversation.turns_s[0][1]
    assert last["start_s"] == pytest.approx(conversation.turns_s[2][0], abs=0.15), "the clock went on"
    assert last["dropped_s"] == 0, "nothing was lost"

    capsys.readouterr()
    assert call("pause", "hal") == 2
    assert capsys.readouterr().err == "affectd: there is no source 'hal' (did you mean 'hall'?); there is hall, yard\n"
    assert call("pause", "--for", "soon") == 2
    assert call("pause", "yard", "--for", "1s") == 0
    service.wait_for(reason("continued", "yard"))
    assert call("pause", "--pid", "1") == 2
    stop.set()
    assert service.process.wait(PATIENCE_S) == 0
    assert call("status") == 2
    assert "no affectd run of yours is running" in capsys.readouterr().err


def test_who_is_paused_stays_so_when_it_is_started_again(
    start: Start, call: Call, bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut, too: who muted a microphone wants it to stay so."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    ports = [free_port(), free_port()]
    sources = [Path(f"tcp:/127.0.0.1:{port}") for port in ports]
    config = write_config(tmp_path / "affectd.toml", bundle_folder, sources)
    config.write_text(config.read_text().replace("tcp:/", "tcp://"))
    names = [f"127.0.0.1:{port}" for port in ports]

    def started() -> Service:
        return Service(start("run", "--json", "--config", config, "--store", tmp_path / "store"))

    def is_open(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    service = started()
    service.wait_for(reason("disconnected"), 2)
    assert call("pause", f"tcp://{names[0]}") == 0
    service.process.kill()
    service.process.wait(PATIENCE_S)
    service = started()
    said = service.wait_for(reason("paused"))
    assert said["source"] == f"tcp://{names[0]}"
    assert said["message"].endswith("still paused, from before; affectd resume listens again")
    service.wait_for(reason("disconnected", f"tcp://{names[1]}"))
    assert [is_open(port) for port in ports] == [False, True]
    # Nor does it listen under other settings that have the source opened anew.
    config.write_text(config.read_text().replace("[[sources]]", "[[sources]]\nrate_hz = 8000", 1))
    assert call("reload") == 0
    service.wait_for(reason("paused"), 2)
    assert [is_open(port) for port in ports] == [False, True]
    assert call("resume") == 0
    service.wait_for(reason("disconnected", f"tcp://{names[0]}"))
    service.process.terminate()
    service.process.wait(PATIENCE_S)
    service = started()
    service.wait_for(reason("disconnected"), 2)
    assert not [event for event in service.events if event.get("reason") == "paused"]


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.none() | st.floats(0.1, 100), st.booleans(), st.floats(0, 50)), max_size=12
    )
)
def test_pauses_are_kept_until_they_are_over(steps: list[tuple[str, float | None, bool, float]]) -> None:
    clock_s, expected = 0.0, dict[str, float | None]()
    with tempfile.TemporaryDirectory() as folder:
        for key, duration_s, is_paused, later_s in steps:
            pauses = Pauses(Path(folder), lambda: clock_s)  # noqa: B023  (used at once)
            if is_paused:
                pauses.add([key], duration_s)
                expected[key] = None if duration_s is None else clock_s + duration_s
            else:
                pauses.remove([key])
                expected.pop(key, None)
            clock_s += later_s
            wanted = {key: until for key, until in expected.items() if until is None or until > clock_s}
            found = pauses.remaining_s()
            assert found.keys() == wanted.keys()
            assert all(found[key] == (until and until - clock_s) for key, until in wanted.items())


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a": "b"}', b"\xff", b'{"a": {}}'])
def test_damaged_pauses_stop_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "paused.json").write_bytes(content)
    pauses = Pauses(tmp_path)
    assert pauses.remaining_s() == {}
    pauses.add(["hall"], None)
    assert Pauses(tmp_path).remaining_s() == {"hall": None}


def test_the_service_manager_is_told(
    start: Start,
    pipes: list[Path],
    conversation: Conversation,
    bundle_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """READY comes with the first audio, and the watchdog is petted by the thread that recognises."""
    config = write_config(tmp_path / "affectd.toml", bundle_folder, pipes[:1])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        service = Service(start("run", "--json", "--config", config, without_terminal=True))
        monkeypatch.delenv("NOTIFY_SOCKET")

        def told(wanted: str) -> str:
            deadline_s = time.monotonic() + PATIENCE_S
            while time.monotonic() < deadline_s:
                message = manager.recv(4_096).decode()
                if wanted in message:
                    return message
            raise AssertionError(f"nobody said {wanted}")

        stop = threading.Event()
        feed(pipes[0], conversation.samples, stop)
        assert "STATUS=tiny 0 listens to hall" in told("READY=1")
        for _ in range(3):
            told("WATCHDOG=1")
        service.process.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in told("RELOADING=1")
        told("READY=1")
        service.process.terminate()
        told("STOPPING=1")
        stop.set()
    assert service.process.wait(PATIENCE_S) == 0


def test_a_terminal_that_is_closed_ends_it_as_ever(
    start: Start, pipes: list[Path], bundle_folder: Path, tmp_path: Path, conversation: Conversation
) -> None:
    """Nothing listens on behind the back of who has closed its window; under nohup it was asked to."""
    for is_ignored in (False, True):
        pid, terminal = pty.fork()
        if pid == 0:
            signal.signal(signal.SIGHUP, signal.SIG_IGN if is_ignored else signal.SIG_DFL)
            arguments = ["run", "--source", str(conversation.path), "--bundle", str(bundle_folder)]
            os.execv(os.sys.executable, [os.sys.executable, "-m", "edge", *arguments])  # type: ignore[attr-defined]
        seen = b""
        while b"ready" not in seen:
            seen += os.read(terminal, 1_000)
        os.kill(pid, signal.SIGHUP)
        if is_ignored:
            os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
        assert (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGHUP) is not is_ignored


def test_who_is_killed_starts_again_with_its_rooms(
    start: Start,
    call: Call,
    pipes: list[Path],
    conversation: Conversation,
    bundle_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "affectd.toml"
    entries = f'[encoder]\nbundle = "{bundle_folder}"\n[[sources]]\nsource = "{pipes[0]}"\n'
    config.write_text(f'{entries}[[outputs]]\ntype = "journal"\n[[outputs]]\ntype = "json"\n')
    for round_ in (1, 2):
        service = Service(start("run", "--config", config, without_terminal=True))
        stop = threading.Event()
        feed(pipes[0], conversation.samples, stop)
        service.wait_for(is_utterance, 3)
        if round_ == 1:
            service.process.kill()
            service.process.wait(PATIENCE_S)
        else:
            assert service.of("utterance", "hall")[0]["room"] > 0, "what is known of the room was kept"
            service.end()
        stop.set()
    assert call("rooms", "list", "--json", "--config", config) == 0
    (room,) = json.loads(capsys.readouterr().out)
    assert room["source"] == "hall"
    assert call("history", "--by", "source", "--json", "--config", config) == 0
    assert json.loads(capsys.readouterr().out)
