"""Voice assistants where something goes wrong: a client is told so, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe

from edge.capture.wyoming import connection, server, source, transport, turn
from edge.capture.wyoming.messages import LONGEST_LINE, LONGEST_PAYLOAD
from helpers.assistants import HANGS_S, Handler, Reply, ask, chunks_of, speak, speech_to_text
from helpers.assisted import TURN, Listen, answer_in, error_in, listen, model, types
from helpers.ports import free_port
from helpers.signals import silence

__all__ = ["listen", "model"]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LINGER_S", 0.5)


async def never(_: Handler) -> bool:
    return True


async def hang_up(_: Handler) -> bool:
    return False


async def reset(handler: Handler) -> bool:
    handler.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.writer.transport.abort()
    return True


async def garbage(handler: Handler) -> bool:
    handler.writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    return True


async def half(handler: Handler) -> bool:
    handler.writer.write(b'{"type": "transcript", "data_length": 100}\n{"te')
    return False


async def error(handler: Handler) -> bool:
    await handler.write_event(Error("no model", "no-model").event())
    return True


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (never, "upstream-timeout"),
        (hang_up, "upstream-closed"),
        (reset, "upstream-closed"),
        (garbage, "upstream-malformed"),
        (half, "upstream-malformed"),
        (error, "no-model"),
    ],
)
def test_a_speech_to_text_that_fails(reply: Reply, code: str, listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_S", 0.5)
    with speech_to_text(reply) as (upstream, _), listen(upstream) as running:
        answers = speak(running.port, TURN, "error")
        assert error_in(answers) == code
        assert "transcript" not in types(answers)
        running.wait_for(lambda: len(running.utterances) == 1)


def test_a_speech_to_text_that_is_not_there(listen: Listen, caplog: pytest.LogCaptureFixture) -> None:
    with listen(f"tcp://127.0.0.1:{free_port()}") as running:
        for asked in ([Describe().event()], [Transcribe().event(), *chunks_of(TURN)]):
            answers = asyncio.run(ask(running.port, asked, "never"))
            assert types(answers) == ["error"]
            assert error_in(answers) == "upstream-unreachable"
            assert "cannot be reached: Connection refused" in answers[0].data["text"]
    assert "cannot be reached" in caplog.text


@pytest.mark.parametrize("what", ["describe", "audio"])
def test_a_speech_to_text_that_is_stuck(what: str, listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lets clients in, and neither reads nor writes."""
    monkeypatch.setattr(connection, "DESCRIBE_S", 0.5)
    monkeypatch.setattr(connection, "SEND_S", 0.5)
    monkeypatch.setattr(turn, "PATIENCE_S", 0.0)
    with (
        socket.create_server(("127.0.0.1", 0)) as stuck,
        listen(f"tcp://127.0.0.1:{stuck.getsockname()[1]}") as running,
    ):
        much = AudioChunk(16_000, 2, 1, bytes(LONGEST_PAYLOAD)).event()
        asked = [Describe().event()] if what == "describe" else [AudioStart(16_000, 2, 1).event(), *[much] * 8]
        assert error_in(asyncio.run(ask(running.port, asked, "error"))) == "upstream-timeout"


