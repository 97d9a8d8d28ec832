"""What becomes of each utterance in events, whatever the audio, its blocking and the load."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.audio import Waveform
from edge.bundle import Bundle
from edge.capture import Block
from edge.engine import Engine
from edge.event import EARLY, Event
from edge.people.household import Household
from edge.people.refine import Refiner
from edge.recognizer import Encoding, Recognizer
from edge.room import Room
from edge.settings import EncoderSettings, EventSettings, PartialSettings, SegmenterSettings, Settings, SpeakerSettings
from edge.timing import Timing
from helpers.household import ben, enrol
from helpers.running import Recorder
from helpers.signals import silence, speech_like

ROOT = Path(__file__).resolve().parents[2]
CONVERSATION = ROOT / "examples" / "conversation.flac"
ANSWERS = ("partial", "provisional", "utterance")


@dataclass
class Blocks:
    """A source whose blocks have the given lengths, over and over, with audio lost before some of them."""

    samples: Waveform
    lengths: Sequence[int]
    lost_s: Sequence[float] = (0.0,)
    can_wait: bool = True
    name: str = "blocks"

    def blocks(self) -> Iterator[Block]:
        start = 0
        for length, lost_s in zip(cycle(self.lengths), cycle(self.lost_s), strict=False):
            if start >= len(self.samples):
                return
            yield Block(self.samples[start : start + length], time.monotonic(), lost_s)
            start += length

    def close(self) -> None: ...


class Slow(Recognizer):
    """A recogniser that now and then takes its time."""

    calls = 0

    def encode(self, waveforms: Sequence[Waveform], voiceprints: bool = False) -> list[Encoding]:
        self.calls += 1
        time.sleep(0.01 if self.calls % 2 else 0)
        return super().encode(waveforms, voiceprints)


@pytest.fixture(scope="module")
def recognizer(bundle: Bundle) -> Recognizer:
    recognizer = Slow(bundle, EncoderSettings())
    recognizer.load()
    return recognizer


def run(recognizer: Recognizer, *sources: Blocks, **sections: Any) -> list[Event]:
    recorder = Recorder()
    Engine(sources, recognizer, [recorder], Settings(**sections)).run()
    return recorder.events


def spoken(pattern_s: Sequence[float], seed: int = 0) -> Waveform:
    """Return speech and silence in turn, of these durations, each utterance as loud as its place."""
    parts = [
        (1 + index % 3) * speech_like(duration_s, seed + index) if index % 2 else silence(duration_s, seed=seed)
        for index, duration_s in enumerate(pattern_s, start=1)
    ]
    return np.concatenate(parts).astype(np.float32)


def by_id(events: Sequence[Event]) -> dict[int, list[Event]]:
    found: dict[int, list[Event]] = {}
    for event in events:
        if event.id is not None:
            found.setdefault(event.id, []).append(event)
    return found


def plain(event: Event, **changes: Any) -> Event:
    """Return an event without what no two have in common."""
    return replace(event, time="", number=None, revision=None, latency_ms={}, **changes)


def assert_consistent(events: Sequence[Event]) -> None:
    for own in by_id(events).values():
        types = [event.type for event in own]
        assert types[-1] in ("utterance", "skipped")
        assert not {"utterance", "skipped"} & set(types[:-1])
        assert types[0] == "speech_start"
        assert [event.revision for event in own] == list(range(len(own)))
        for before, event in pairwise(own):
            if event.type == "resumed":
                assert before.type == "provisional"
            if event.type == "utterance":
                assert plain(event) == plain(before, type="utterance"), "the last provisional answer is the final one"
        assert len({event.source for event in own}) == 1


def comparable(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Return what does not depend on the machine; batches of other sizes round differently."""
    values = [plain(event).to_dict() for event in events]
    for value in values:
        for name in ("scores", "latency_ms"):
            value.pop(name, None)
        for name in ("confidence", "room"):
            if name in value:
                value[name] = pytest.approx(value[name], abs=2e-3)
    return values


PATTERNS = st.lists(st.floats(0.05, 1.6), min_size=2, max_size=8)
LENGTHS = st.lists(st.integers(100, 9_000), min_size=1, max_size=4)
LOSSES = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.5]), min_size=1, max_size=5)


@settings(max_examples=30)
@given(PATTERNS, LENGTHS, st.sampled_from([0.0, 0.25]), st.sampled_from([0.06, 0.24]))
def test_every_utterance_ends_once_and_as_it_was_said_last(
    recognizer: Recognizer, pattern_s: list[float], lengths: list[int], every_s: float, tail_s: float
) -> None:
    samples = spoken(pattern_s)
    sections = {"partials": PartialSettings(every_s=every_s), "segmenter": SegmenterSettings(tail_s=tail_s)}
    events = run(recognizer, Blocks(samples, lengths), **sections)
    assert_consistent(events)
    again = run(recognizer, Blocks(samples, (len(samples),)), **sections)
    assert comparable(again) == comparable(events), "the blocking makes no difference"


@settings(max_examples=30)
@given(PATTERNS, LENGTHS, LOSSES, st.integers(1, 3))
def test_no_load_and_no_loss_breaks_the_order(
    recognizer: Recognizer, pattern_s: list[float], lengths: list[int], lost_s: list[float], queued: int
) -> None:
    sources = [
        Blocks(spoken(pattern_s, seed), lengths, lost_s, can_wait=name == "patient", name=name)
        for seed, name in enumerate(("live", "other", "patient"))
    ]
    events = run(
        recognizer, *sources, encoder=EncoderSettings(queue_utterances=queued), partials=PartialSettings(every_s=0.3)
    )
    assert_consistent(events)
    assert all(event.reason == "too_slow" for event in events if event.type == "skipped")
    alone = run(recognizer, sources[-1], partials=PartialSettings(every_s=0.3))
    ends = [
        [(event.type, event.start_s, event.end_s) for event in seen if event.source == "patient" and event.id]
        for seen in (events, alone)
    ]
    assert ends[0] == ends[1], "who can wait loses nothing to those who cannot"


