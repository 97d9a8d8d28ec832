"""``examples/ros2_node.py`` without ROS: which messages an event becomes."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ros2_node import EXPRESSIONS, GONE, Message, Voices, messages_of, ros_id

import edge
from edge.bundle import Bundle
from edge.event import FIELDS, SpeakerMatch
from edge.values import Value

ROOT = Path(__file__).resolve().parents[1]
NOW = "2026-01-02T03:04:05.678+01:00"
# As documented of hri_msgs 2.3: fields without the header, and the words of an Expression.
FIELDS_OF = {
    "std_msgs/String": {"data"},
    "std_msgs/Bool": {"data"},
    "hri_msgs/IdsList": {"ids"},
    "hri_msgs/Expression": {"expression", "valence", "arousal", "confidence"},
    "hri_msgs/IdsMatch": {"id1", "id1_type", "id2", "id2_type", "confidence"},
}
WORDS = {"neutral", "angry", "sad", "happy", "surprised", "disgusted", "scared"}
TOPIC = re.compile(r"/?[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*(/[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*)*")
"""What ROS 2 takes: no token begins with a digit, no two underscores follow each other."""


def plain(kind: edge.event.EventType, **fields: object) -> edge.Event:
    return edge.Event(kind, "mic", NOW, **fields)  # type: ignore[arg-type]


def answer(
    kind: edge.event.EventType = "utterance",
    speaker: SpeakerMatch | None = None,
    emotion: str = "fear",
    speech: float | None = 0.99,
    values: dict[str, Value] | None = None,
) -> edge.Event:
    return plain(kind, id=1, speaker=speaker, emotion=emotion, confidence=0.81, speech=speech, values=values)


def published(events: Iterable[edge.Event]) -> list[Message]:
    found: list[Message] = []
    voices: Voices = {}
    for event in events:
        messages, voices = messages_of(event, voices)
        found += messages
    return found


def of(kind: str, messages: Iterable[Message]) -> list[dict[str, object]]:
    return [message.fields for message in messages if message.type == kind]


def test_a_conversation_is_published(bundle_folder: Path) -> None:
    conversation = ROOT / "examples" / "conversation.flac"
    model = edge.load(bundle_folder)
    with edge.listen(conversation, model=model, settings={"capture.realtime": False}) as listening:
        events = list(listening)
    messages = published(events)
    assert [json.loads(str(fields["data"])) for fields in of("std_msgs/String", messages)] == [
        event.to_dict() for event in events
    ]
    voice = ros_id("conversation.flac")
    assert of("hri_msgs/IdsList", messages) == [{"ids": [voice]}, {"ids": []}]
    speaking = of("std_msgs/Bool", messages)
    assert speaking[0] == {"data": True}
    assert speaking[-1] == {"data": False}
    answers = [event for event in events if event.type in ("provisional", "utterance")]
    heard = [event for event in answers if event.speech is None or event.speech >= 0.5]
    assert [fields["expression"] for fields in of("hri_msgs/Expression", messages)] == [
        EXPRESSIONS[str(event.emotion)] for event in heard
    ]
    assert {message.topic for message in messages} == {
        "affectd/events",
        "/humans/voices/tracked",
        f"/humans/voices/{voice}/is_speaking",
        f"/humans/voices/{voice}/expression",
    }


def test_a_voice_is_tracked_before_it_speaks_and_sounds_after_it_spoke() -> None:
    events = [plain("speech_start", id=1), answer("provisional"), plain("resumed", id=1), answer()]
    voice = f"/humans/voices/{ros_id('mic')}"
    topics = [message.topic for message in published(events) if message.topic != "affectd/events"]
    spoke, sounded = f"{voice}/is_speaking", f"{voice}/expression"
    assert topics == ["/humans/voices/tracked", spoke, spoke, sounded, spoke, spoke, sounded]
    assert [fields["data"] for fields in of("std_msgs/Bool", published(events))] == [True, False, True, False]


def test_how_somebody_sounded_is_said_in_the_words_of_hri_msgs() -> None:
    (said,) = of("hri_msgs/Expression", published([answer(emotion="fear")]))
    assert (said["expression"], said["confidence"]) == ("scared", 0.81)
    assert all(math.isnan(float(str(said[unknown]))) for unknown in ("valence", "arousal"))
    (valued,) = of("hri_msgs/Expression", published([answer(values={"arousal": Value(0.75, 0.0, 1.0)})]))
    assert valued["arousal"] == 0.5, "from -1 to 1"
    assert math.isnan(float(str(valued["valence"])))
    assert not of("hri_msgs/Expression", published([answer(emotion="bored"), answer(speech=0.2)]))


@pytest.mark.parametrize("bundle", ["default", "nano"])
def test_there_is_a_word_for_every_emotion_of_the_shipped_bundles(bundle: str) -> None:
    labels = Bundle.load(ROOT / "edge" / "bundles" / bundle).manifest.labels
    assert set(labels) == set(EXPRESSIONS)
    assert set(EXPRESSIONS.values()) == WORDS


def test_a_voice_is_matched_to_who_spoke_and_no_longer_to_who_spoke_before() -> None:
    ann, ben = SpeakerMatch("Ann", 0.97), SpeakerMatch("Ben", 0.8)
    matches = of("hri_msgs/IdsMatch", published(answer(speaker=who) for who in (ann, ann, ben, None, None)))
    assert [(match["id2"], match["confidence"]) for match in matches] == [
        (ros_id("Ann"), 0.97),
        (ros_id("Ann"), 0.97),
        (ros_id("Ann"), 0.0),
        (ros_id("Ben"), 0.8),
        (ros_id("Ben"), 0.0),
    ]
    assert all((match["id1"], match["id1_type"], match["id2_type"]) == (ros_id("mic"), 4, 1) for match in matches)


@pytest.mark.parametrize("end", [*(plain("status", reason=reason) for reason in GONE), plain("error", message="gone")])
def test_the_voice_of_a_source_that_is_not_listened_to_is_not_tracked(end: edge.Event) -> None:
    lists = of("hri_msgs/IdsList", published([plain("speech_start", id=1), answer(), end, plain("status")]))
    assert lists == [{"ids": [ros_id("mic")]}, {"ids": []}]


EVENTS = st.builds(
    edge.Event,
    type=st.sampled_from(list(FIELDS)),
    source=st.text(st.characters()),
    time=st.just(NOW),
    reason=st.none() | st.sampled_from(["ready", *GONE]),
    speaker=st.none() | st.builds(SpeakerMatch, st.text(st.characters()), st.floats(0, 1)),
    emotion=st.none() | st.sampled_from([*EXPRESSIONS, "bored"]),
    confidence=st.floats(0, 1),
    speech=st.none() | st.floats(0, 1),
)


@given(st.lists(EVENTS, max_size=8))
def test_every_message_is_one_that_ros_takes(events: list[edge.Event]) -> None:
    listed: list[str] = []
    messages = published(events)
    assert len(of("std_msgs/String", messages)) == len(events)
    for message in messages:
        assert TOPIC.fullmatch(message.topic)
        assert message.fields.keys() == FIELDS_OF[message.type]
        if message.type == "hri_msgs/IdsList":
            listed = message.fields["ids"]
        elif message.type in ("std_msgs/Bool", "hri_msgs/Expression"):
            assert message.topic.split("/")[3] in listed


@given(st.text(st.characters()), st.text(st.characters()))
def test_two_names_have_two_ids(one: str, another: str) -> None:
    assert (ros_id(one) == ros_id(another)) == (one == another)


@pytest.mark.skipif(find_spec("rclpy") is not None, reason="there is a ROS here")
def test_without_ros_it_says_what_to_install() -> None:
    result = subprocess.run(
        [sys.executable, "examples/ros2_node.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert re.fullmatch(r"No module named 'rclpy': source /opt/ros/.*hri-msgs\n", result.stderr)
