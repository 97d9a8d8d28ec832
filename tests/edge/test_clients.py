"""Audio from elsewhere: real clients over TCP, Unix sockets and WebSockets."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from edge.audio import Waveform
from edge.capture import Block, Source, clients, open_source, websocket
from edge.capture.address import Address, is_address, parse_address
from edge.capture.messages import check_query, converter
from edge.capture.sockets import SocketSource
from edge.errors import AffectdError, AudioDeviceError, AudioFileError, UsageError
from edge.settings import CaptureSettings
from helpers.ports import free_port
from helpers.signals import silence, speech_like

PATIENCE_S = 20
TALK: Waveform = np.concatenate([silence(0.2), speech_like(0.5), silence(0.2)]) / 4


def pcm_of(samples: Waveform) -> bytes:
    return (np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes()


class Heard:
    """What a source yields, collected by a thread."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.blocks: list[Block] = []
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            for block in self.source.blocks():
                self.blocks.append(block)
        except AffectdError as error:
            self.failure = error

    def wait_for(self, what: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not what():
            assert time.monotonic() < deadline_s, self.reasons
            assert self._thread.is_alive() or what(), self.failure
            time.sleep(0.005)

    @property
    def samples(self) -> Waveform:
        return np.concatenate([block.samples for block in self.blocks])

    @property
    def reasons(self) -> list[tuple[str, str]]:
        return [(note.reason, note.message) for block in self.blocks for note in block.notes]

    def count(self, reason: str) -> int:
        return [found for found, _ in self.reasons].count(reason)

    def end(self) -> None:
        self.source.close()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


@pytest.fixture
def hear() -> Iterator[Callable[..., Heard]]:
    """Listen at an address, until it is waited at, and to the end of the test."""
    opened = []

    def hear(source: str, **values: object) -> Heard:
        heard = Heard(open_source(CaptureSettings.model_validate({"source": source, "queue_s": 600, **values})))
        opened.append(heard)
        heard.wait_for(lambda: heard.count("disconnected") == 1)
        return heard

    yield hear
    for heard in opened:
        heard.end()


def send_to(address: str, data: bytes) -> socket.socket:
    found = parse_address(address)
    if found.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(found.path)
    else:
        connection = socket.create_connection((found.host, found.port))
    with suppress(OSError):
        connection.sendall(data)
    return connection


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("tcp://127.0.0.1:7000", Address("tcp", "127.0.0.1", 7000)),
        ("tcp://[::1]:7000/", Address("tcp", "::1", 7000)),
        ("unix:/run/hall.sock", Address("unix", path="/run/hall.sock")),
        ("unix://hall.sock", Address("unix", path="hall.sock")),
        ("ws://localhost:7001", Address("ws", "localhost", 7001, "/")),
        ("ws://0.0.0.0:7001/a/b", Address("ws", "0.0.0.0", 7001, "/a/b")),
    ],
)
def test_addresses(source: str, address: Address) -> None:
    assert is_address(source)
    assert parse_address(source) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("tpc://127.0.0.1:7000", "did you mean 'tcp'"),
        ("http://127.0.0.1:7000", "none of tcp, unix, ws"),
        ("tcp://127.0.0.1", "form tcp://127.0.0.1:7000; its port is from 1 to 65535"),
        ("tcp://127.0.0.1:0", "its port is from 1 to 65535"),
        ("tcp://127.0.0.1:70000", "its port is from 1 to 65535"),
        ("tcp://:7000", "form tcp://"),
        ("tcp://127.0.0.1:7000/hall", "TCP has no path"),
        ("ws://127.0.0.1:7000/hall?token=1", "form ws://"),
        ("ws://[::1:7000/hall", "form ws://"),
        ("unix:", "names no socket"),
        ("ws://0.0.0.0:7000/hall", "needs a token"),
    ],
)
def test_wrong_addresses_say_how_they_are_written(source: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_source(CaptureSettings(source=source))


def test_a_path_is_no_address() -> None:
    assert not any(map(is_address, ("talk.wav", "/a/b.wav", "C:/talk.wav", "-", "mic", "a:b.wav")))


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_one_client_after_the_other(kind: str, hear: Callable[..., Heard], tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/hall.sock" if kind == "unix" else f"tcp://127.0.0.1:{free_port()}"
    heard = hear(address)
    assert heard.reasons == [("disconnected", f"waits for somebody to send to {address}")]
    for number in (1, 2):
        with closing(send_to(address, pcm_of(TALK) + b"x")) as client:
            client.shutdown(socket.SHUT_WR)
            heard.wait_for(lambda number=number: heard.count("disconnected") == 1 + number)
    assert np.array_equal(heard.samples, np.tile(np.frombuffer(pcm_of(TALK), "<i2") / np.float32(32_768), 2))
    assert [reason for reason, _ in heard.reasons] == ["disconnected", *["connected", "disconnected"] * 2]
    first, second = (block for block in heard.blocks if block.notes and block.notes[0].reason == "connected")
    assert first.restarted
    assert second.restarted
    assert sum(block.lost_s for block in heard.blocks) == 0
    if kind == "unix":
        assert stat.S_IMODE((tmp_path / "hall.sock").stat().st_mode) == 0o600
        heard.end()
        assert not (tmp_path / "hall.sock").exists()


def test_a_second_client_is_refused_unless_the_first_is_silent_for_long(
    hear: Callable[..., Heard],
) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    heard = hear(address)
    with closing(send_to(address, pcm_of(TALK))) as first:
        heard.wait_for(lambda: heard.count("connected") == 1)
        with closing(send_to(address, b"")) as second:
            second.settimeout(PATIENCE_S)
            assert second.recv(1) == b"", "closed"
        heard.source.inner._client.keeps_until_s = 0.0
        with closing(send_to(address, pcm_of(TALK))):
            heard.wait_for(lambda: heard.count("connected") == 2)
            first.settimeout(PATIENCE_S)
            with suppress(ConnectionResetError):
                assert first.recv(1) == b""


def test_who_sends_nothing_for_a_while_ends_what_was_being_said(
    hear: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "QUIET_S", 0.1)
    address = f"tcp://127.0.0.1:{free_port()}"
    heard = hear(address)
    with closing(send_to(address, pcm_of(TALK))) as client:
        heard.wait_for(lambda: len(heard.samples) == len(TALK) // 480 * 480)
        heard.wait_for(lambda: heard.blocks[-1].restarted and not len(heard.blocks[-1].samples))
        client.sendall(pcm_of(TALK))
        heard.wait_for(lambda: len(heard.samples) > len(TALK))
    assert heard.count("disconnected") == 1, "push to talk is no event"
    gaps = [block for block in heard.blocks if block.paused_s]
    assert all(block.restarted for block in gaps)
    assert gaps[-1].paused_s > 0.05


@pytest.mark.parametrize(
    "header", [b"RIFF\x24\0\0\x80WAVEfmt ", b"fLaC" + bytes(40), b"OggS" + bytes(40), b"\x1aE\xdf\xa3junk"]
)
def test_what_cannot_be_decoded_ends_the_client_and_not_the_source(header: bytes, hear: Callable[..., Heard]) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    heard = hear(address)
    with closing(send_to(address, header)) as client:
        client.shutdown(socket.SHUT_WR)
        heard.wait_for(lambda: heard.count("disconnected") == 2)
    assert "sent what is no audio" in heard.reasons[-1][1]
    with closing(send_to(address, pcm_of(TALK))):
        heard.wait_for(lambda: heard.count("connected") == 1)


def test_an_address_that_is_taken(hear: Callable[..., Heard], tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "file").write_text("mine")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "stale"))
    stale.close()
    hear(f"unix:{tmp_path}/stale")
    for address in (f"tcp://127.0.0.1:{port}", f"unix:{tmp_path}/hall", f"ws://127.0.0.1:{free_port()}/a"):
        hear(address)
        with pytest.raises(AudioDeviceError, match="cannot listen at"):
            next(open_source(CaptureSettings(source=address)).blocks())
    for address in (f"unix:{tmp_path}/file", f"unix:{tmp_path}/no/folder", "tcp://192.0.2.1:7000", f"unix:{'x' * 200}"):
        with pytest.raises(AudioDeviceError, match="cannot listen at") as caught:
            next(open_source(CaptureSettings(source=address)).blocks())
        assert caught.value.exit_code == 4
    assert (tmp_path / "file").read_text() == "mine"


def test_nothing_is_left_of_two_hundred_clients(hear: Callable[..., Heard]) -> None:
    tcp, ws = f"tcp://127.0.0.1:{free_port()}", f"ws://127.0.0.1:{free_port()}/hall"
    for address in (tcp, ws):
        heard = hear(address)
        before = (0, 0)
        for number in range(101):
            if address is tcp:
                send_to(address, b"12345").close()
            else:
                with connect(address) as client:
                    client.send(b"1234")
            heard.wait_for(lambda number=number, heard=heard: heard.count("disconnected") == 2 + number)
            if number == 0:
                time.sleep(0.3)
                before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
        deadline_s = time.monotonic() + PATIENCE_S
        while (threading.active_count(), len(os.listdir("/proc/self/fd"))) > before:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)