HESITANT = (1.0, 0.3, 1.0, 0.3, 1.0, 0.8, 1.0, 0.8)
"""Somebody who goes on twice, and a second utterance."""


def test_only_the_final_answer_is_learnt_from(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    learnt: list[float] = []
    update = Room.update

    def spy(self: Room, embedding: Any, probabilities: Any) -> None:
        learnt.append(float(probabilities.max()))
        update(self, embedding, probabilities)

    monkeypatch.setattr(Room, "update", spy)
    timings: list[Timing] = []
    recorder = Recorder()
    at_once = Settings(segmenter=SegmenterSettings(withdrawn_share=1))
    engine = Engine([Blocks(spoken(HESITANT), (800,))], recognizer, [recorder], at_once, [timings.append])
    summary = engine.run()
    assert [event.type for event in recorder.events if event.id == 1] == [
        "speech_start", "provisional", "resumed", "provisional", "resumed", "provisional", "utterance",
    ]  # fmt: skip
    finals = recorder.of("utterance")
    assert learnt == pytest.approx([event.confidence for event in finals])
    assert len(timings) == summary.utterances == len(finals) == 2
    assert {event.room for event in recorder.events if event.id == 1 and event.type in ANSWERS} == {0.0}


def test_nothing_is_said_or_learnt_of_another_voice(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[Any] = []
    monkeypatch.setattr(Room, "update", lambda self, embedding, probabilities: learnt.append(embedding))
    enrol(tmp_path, bundle, "Ben", ben)
    bound = {"speakers": SpeakerSettings(store=str(tmp_path), only=("Ben",)), "partials": PartialSettings(every_s=0.5)}
    events = run(Recognizer(bundle, EncoderSettings()), Blocks(spoken(HESITANT), (800,)), **bound)
    assert [event.type for event in events if event.id] == ["speech_start", "skipped"] * 2
    assert {event.reason for event in events if event.type == "skipped"} == {"other_voice"}
    assert "bound to Ben" in next(event.message for event in events if event.type == "skipped")
    assert not learnt


def test_what_comes_early_can_be_left_out(recognizer: Recognizer) -> None:
    everything = run(recognizer, Blocks(spoken(HESITANT), (800,)))
    final = run(recognizer, Blocks(spoken(HESITANT), (800,)), events=EventSettings(early=False))
    assert {event.type for event in final} == {"status", "utterance"}
    assert comparable(final) == comparable([event for event in everything if event.type not in EARLY])


def test_partial_answers_follow_what_is_said(recognizer: Recognizer) -> None:
    samples = np.concatenate([silence(0.5), 0.1 * speech_like(1.4), 3 * speech_like(1.8, 1), silence(1)])
    events = run(recognizer, Blocks(samples.astype(np.float32), (800,)), partials=PartialSettings(every_s=0.5))
    partials = [event for event in events if event.type == "partial"]
    assert len(partials) == 5
    assert (partials[0].emotion, partials[-1].emotion) == ("neutral", "happy")
    assert all(before.end_s < event.end_s for before, event in pairwise(partials))


def test_whoever_was_forgotten_while_they_spoke_is_not_refined(bundle: Bundle) -> None:
    household = Household(bundle, Settings().speakers)
    assert not Refiner(household).collect("Anna", 1.0, np.zeros(3, np.float32))


def assert_described(value: Any, schema: dict[str, Any]) -> None:
    """Check a value against the part of JSON Schema that the shipped file uses."""
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None), "object": dict}
    if "anyOf" in schema:
        schema = next(kind for kind in schema["anyOf"] if isinstance(value, kinds[kind["type"]]))
    assert value == schema.get("const", value)
    assert value in schema.get("enum", [value])
    if "type" in schema:
        assert isinstance(value, kinds[schema["type"]])
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        assert set(schema.get("required", ())) <= value.keys()
        for name, item in value.items():
            assert name in known or others
            assert_described(item, known.get(name, others))


def test_the_command_on_the_example_conversation(tmp_path: Path, bundle_folder: Path) -> None:
    command = [sys.executable, "-m", "edge", "run", "--source", str(CONVERSATION), "--fast", "--json"]
    command += ["--bundle", str(bundle_folder), "--config", "/dev/null", "--set", "partials.every_s=0.5"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=True)
    described = json.loads((ROOT / "docs" / "events.schema.json").read_text(encoding="utf-8"))
    kinds = {kind["title"]: kind for kind in described["oneOf"]}
    seen: dict[int, list[dict[str, Any]]] = {}
    for line in result.stdout.splitlines():
        event = json.loads(line)
        assert_described(event, kinds[event["type"]])
        if "id" in event:
            seen.setdefault(event["id"], []).append(event)
    assert list(seen) == [1, 2, 3, 4, 5, 6]
    for own in seen.values():
        assert [event["revision"] for event in own] == list(range(len(own)))
        *before, provisional, utterance = own
        assert (before[0]["type"], provisional["type"], utterance["type"]) == (
            "speech_start", "provisional", "utterance",
        )  # fmt: skip
        assert {event["type"] for event in before[1:]} <= {"partial", "provisional", "resumed"}
        assert "partial" in {event["type"] for event in before}
        for name in utterance.keys() - {"type", "time", "number", "revision", "latency_ms"}:
            assert utterance[name] == provisional[name]
        assert utterance["latency_ms"]["provisional"] == provisional["latency_ms"]["total"]
        assert utterance["latency_ms"]["total"] > provisional["latency_ms"]["total"]
