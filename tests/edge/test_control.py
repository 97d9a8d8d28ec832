import json
import os
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import fields, replace
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.daemon import control
from edge.daemon.client import Client, attach
from edge.daemon.control import MOST_CLIENTS, ControlServer
from edge.errors import UsageError
from edge.event import status
from edge.recent import RecentEvents
from edge.timing import STAGES, Timing
from helpers.conversation import Conversation

pytestmark = pytest.mark.slow

Start = Callable[..., "subprocess.Popen[bytes]"]


def timing(number: int = 0) -> Timing:
    return Timing(1.5, 2.5, 2.0, 1, float(number), dict.fromkeys(STAGES, 1.0), 4.0, 8.0, 0, 0.0)


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of sockets, with nobody's daemons in it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / "affectd"


def double(request: Mapping[str, Any]) -> int:
    if "number" not in request:
        raise UsageError("double needs a number")
    return 2 * request["number"]


@pytest.fixture
def server(runtime: Path) -> Iterator[ControlServer]:
    server = ControlServer({"facts": lambda _: {"bundle": "tiny"}, "double": double})
    server.open()
    yield server
    server.close()


def listening(path: Path) -> socket.socket:
    """Another process's socket, as far as one can see."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def accept_all(listener: socket.socket) -> None:
    """Take everybody who connects, until the socket is shut down."""
    with suppress(OSError):
        taken = []
        while True:
            taken.append(listener.accept())


def answered_with(listener: socket.socket, data: bytes) -> Client:
    pid = int(Path(listener.getsockname()).stem)
    client = socket.socket(socket.AF_UNIX)
    client.connect(listener.getsockname())
    connection, _ = listener.accept()
    connection.sendall(data)
    connection.close()
    return Client(pid, client)


def test_a_client_asks_and_is_told_of_each_utterance(server: ControlServer, runtime: Path) -> None:
    with closing(attach()) as client:
        assert client.pid == os.getpid()
        assert client.ask("double", number=21) == 42
        assert client.ask("timing") == {"bundle": "tiny"}
        for number in range(3):
            server.send(timing(number))
        server.close()
        assert list(client.timings(None)) == [timing(number) for number in range(3)]
    assert list(runtime.iterdir()) == []


def test_what_cannot_be_done_is_said_and_the_next_request_answered(server: ControlServer) -> None:
    with closing(attach()) as client:
        with pytest.raises(UsageError, match="double needs a number"):
            client.ask("double")
        with pytest.raises(UsageError, match="double failed; the log of affectd run says why"):
            client.ask("double", number={})
        with pytest.raises(UsageError, match=r"cannot do 'Doubel' .did you mean 'double'.*facts, double, timing"):
            client.ask("Doubel")
        assert client.ask("double", number=1) == 2


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"[]\n", b"null\n", b'{"do": 1}\n', b"\xff\n", b"[" * 9_000 + b"\n"])
def test_what_is_no_request_is_answered_as_such(line: bytes, server: ControlServer, runtime: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(runtime / f"{os.getpid()}.sock"))
        client.sendall(line)
        answer = json.loads(client.makefile("rb").readline())
    assert answer == {"error": 'a request is one line of JSON, such as {"do": "status"}'}


def test_who_asks_for_nothing_is_dropped(server: ControlServer, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "REQUEST_S", 0.1)
    for data in (b"", b'{"do": "doub', b"x" * 100_000):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(runtime / f"{os.getpid()}.sock"))
            with suppress(OSError):
                client.sendall(data)
            with suppress(ConnectionResetError):
                assert b'"answer"' not in client.makefile("rb").read()
    with closing(attach()) as client_:
        assert client_.ask("double", number=2) == 4


def test_watching_ends_with_its_time(server: ControlServer) -> None:
    with closing(attach(os.getpid())) as client:
        client.ask("timing")
        assert list(client.timings(0.05)) == []
        assert list(client.timings(0)) == []


def test_only_the_owner_reaches_the_socket(server: ControlServer, runtime: Path) -> None:
    (path,) = runtime.iterdir()
    assert path.name == f"{os.getpid()}.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700


def test_without_a_runtime_folder_the_socket_is_in_a_private_temporary_one(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / "gone"))
    server = ControlServer({})
    server.open()
    folder = runtime.parent / f"affectd-{os.getuid()}"
    assert [path.name for path in folder.iterdir()] == [f"{os.getpid()}.sock"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime.parent))
    attach(os.getpid()).close()
    server.close()


def test_nothing_is_made_when_nobody_is_attached(server: ControlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_line", lambda values: pytest.fail("nobody listens"))
    server.send(timing())


def test_a_client_that_does_not_read_is_dropped_and_holds_up_nobody(server: ControlServer) -> None:
    with closing(attach()) as slow, closing(attach()) as quick:
        slow.ask("timing")
        quick.ask("timing")
        received = 0
        for number in range(2_000):
            server.send(timing(number))
            received += next(quick.timings(10)) == timing(number)
        assert received == 2_000
        heard = list(slow.timings(10))
        assert heard == [timing(number) for number in range(len(heard))]
        assert 10 <= len(heard) < 2_000


def test_clients_are_few_and_those_that_left_make_room(server: ControlServer) -> None:
    clients = [attach() for _ in range(MOST_CLIENTS)]
    for client in clients:
        client.ask("timing")
    with pytest.raises(UsageError, match="does not answer"):
        attach().ask("facts")
    for client in clients:
        client.close()
    with closing(attach()) as newcomer:
        assert newcomer.ask("facts") == {"bundle": "tiny"}


def test_who_only_looks_whether_somebody_is_there_takes_no_room(
    server: ControlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every ``affectd status`` does; their threads may take their time to notice that they have left."""
    serve, may_serve = ControlServer._serve, Event()
    monkeypatch.setattr(ControlServer, "_serve", lambda server, client: (may_serve.wait(), serve(server, client)))
    for _ in range(3 * MOST_CLIENTS):
        attach().close()
    with closing(attach()) as newcomer:
        Timer(0.3, may_serve.set).start()
        assert newcomer.ask("facts") == {"bundle": "tiny"}


