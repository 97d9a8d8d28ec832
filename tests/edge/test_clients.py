"""Audio from elsewhere: real clients over TCP, Unix sockets and WebSockets."""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections.abc import Callable
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
from edge.capture import clients, open_source
from edge.capture.address import Address, is_address, parse_address
from edge.capture.messages import check_query, converter
from edge.errors import AudioDeviceError, AudioFileError, UsageError
from edge.settings import CaptureSettings
from helpers.listeners import PATIENCE_S, TALK, Heard, hear, pcm_of, send_to
from helpers.ports import free_port

__all__ = ["hear"]


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
