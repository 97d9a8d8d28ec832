import json
import os
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest

from edge import control
from edge.control import MOST_CLIENTS, Attachment, TimingServer, attach
from edge.errors import UsageError
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


@pytest.fixture
def server(runtime: Path) -> Iterator[TimingServer]:
    server = TimingServer(lambda: {"bundle": "tiny"})
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


def greet_and_send(listener: socket.socket, data: bytes) -> Attachment:
    pid = int(Path(listener.getsockname()).stem)
    client = socket.socket(socket.AF_UNIX)
    client.connect(listener.getsockname())
    connection, _ = listener.accept()
    connection.sendall(data)
    connection.close()
    return Attachment(pid, client)


def test_a_client_is_greeted_and_told_of_each_utterance(server: TimingServer, runtime: Path) -> None:
    with closing(attach()) as attachment:
        assert attachment.pid == os.getpid()
        assert attachment.greeting == {"bundle": "tiny"}
        for number in range(3):
            server.send(timing(number))
        server.close()
        assert list(attachment.timings(None)) == [timing(number) for number in range(3)]
    assert list(runtime.iterdir()) == []


def test_watching_ends_with_its_time(server: TimingServer) -> None:
    with closing(attach(os.getpid())) as attachment:
        assert list(attachment.timings(0.05)) == []
        assert list(attachment.timings(0)) == []


def test_only_the_owner_reaches_the_socket(server: TimingServer, runtime: Path) -> None:
    (path,) = runtime.iterdir()
    assert path.name == f"{os.getpid()}.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700


def test_without_a_runtime_folder_the_socket_is_in_a_private_temporary_one(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / "gone"))
    server = TimingServer(dict)
    server.open()
    folder = runtime.parent / f"affectd-{os.getuid()}"
    assert [path.name for path in folder.iterdir()] == [f"{os.getpid()}.sock"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime.parent))
    attach(os.getpid()).close()
    server.close()


def test_nothing_is_made_when_nobody_is_attached(server: TimingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_line", lambda values: pytest.fail("nobody listens"))
    server.send(timing())


def test_a_client_that_does_not_read_is_dropped_and_holds_up_nobody(server: TimingServer) -> None:
    with closing(attach()) as slow, closing(attach()) as quick:
        received = 0
        for number in range(2_000):
            server.send(timing(number))
            received += next(quick.timings(10)) == timing(number)
        assert received == 2_000
        heard = list(slow.timings(10))
        assert heard == [timing(number) for number in range(len(heard))]
        assert 10 <= len(heard) < 2_000


def test_clients_are_few_and_those_that_left_make_room(server: TimingServer) -> None:
    clients = [attach() for _ in range(MOST_CLIENTS)]
    with pytest.raises(UsageError, match="does not answer"):
        attach()
    for client in clients:
        client.close()
    attach().close()


def test_sockets_of_the_dead_are_removed(runtime: Path) -> None:
    listening(runtime / "4711.sock").close()
    assert (runtime / "4711.sock").exists()
    with pytest.raises(UsageError, match="no affectd run of yours is running"):
        attach()
    assert not (runtime / "4711.sock").exists()


def test_one_of_several_is_named(runtime: Path) -> None:
    with listening(runtime / "4711.sock"), listening(runtime / "4712.sock"):
        with pytest.raises(UsageError, match="name one of 4711, 4712, as in --attach 4711"):
            attach()
        with pytest.raises(UsageError, match="4713 is no running affectd run; running: 4711, 4712"):
            attach(4713)


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0\n", b'{"protocol": 1}\n', b"[]\n", b'{"protocol": 3}'])
def test_what_answers_otherwise_is_refused(greeting: bytes, runtime: Path) -> None:
    with listening(runtime / "4711.sock") as listener, pytest.raises(UsageError, match="does not answer as an affectd"):
        greet_and_send(listener, greeting)


def test_lines_of_another_kind_are_refused(runtime: Path) -> None:
    with listening(runtime / "4711.sock") as listener:
        attachment = greet_and_send(listener, b'{"protocol": 3}\n{"speech_s": 1}\n')
        with closing(attachment), pytest.raises(UsageError, match="4711 is no affectd run of this version"):
            list(attachment.timings(10))


def test_a_folder_that_others_can_enter_is_not_used(runtime: Path) -> None:
    runtime.mkdir()
    runtime.chmod(0o755)
    server = TimingServer(dict)
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
    assert b"affectd profile cannot attach: " in stderr


def test_what_leaves_the_process_is_durations(
    runtime: Path, start: Start, conversation: Conversation, bundle_folder: Path
) -> None:
    process = start("run", "--source", conversation.path, "--json", "--bundle", bundle_folder)
    assert b"ready" in process.stdout.readline()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(runtime / f"{process.pid}.sock"))
        lines = client.makefile("rb").read().splitlines()
    greeting, *said = map(json.loads, lines)
    assert greeting["bundle"] == "tiny"
    assert len(said) == 3
    for values in said:
        assert set(values) == {field.name for field in fields(Timing)}
        assert set(values.pop("stage_ms")) == set(STAGES)
        assert all(isinstance(value, int | float) for value in values.values())
    assert process.wait() == 0
    assert list(runtime.iterdir()) == []
