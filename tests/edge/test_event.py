import json
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.event import FIELDS, Event, SpeakerMatch, wall_clock

NOW = "2026-01-02T03:04:05.678+01:00"
TEXT = st.text(st.characters())
"""Lone surrogates too, as in a name that is no UTF-8."""
WORD = st.text()
NUMBER = st.floats(-1e9, 1e9)
EVENTS = st.builds(
    Event,
    type=st.sampled_from(list(FIELDS)),
    source=TEXT,
    time=st.just(NOW),
    id=st.none() | st.integers(1),
    revision=st.none() | st.integers(0),
    start_s=st.none() | NUMBER,
    end_s=st.none() | NUMBER,
    speaker=st.none() | st.builds(SpeakerMatch, TEXT, st.floats(0, 1)),
    emotion=st.none() | TEXT,
    confidence=st.none() | st.floats(0, 1),
    scores=st.dictionaries(WORD, st.floats(0, 1)),
    relative=st.none() | st.dictionaries(WORD, NUMBER),
    speech=st.none() | st.floats(0, 1),
    needs_review=st.booleans(),
    adapted=st.booleans(),
    latency_ms=st.dictionaries(WORD, NUMBER),
    truncated=st.booleans(),
    dropped_s=NUMBER,
    path=st.none() | TEXT,
    message=st.none() | TEXT,
)


@given(EVENTS)
@settings(max_examples=50, deadline=None)
def test_json_is_one_line_that_reads_back(event: Event) -> None:
    line = event.to_json()
    assert "\n" not in line
    assert json.loads(line.encode()) == event.to_dict()
    assert list(event.to_dict())[:2] == ["type", "schema"]
    if event.type in ("utterance", "provisional", "partial"):
        assert event.to_dict()["scores"] == pytest.approx(event.scores, abs=1e-4)


def test_an_utterance_without_a_speaker_says_so() -> None:
    values = Event("utterance", "mic", NOW, start_s=1.0, end_s=2.0, emotion="sad", confidence=0.5).to_dict()
    assert values["speaker"] is None
    assert values["schema"] == 2
    assert "path" not in values
    assert "message" not in values


def test_a_message_carries_nothing_about_emotion() -> None:
    said = {"id": 3, "revision": 2, "start_s": 1.0, "end_s": 2.0, "reason": "too_slow", "message": "too slow"}
    values = Event("skipped", "mic", NOW, emotion="sad", scores={"sad": 1.0}, **said).to_dict()
    assert values == {"type": "skipped", "schema": 2, "source": "mic", "time": NOW, "dropped_s": 0.0, **said}


def test_wall_clock_has_an_offset() -> None:
    assert datetime.fromisoformat(wall_clock()).tzinfo is not None