def test_websockets_share_a_server_and_say_what_they_send(hear: Callable[..., Heard]) -> None:
    port = free_port()
    hall, yard = (hear(f"ws://127.0.0.1:{port}/{name}") for name in ("hall", "yard"))
    expected = np.frombuffer(pcm_of(TALK), "<i2") / np.float32(32_768)
    with connect(f"ws://127.0.0.1:{port}/hall") as one, connect(f"ws://127.0.0.1:{port}/yard?format=f32") as other:
        data = pcm_of(TALK)
        for start in range(0, len(data), 999):
            one.send(data[start : start + 999])
        floats = TALK.astype("<f4").tobytes()
        for start in range(0, len(floats), 1_001):
            other.send(floats[start : start + 1_001])
    for heard in (hall, yard):
        heard.wait_for(lambda heard=heard: heard.count("disconnected") == 2)
        assert heard.samples == pytest.approx(expected, abs=2e-4)
    hall.end()
    with connect(f"ws://127.0.0.1:{port}/yard?rate=48000") as other:
        other.send(pcm_of(np.repeat(TALK, 3)))
    yard.wait_for(lambda: yard.count("disconnected") == 3)
    assert len(yard.samples) == pytest.approx(2 * len(TALK), abs=20)
    with pytest.raises(InvalidStatus, match="404"):
        connect(f"ws://127.0.0.1:{port}/hall")


