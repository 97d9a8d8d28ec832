"""Voice assistants: real clients and a real speech-to-text, by the package ``wyoming``, with affectd between them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe, Info, SelectProgram
from wyoming.ping import Ping

from edge.capture.wyoming import turn
from edge.recognizer import Recognizer
from helpers.assistants import HANGS_S, WORDS, Handler, ask, chunks_of, say_words, speak, speech_to_text, whisper_info
from helpers.assisted import TURN, Listen, answer_in, listen, model, types
from helpers.conversation import LEVELS
from helpers.signals import silence, speech_like

__all__ = ["listen", "model"]

VOICES = ["voice-started", "voice-stopped"]


def test_a_transcript_says_who_spoke_and_how(listen: Listen) -> None:
    asked = [Transcribe("base", "en", {"turn": 6}).event(), *chunks_of(TURN)]
    with speech_to_text() as (upstream, heard), listen(upstream) as running:
        answers = asyncio.run(ask(running.port, asked))
        running.wait_for(lambda: bool(running.utterances))
    assert [(event.type, event.data, event.payload or b"") for event in heard] == [
        (event.type, event.data, event.payload or b"") for event in asked
    ]
    assert types(answers) == [*VOICES, "transcript"]
    started, stopped, transcript = answers
    assert started.data["timestamp"] == pytest.approx(300, abs=90)
    assert stopped.data["timestamp"] == pytest.approx(1_500, abs=90)
    (said,) = running.utterances
    assert transcript.data["text"] == WORDS
    assert transcript.data["language"] == "en"
    assert transcript.data["context"]["turn"] == 7
    assert answer_in(answers) == {
        "speaker": None,
        "emotion": said.emotion,
        "confidence": round(said.confidence or 0, 4),
        "needs_review": said.needs_review,
        "scores": {label: round(score, 4) for label, score in said.scores.items()},
        "event": said.number,
    }


def test_without_speech_to_text_there_are_no_words(listen: Listen) -> None:
    with listen() as running:
        (info,) = asyncio.run(ask(running.port, [Describe().event()], "info"))
        (program,) = Info.from_event(info).asr
        assert (program.name, program.installed, program.models[0].languages) == ("affectd", True, ["mul"])
        answers = speak(running.port, TURN)
        assert types(answers) == [*VOICES, "transcript"]
        transcript = Transcript.from_event(answers[-1])
        assert (transcript.text, transcript.language) == ("", "en")
        assert transcript.context
        assert transcript.context["affectd"]["emotion"] in LEVELS
        (pong,) = asyncio.run(ask(running.port, [Ping("there?").event()], "pong"))
        assert pong.data == {"text": "there?"}


def test_nothing_said_is_nobody(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "WAIT_S", HANGS_S)  # it is not waited for
    with speech_to_text() as (upstream, _), listen(upstream) as running:
        answers = speak(running.port, silence(1.0))
        assert types(answers) == ["transcript"]
        assert answer_in(answers) is None
        assert answer_in(speak(running.port, np.concatenate([TURN, silence(1.5)])))
        answers = asyncio.run(ask(running.port, [AudioStart(16_000, 2, 1).event(), AudioStop().event()]))
        assert answer_in(answers) is None


def test_each_turn_is_answered_by_its_own(listen: Listen) -> None:
    with speech_to_text() as (upstream, _), listen(upstream) as running:
        for number, level in enumerate((0.1, 1.0, 3.0)):
            answer = answer_in(speak(running.port, level * TURN))
            running.wait_for(lambda number=number: len(running.utterances) == number + 1)
            assert (answer["emotion"], answer["event"]) == (
                running.utterances[-1].emotion,
                running.utterances[-1].number,
            )
        assert [event.emotion for event in running.utterances] == ["neutral", "happy", "angry"]
        ends_s = [event.end_s or 0 for event in running.utterances]
        assert ends_s == sorted(ends_s)
        connected = [event for event in running.events if event.reason in ("connected", "disconnected")]
        assert len(connected) == 2


def test_affectd_is_named_before_the_speech_to_text(listen: Listen) -> None:
    with speech_to_text() as (upstream, heard), listen(upstream) as running:
        (answer,) = asyncio.run(ask(running.port, [Describe().event()], "info"))
        select = SelectProgram("affectd + whisper").event()
        asyncio.run(ask(running.port, [select, Describe().event()], "info"))
    (found,), (whisper,) = Info.from_event(answer).asr, whisper_info().asr
    assert found.name == f"affectd + {whisper.name}"
    assert found.attribution.name == f"{whisper.attribution.name}, affectd"
    assert (found.models, found.version) == (whisper.models, whisper.version)
    assert found.supports_transcript_streaming
    assert SelectProgram("whisper").event().data in [event.data for event in heard]


def test_a_second_one_is_described_and_transcribed_meanwhile(listen: Listen, caplog: pytest.LogCaptureFixture) -> None:
    async def both(port: int) -> tuple[list[Event], ...]:
        start, *chunks, stop = chunks_of(TURN)
        async with AsyncTcpClient("127.0.0.1", port, read_timeout=HANGS_S) as first:
            for event in (start, *chunks[:5]):
                await first.write_event(event)
            await asyncio.sleep(0.2)
            described = await ask(port, [Describe().event()], "info")
            second = await ask(port, chunks_of(TURN))
            for event in (*chunks[5:], stop):
                await first.write_event(event)
            found = []
            while event := await first.read_event():
                found.append(event)
            return described, second, found

    with speech_to_text() as (upstream, _), listen(upstream) as running:
        described, second, first = asyncio.run(both(running.port))
        assert types(described) == ["info"]
        assert types(second) == ["transcript"]
        assert (second[0].data["text"], answer_in(second)) == (WORDS, None)
        assert answer_in(first)["event"]
    assert "gets a transcript without speaker and emotion" in caplog.text


async def stream_words(handler: Handler) -> bool:
    for event in (TranscriptStart({"turn": 7}), *map(TranscriptChunk, WORDS.split()), Transcript(WORDS)):
        await handler.write_event(event.event())
    await handler.write_event(TranscriptStop().event())
    return False


def test_a_transcript_in_pieces(listen: Listen) -> None:
    with speech_to_text(stream_words) as (upstream, _), listen(upstream) as running:
        answers = [event for event in speak(running.port, TURN, "transcript-stop") if event.type not in VOICES]
    assert types(answers) == ["transcript-start", *["transcript-chunk"] * 4, "transcript", "transcript-stop"]
    start, transcript = answers[0], answers[-2]
    assert start.data["context"]["turn"] == 7
    assert start.data["context"]["affectd"] == transcript.data["context"]["affectd"]
    assert start.data["context"]["affectd"]["emotion"]


def test_who_knows_before_the_end_is_answered_then(listen: Listen) -> None:
    """A speech-to-text that ends a command itself, and hangs up while the client goes on sending."""

    class Eager(Handler):
        async def handle_event(self, event: Event) -> bool:
            await super().handle_event(event)
            count = sum(AudioChunk.is_type(event.type) for event in self.heard)
            return await say_words(self) if count == 20 else True

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("helpers.assistants.Handler", Eager)
        with speech_to_text() as (upstream, _), listen(upstream) as running:
            answers = speak(running.port, np.concatenate([TURN, silence(3)]), "never", pace_s=0.005)
            assert types(answers) == [*VOICES, "transcript"]
            assert answer_in(answers)["emotion"]


def test_a_slow_affectd_holds_nothing_up(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, encode = threading.Event(), Recognizer.encode

    def slow(self: Recognizer, *arguments: Any) -> Any:
        assert gate.wait(HANGS_S)
        return encode(self, *arguments)

    with speech_to_text() as (upstream, _), listen(upstream) as running:
        monkeypatch.setattr(Recognizer, "encode", slow)
        answers = speak(running.port, TURN)
        assert types(answers) == [*VOICES, "transcript"]
        assert answers[-1].data["context"] == {"turn": 7, "affectd": None}
        gate.set()
        running.wait_for(lambda: len(running.utterances) == 1)
        assert answer_in(speak(running.port, TURN))["event"] > (running.utterances[0].number or 0)


def test_a_slow_speech_to_text_gets_the_late_answer(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    async def wait(handler: Handler) -> bool:
        await asyncio.get_running_loop().run_in_executor(None, answered.wait, HANGS_S)
        return await say_words(handler)

    monkeypatch.setattr(turn, "WAIT_S", 0.0)
    with speech_to_text(wait) as (upstream, _), listen(upstream) as running:
        threading.Thread(target=lambda: (running.wait_for(lambda: bool(running.utterances)), answered.set())).start()
        assert answer_in(speak(running.port, TURN))["event"] == running.utterances[0].number


def test_a_long_recording_at_once_is_heard_whole(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "PATIENCE_S", HANGS_S)
    talk = np.concatenate([np.concatenate([speech_like(1.0, seed), silence(0.8)]) for seed in range(15)])
    with listen(**{"capture.queue_s": 1.0, "encoder.queue_utterances": 50}) as running:
        assert answer_in(speak(running.port, talk))
        running.wait_for(lambda: len(running.utterances) == 15)
        assert not any(event.dropped_s for event in running.utterances)


def test_a_pause_leaves_the_words(listen: Listen) -> None:
    with speech_to_text() as (upstream, _), listen(upstream) as running:
        running.listening._engine.streams.pause(None, "paused")
        for _ in range(3):
            answers = speak(running.port, TURN)
            assert types(answers) == ["transcript"]
            assert answers[-1].data["context"] == {"turn": 7, "affectd": None}
        running.listening._engine.streams.go_on(None, "listening again")

        assert answer_in(speak(running.port, TURN))