def test_who_connects_while_many_do_waits_for_their_turn(runtime: Path) -> None:
    with listening(runtime / "4711.sock") as listener:
        listener.listen(0)
        accepting = Timer(0.2, accept_all, [listener])
        accepting.start()
        with closing(attach()), closing(attach()):
            pass
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()


def test_events_are_followed_from_any_number_on(runtime: Path) -> None:
    recent = RecentEvents(most=3)
    server = ControlServer({}, recent)
    server.open()
    for number in range(1, 6):
        recent.add(replace(status("hall", "ready", "ready"), number=number))
    with closing(attach()) as late, closing(attach()) as back, closing(attach()) as new:
        assert late.ask("events", after=0) == {"missed": 2}
        followed = back.events(4)
        assert next(followed)["number"] == 5
        assert new.ask("events") == {"missed": 0}
        recent.add(replace(status("hall", "stopped", "stopped"), number=6))
        assert next(followed)["number"] == json.loads(new._read_line(None) or b"")["number"] == 6
    with closing(attach()) as wrong, pytest.raises(UsageError, match="after is the number of an event"):
        wrong.ask("events", after="yesterday")
    server.close()


@given(st.integers(1, 20), st.integers(0, 60), st.integers(0, 70))
def test_who_reads_recent_events_gets_the_rest_or_is_told_how_many_are_gone(most: int, there: int, after: int) -> None:
    recent = RecentEvents(most)
    for number in range(1, there + 1):
        recent.add(replace(status("hall", "ready", "ready"), number=number))
    found, missed = recent.after(after)
    kept = range(max(1, there - most + 1), there + 1)
    assert [number for number, _ in found] == [number for number in kept if number > after]
    assert missed == (max(0, kept.start - 1 - after) if found else 0)
    assert [json.loads(line)["number"] for _, line in found] == [number for number, _ in found]


def test_sockets_of_the_dead_are_removed(runtime: Path) -> None:
    listening(runtime / "4711.sock").close()
    assert (runtime / "4711.sock").exists()
    with pytest.raises(UsageError, match="no affectd run of yours is running"):
        attach()
    assert not (runtime / "4711.sock").exists()


def test_one_of_several_is_named(runtime: Path) -> None:
    with listening(runtime / "4711.sock"), listening(runtime / "4712.sock"):
        with pytest.raises(UsageError, match="name one of 4711, 4712, as in --pid 4711"):
            attach()
        with pytest.raises(UsageError, match="4713 is no running affectd run; running: 4711, 4712"):
            attach(4713)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0\n", b'{"protocol": 1}\n', b"[]\n", b'{"protocol": 4}'])
def test_what_answers_otherwise_is_refused(answer: bytes, runtime: Path) -> None:
    with (
        listening(runtime / "4711.sock") as listener,
        closing(answered_with(listener, answer)) as client,
        pytest.raises(UsageError, match="does not answer as an affectd"),
    ):
        client.ask("facts")


def test_lines_of_another_kind_are_refused(runtime: Path) -> None:
    with listening(runtime / "4711.sock") as listener:
        client = answered_with(listener, b'{"speech_s": 1}\n')
        with closing(client), pytest.raises(UsageError, match="4711 is no affectd run of this version"):
            list(client.timings(10))


def test_a_folder_that_others_can_enter_is_not_used(runtime: Path) -> None:
    runtime.mkdir()
    runtime.chmod(0o755)
    server = ControlServer({})
    with pytest.raises(PermissionError, match="not a folder of yours alone"):
        server.open()
    server.close()
    with listening(runtime / "4711.sock"), pytest.raises(UsageError, match="no affectd run"):
        attach()


def test_a_run_that_cannot_open_its_socket_runs_nevertheless(
    runtime: Path, start: Start, conversation: Conversation, bundle_folder: Path
) -> None:
    runtime.mkdir()
    runtime.chmod(0o755)
    process = start("run", "--source", conversation.path, "--fast", "--json", "--bundle", bundle_folder)
    stdout, stderr = process.communicate()
    assert process.returncode == 0
    assert stdout.count(b'"utterance"') == 3
    assert b"nobody can ask this run for anything: " in stderr


def test_what_leaves_the_process_is_durations(
    runtime: Path, start: Start, conversation: Conversation, bundle_folder: Path
) -> None:
    process = start("run", "--source", conversation.path, "--json", "--bundle", bundle_folder)
    assert b"ready" in process.stdout.readline()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(runtime / f"{process.pid}.sock"))
        client.sendall(b'{"do": "timing"}\n')
        lines = client.makefile("rb").read().splitlines()
    answer, *said = map(json.loads, lines)
    assert answer["answer"]["bundle"] == "tiny"
    assert len(said) == 3
    for values in said:
        assert set(values) == {field.name for field in fields(Timing)}
        assert set(values.pop("stage_ms")) == set(STAGES)
        assert all(isinstance(value, int | float) for value in values.values())
    assert process.wait() == 0
    assert list(runtime.iterdir()) == []