def raw(port: int, data: bytes, is_over: bool = True) -> list[dict[str, Any]]:
    """Send bytes, and return the heads of what comes back until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), HANGS_S) as client:
        client.sendall(data)
        if is_over:
            client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answers:
            heads = []
            while line := answers.readline():
                heads.append(json.loads(line))
                heads[-1]["data"] = json.loads(answers.read(heads[-1].get("data_length", 0)) or "{}")
            return heads


CHUNK = b'{"type": "audio-chunk", "data": {"rate": 16000, "width": 2, "channels": 1}, "payload_length": 2}\nab'


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "no JSON"),
        (b"\n", "no JSON"),
        (b"[]\n", "no JSON object"),
        (b"[" * 60_000 + b"\n", "no JSON"),
        (b"9" * 10_000 + b"\n", "no JSON"),
        (b"{}\n", "no type"),
        (b'{"type": 3}\n', "no type"),
        (b'{"type": "describe", "data": [1]}\n', "no object"),
        (b'{"type": "describe"', "ends within"),
        (b'{"type": "describe", "data_length": 5}\n{}', "ends within"),
        (b'{"type": "describe", "data_length": 2}\n[]', "its data is no JSON object"),
        (b'{"type": "describe", "data_length": -1}\n', "data_length is not from 0"),
        (b'{"type": "describe", "payload_length": 1e3}\n', "payload_length is not from 0"),
        (b'{"type": "describe", "payload_length": 99999999999999}\n', "payload_length is not from 0"),
        (b'{"type": "describe", "payload_length": true}\n', "payload_length is not from 0"),
        (b"x" * (2 * LONGEST_LINE), f"longer than {LONGEST_LINE}"),
        (CHUNK.replace(b"16000", b"0"), "rate, width and channels are 0, 2, 1"),
        (CHUNK.replace(b"16000", b'"16000"'), "rate, width and channels"),
        (CHUNK.replace(b'"width": 2, ', b""), "rate, width and channels are 16000, None, 1"),
        (CHUNK.replace(b'"channels": 1', b'"channels": true'), "rate, width and channels"),
        (CHUNK[:-1], "ends within"),
    ],
)
def test_what_is_no_message_is_refused(data: bytes, what: str, listen: Listen) -> None:
    with listen() as running:
        (head,) = raw(running.port, data, is_over="ends" in what)
        assert (head["type"], head["data"]["code"]) == ("error", "malformed-message")
        assert what in head["data"]["text"]
        assert answer_in(speak(running.port, TURN))


@pytest.mark.parametrize("changed", [{"rate": 4_000}, {"width": 5}, {"channels": 99}, {"rate": 1 << 40}])
def test_audio_that_cannot_be_heard_is_passed_on(
    changed: dict[str, int], listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    chunk = AudioChunk(**{"rate": 16_000, "width": 2, "channels": 1, **changed}, audio=bytes(1_024)).event()
    with speech_to_text() as (upstream, heard), listen(upstream) as running:
        answers = asyncio.run(ask(running.port, [AudioStart(16_000, 2, 1).event(), chunk, AudioStop().event()]))
        assert answer_in(answers) is None
        assert chunk.data in [event.data for event in heard]
        assert answer_in(speak(running.port, TURN))
    assert "nothing that could be heard" in caplog.text


def test_who_leaves_in_the_middle_is_heard_so_far(listen: Listen) -> None:
    with speech_to_text() as (upstream, heard), listen(upstream) as running:
        for number in range(3):
            asyncio.run(ask(running.port, [*chunks_of(TURN)[:-6], Describe().event()], "info"))
            running.wait_for(lambda number=number: len(running.utterances) == number + 1)
        assert answer_in(speak(running.port, TURN))
    assert sum(AudioStop.is_type(event.type) for event in heard) == 1


def test_who_falls_silent_makes_room(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "STALE_S", 0.0)
    with listen() as running, socket.create_connection(("127.0.0.1", running.port)) as idle:
        idle.sendall(b'{"type": "audio-start"}\n' + CHUNK)
        assert answer_in(speak(running.port, TURN))
        monkeypatch.setattr(turn, "STALE_S", 60.0)
        idle.sendall(b'{"type": "audio-start"}\n' + CHUNK)
        running.wait_for(lambda: answer_in(speak(running.port, TURN)) is None)


def test_who_says_nothing_for_long_is_told(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_S", 0.2)
    with listen() as running:
        (head,) = raw(running.port, b"", is_over=False)
        assert head["data"]["code"] == "idle"


def test_too_many_at_once(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CLIENTS", 2)
    with listen() as running:
        others = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(2)]
        running.wait_for(lambda: [head["data"].get("code") for head in raw(running.port, b"")] == ["too-many-clients"])
        for other in others:
            other.close()
        running.wait_for(lambda: asyncio.run(ask(running.port, [Describe().event()], "info"))[-1].type == "info")


def test_the_end_is_said(listen: Listen) -> None:
    found: list[Event] = []
    with speech_to_text(never) as (upstream, heard):
        with listen(upstream) as running:
            thread = threading.Thread(target=lambda: found.extend(speak(running.port, TURN, "error")))
            thread.start()
            running.wait_for(lambda: any(AudioStop.is_type(event.type) for event in heard))
        thread.join(HANGS_S)
        assert error_in(found) == "ending"
        with pytest.raises(ConnectionRefusedError), closing(socket.create_connection(("127.0.0.1", running.port))):
            pass


def test_a_stuck_affectd_holds_nothing_up(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes the audio: it is lost, and the words come all the same."""
    gate = threading.Event()
    real: Callable[..., Any] = source.blocks_of_turn

    def stuck(chunks: Any) -> Any:
        assert gate.wait(HANGS_S)
        return real(chunks)

    monkeypatch.setattr(source, "blocks_of_turn", stuck)
    monkeypatch.setattr(turn, "PATIENCE_S", 0.1)
    with speech_to_text() as (upstream, _), listen(upstream, **{"capture.queue_s": 1.0}) as running:
        for _ in range(3):
            answers = speak(running.port, np.concatenate([TURN, silence(5)]))
            assert types(answers) == ["transcript"]
            assert answer_in(answers) is None
        gate.set()
        running.wait_for(lambda: bool(answer_in(speak(running.port, TURN))))
