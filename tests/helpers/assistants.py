"""Both ends of a voice assistant, by the package ``wyoming``: who speaks, and what makes words of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import AsrModel, AsrProgram, Attribution, Describe, Info
from wyoming.server import AsyncEventHandler, AsyncTcpServer

from edge.audio import SAMPLE_RATE_HZ, Waveform
from helpers.ports import free_port

HANGS_S = 30
WORDS = "turn on the light"
Reply = Callable[["Handler"], Awaitable[bool]]


def whisper_info() -> Info:
    """Return how a speech-to-text describes itself."""
    model = AsrModel("base", Attribution("OpenAI", "https://openai.example"), True, "base", "1", ["en", "de"])
    attribution = Attribution("Whisper", "https://whisper.example")
    return Info(asr=[AsrProgram("whisper", attribution, True, "Words", "1.2", [model], True)])


async def say_words(handler: Handler) -> bool:
    """Answer with words and a context, and hang up, as many services do."""
    await handler.write_event(Transcript(WORDS, context={"turn": 7}, language="en").event())
    return False


class Handler(AsyncEventHandler):
    """A client of the speech-to-text."""

    def __init__(self, heard: list[Event], reply: Reply, *streams: Any) -> None:
        super().__init__(*streams)
        self.heard, self.reply = heard, reply

    async def handle_event(self, event: Event) -> bool:
        self.heard.append(event)
        if Describe.is_type(event.type):
            await self.write_event(whisper_info().event())
        return await self.reply(self) if AudioStop.is_type(event.type) else True


@contextmanager
def speech_to_text(reply: Reply = say_words) -> Iterator[tuple[str, list[Event]]]:
    """Run a real one; yield its address and what it hears."""
    heard: list[Event] = []
    port, began = free_port(), threading.Event()
    loop, over = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        server = AsyncTcpServer("127.0.0.1", port)
        serving = asyncio.ensure_future(server.run(partial(Handler, heard, reply)))
        while not (server._server and server._server.is_serving()):
            await asyncio.sleep(0.01)
        began.set()
        await over.wait()
        tasks = [serving, *server._handlers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert began.wait(HANGS_S)
    yield f"tcp://127.0.0.1:{port}", heard
    loop.call_soon_threadsafe(over.set)
    thread.join(HANGS_S)
    loop.close()


def pcm_of(samples: Waveform) -> bytes:
    """Return 16-bit PCM."""
    return (np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes()


def chunks_of(samples: Waveform, rate_hz: int = SAMPLE_RATE_HZ, frames: int = 1_024) -> list[Event]:
    """Return samples as a client sends them, from audio-start to audio-stop."""
    data = pcm_of(samples)
    step = 2 * frames
    chunks = [AudioChunk(rate_hz, 2, 1, data[start : start + step]).event() for start in range(0, len(data), step)]
    return [AudioStart(rate_hz, 2, 1).event(), *chunks, AudioStop().event()]


async def ask(port: int, events: Sequence[Event], until: str = "transcript", pace_s: float = 0.0) -> list[Event]:
    """Send, and return what comes back until there is an event of a type, or the connection ends."""
    async with AsyncTcpClient("127.0.0.1", port, read_timeout=HANGS_S) as client:

        async def send() -> None:
            for event in events:
                await client.write_event(event)
                if pace_s and AudioChunk.is_type(event.type):
                    await asyncio.sleep(pace_s)

        sending = asyncio.ensure_future(send())
        found = []
        while event := await client.read_event():
            found.append(event)
            if event.type == until:
                break
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    return found


def speak(port: int, samples: Waveform, until: str = "transcript", pace_s: float = 0.0) -> list[Event]:
    """Say something as Home Assistant does: on a connection of its own."""
    return asyncio.run(ask(port, [Transcribe(language="en").event(), *chunks_of(samples)], until, pace_s))