def opus_of(samples: Waveform) -> list[bytes]:
    """Return packets of 20 ms, as a browser's encoder makes them."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.format, encoder.layout = 48_000, "s16", "mono"
    packets = []
    data = np.repeat(samples, 3)
    for start in range(0, len(data) // 960 * 960, 960):
        block = (data[start : start + 960] * 32_767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(block[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48_000, start
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


def test_opus_packets(hear: Callable[..., Heard]) -> None:
    address = f"ws://127.0.0.1:{free_port()}/phone"
    heard = hear(address)
    with connect(f"{address}?codec=opus") as client:
        for packet in opus_of(TALK):
            client.send(packet)
    heard.wait_for(lambda: heard.count("disconnected") == 2)
    assert len(heard.samples) == pytest.approx(len(TALK), abs=1_000)
    powers = [float(np.mean(samples**2)) for samples in (heard.samples, TALK[: len(heard.samples)])]
    assert powers[0] == pytest.approx(powers[1], rel=0.2)


def closed(client: ClientConnection) -> ConnectionClosed:
    with pytest.raises(ConnectionClosed) as caught:
        client.recv(PATIENCE_S)
    return caught.value


def test_what_is_no_audio_closes_the_websocket_with_the_reason(hear: Callable[..., Heard]) -> None:
    address = f"ws://127.0.0.1:{free_port()}/hall"
    heard = hear(address)
    for query, message, code, reason in (
        ("", "hello", 1003, "binary messages"),
        ("?codec=opus", b"\xff" * 50, 1003, "no Opus packet"),
        ("", bytes(2_000_000), 1009, ""),
        ("", b"RIFF\x24\0\0\x80WAVEfmt \x10\0\0\0\xff\xff" + bytes(60), 1003, "WAV"),
    ):
        before = heard.count("disconnected")
        with connect(address + query) as client:
            with suppress(ConnectionClosed):
                client.send(message)
            error = closed(client)
        assert error.rcvd is not None
        assert error.rcvd.code == code
        assert reason in error.rcvd.reason
        heard.wait_for(lambda before=before: heard.count("disconnected") > before)
    with connect(address) as client, connect(address) as second:
        error = closed(second)
        assert error.rcvd is not None
        assert (error.rcvd.code, error.rcvd.reason) == (1013, "somebody else is sending")
        client.send(pcm_of(TALK))
        heard.wait_for(lambda: heard.count("connected") >= 1)


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("?rat=48000", {}, 400),
        ("?rate=1", {}, 400),
        ("?codec=mp3", {}, 400),
        ("?codec=opus&rate=8000", {}, 400),
        ("", {"Origin": "https://evil.example"}, 403),
        ("?token=secret", {"Origin": "https://evil.example"}, 403),
        ("?token=wrong", {}, 401),
        ("", {"Authorization": "Bearer wrong"}, 401),
        ("?token=secret", {"Origin": "https://ours.example"}, 101),
        ("", {"Authorization": "Bearer secret"}, 101),
    ],
)
def test_who_may_send(query: str, headers: dict[str, str], status: int, hear: Callable[..., Heard]) -> None:
    address = f"ws://127.0.0.1:{free_port()}/hall"
    secret = status in (401, 101, 403)
    hear(address, token="secret" if secret else "", origins=["https://ours.example"])
    if status == 101:
        with connect(address + query, additional_headers=headers):
            return
    with pytest.raises(InvalidStatus) as caught:
        connect(address + query, additional_headers=headers)
    assert caught.value.response.status_code == status


def test_what_is_sent_faster_than_it_sounds_is_heard_to_the_end(
    hear: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pings of a client are answered meanwhile, however far ahead of its own audio it is."""
    address = f"ws://127.0.0.1:{free_port()}/hall"
    heard = hear(address)
    talk = np.tile(TALK, 3)
    with connect(address, ping_interval=0.2, ping_timeout=0.4, max_size=None) as client:
        for start in range(0, len(talk), 1_600):
            client.send(pcm_of(talk[start : start + 1_600]))
        heard.wait_for(lambda: len(heard.samples) >= len(talk) // 480 * 480)
        client.ping().wait(PATIENCE_S)
    heard.wait_for(lambda: heard.count("disconnected") == 2)
    assert len(heard.samples) == len(talk)
    assert sum(block.lost_s for block in heard.blocks) == 0


def test_a_client_further_ahead_than_the_backlog_waits_and_loses_nothing(
    hear: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "BACKLOG_BYTES", 4_000)
    address = f"ws://127.0.0.1:{free_port()}/hall"
    heard = hear(address)
    with connect(address) as client:
        for _ in range(3):
            client.send(pcm_of(TALK))
    heard.wait_for(lambda: heard.count("disconnected") == 2)
    assert len(heard.samples) == 3 * len(TALK)


STARVED = """
import os, resource, socket, sys, threading, time
from edge.capture import open_source
from edge.settings import CaptureSettings

source = open_source(CaptureSettings(source=sys.argv[1]))
blocks = source.blocks()
next(blocks)
limit = resource.getrlimit(resource.RLIMIT_NOFILE)
waiting = socket.socket()
resource.setrlimit(resource.RLIMIT_NOFILE, (60, limit[1]))
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
waiting.connect(("127.0.0.1", int(sys.argv[2])))
time.sleep(0.5)
for descriptor in taken:
    os.close(descriptor)
waiting.close()
print("starved", flush=True)
heard = 0
for block in blocks:
    heard += len(block.samples)
    if heard > 1_000:
        print("heard", flush=True)
"""


@pytest.mark.parametrize("scheme", ["tcp", "ws"])
def test_without_a_free_descriptor_clients_wait_and_are_heard_later(scheme: str) -> None:
    port = free_port()
    address = f"{scheme}://127.0.0.1:{port}" + ("/hall" if scheme == "ws" else "")
    with subprocess.Popen(
        [sys.executable, "-c", STARVED, address, str(port)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "starved\n"
        time.sleep(1.5)  # who was let in and said nothing has left by now
        if scheme == "tcp":
            with closing(send_to(address, pcm_of(TALK))):
                assert process.stdout.readline() == "heard\n"
        else:
            with connect(address) as client:
                client.send(pcm_of(TALK))
                assert process.stdout.readline() == "heard\n"
        process.kill()


def test_who_says_nothing_or_does_not_answer_holds_up_no_closing(hear: Callable[..., Heard]) -> None:
    port = free_port()
    heard = hear(f"ws://127.0.0.1:{port}/hall")
    with closing(socket.create_connection(("127.0.0.1", port))) as silent, closing(socket.socket()) as deaf:
        silent.sendall(b"GET /hall HTTP/1.1\r\n")
        deaf.connect(("127.0.0.1", port))
        deaf.sendall(
            b"GET /hall HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        heard.wait_for(lambda: b"101" in deaf.recv(4_096))
        heard.end()  # waits for less than the 10 s after which a handshake or a close is commonly given up
    assert not [thread.name for thread in threading.enumerate() if "web server" in thread.name]


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "PUT", "DELETE", "PATCH", "HEAD", "CONNECT", "TRACE"])
def test_a_web_page_cannot_speak_to_a_socket(method: str, hear: Callable[..., Heard]) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    heard = hear(address)
    request = f"{method} / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999\r\n\r\n".encode()
    with closing(send_to(address, request[:3])) as client:
        client.sendall(request[3:] + pcm_of(TALK)[:9_999])
        heard.wait_for(lambda: heard.count("disconnected") == 2)
    assert "this is HTTP" in heard.reasons[-1][1]
    assert not len(heard.samples)


def test_a_byte_now_and_then_keeps_nobody_out(hear: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "STALE_S", 0.3)
    address = f"tcp://127.0.0.1:{free_port()}"
    heard = hear(address)
    with closing(send_to(address, pcm_of(TALK)[:2_000])) as dripping:
        heard.wait_for(lambda: heard.count("connected") == 1)
        for _ in range(10):
            dripping.sendall(b"xx")
            time.sleep(0.1)
        with closing(send_to(address, pcm_of(TALK))):
            heard.wait_for(lambda: heard.count("connected") == 2)


@pytest.mark.parametrize("form", ["tcp://127.0.0.1:{port}", "ws://127.0.0.1:{port}/hall", "unix:{folder}/hall"])
def test_in_a_pause_nobody_is_let_in_and_time_without_a_client_is_not_lost(
    form: str, hear: Callable[..., Heard], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "QUIET_S", 0.1)
    port = free_port()
    address = form.format(port=port, folder=tmp_path)
    heard = hear(address)

    def is_open() -> bool:
        if form.startswith("unix"):
            return (tmp_path / "hall").exists()
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    time.sleep(0.5)
    heard.source.pause()
    heard.wait_for(lambda: not is_open())
    time.sleep(0.5)
    heard.source.go_on()
    heard.wait_for(is_open)
    time.sleep(0.5)
    heard.wait_for(lambda: heard.count("disconnected") >= 2)
    if form.startswith("ws"):
        with connect(address) as client:
            client.send(pcm_of(TALK))
    else:
        send_to(address, pcm_of(TALK)).close()
    heard.wait_for(lambda: len(heard.samples) == len(TALK))
    assert sum(block.lost_s for block in heard.blocks) == 0
    assert sum(block.paused_s for block in heard.blocks) >= 1.4, "the clock went on all the time"


def test_a_socket_that_closes_leaves_its_successors_alone(tmp_path: Path) -> None:
    first, second = (SocketSource(Address("unix", path=str(tmp_path / "hall")), 16_000, 1.0) for _ in range(2))
    first._listen()
    (tmp_path / "hall").unlink()
    second._listen()
    first._stop_listening()
    assert (tmp_path / "hall").exists()
    second._stop_listening()
    assert not (tmp_path / "hall").exists()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4_000), max_size=12), st.sampled_from(["s16", "f32"]))
def test_how_audio_is_cut_into_messages_makes_no_difference(cuts: list[int], form: str) -> None:
    data = TALK.astype("<f4").tobytes() if form == "f32" else pcm_of(TALK)
    places = [0, *sorted(cuts), len(data)]
    convert = converter({"format": form})
    pieces = b"".join(convert(data[start:end]) for start, end in pairwise(places))
    assert pieces == converter({"format": form})(data)


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3))
def test_any_query_is_understood_or_refused(query: dict[str, str]) -> None:
    with suppress(UsageError):
        check_query(query)
        with suppress(AudioFileError):
            converter(query)(b"1234")
