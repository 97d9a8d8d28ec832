"""A ROS 2 node that publishes what affectd hears, as JSON and in the topics of ROS4HRI (REP-155, hri_msgs 2.3).

    python examples/ros2_node.py --ros-args -p source:=mic -p bundle:=nano
    ros2 topic echo affectd/events

    affectd/events                    std_msgs/String      every event as the JSON of docs/events.schema.json
    /humans/voices/tracked            hri_msgs/IdsList     the voices, at each change and every second
    /humans/voices/ID/is_speaking     std_msgs/Bool        false in a pause, too
    /humans/voices/ID/expression      hri_msgs/Expression  how they sounded; in REP-155 only faces have one
    /humans/candidate_matches         hri_msgs/IdsMatch    which enrolled person the voice is; 0: no longer

It has not been run on ROS yet: what becomes of an event is tested, publishing it is not. A source has one voice, as
people take turns in it; the match says whose it is. The voice's audio, which REP-155 asks for, is not published.
"""

from __future__ import annotations

import hashlib
import math
import re
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import edge
from edge.head import LEAST_SPEECH

EXPRESSIONS = {
    "neutral": "neutral",
    "happy": "happy",
    "sad": "sad",
    "angry": "angry",
    "fear": "scared",
    "disgust": "disgusted",
    "surprise": "surprised",
}
"""Emotion to the word that ``hri_msgs/Expression`` has for it; of another emotion there is JSON alone."""
SPEAKS = {
    "speech_start": True,
    "partial": True,
    "provisional": False,
    "resumed": True,
    "utterance": False,
    "skipped": False,
}
GONE = ("stopped", "disconnected", "paused", "suspended")
"""Reasons of a status after which its source is not listened to."""
PERSON, VOICE = 1, 4
"""Kinds of ids in ``hri_msgs/IdsMatch``."""
TRACKED = "/humans/voices/tracked"
Voices = Mapping[str, str | None]
"""The voices that are tracked, and the person to whom each is matched."""


@dataclass(frozen=True)
class Message:
    """What to publish."""

    topic: str
    type: str
    """As ``std_msgs/Bool``."""
    fields: dict[str, Any]
    """Without the header, whose stamp is the time of publishing."""


def messages_of(event: edge.Event, voices: Voices) -> tuple[list[Message], Voices]:
    """Return what to publish about an event, in this order, and the voices after it."""
    messages = [Message("affectd/events", "std_msgs/String", {"data": event.to_json()})]
    voice, after = ros_id(event.source), dict(voices)
    if event.type in SPEAKS:
        after.setdefault(voice, None)
    elif event.type == "error" or event.reason in GONE:
        after.pop(voice, None)
    if after.keys() != voices.keys():
        messages.append(tracked(after))
    if event.type in SPEAKS:
        messages.append(Message(f"/humans/voices/{voice}/is_speaking", "std_msgs/Bool", {"data": SPEAKS[event.type]}))
        messages += expression(event, voice)
    if event.type in ("provisional", "utterance"):
        person, before = ros_id(event.speaker.name) if event.speaker else None, after[voice]
        if before and before != person:
            messages.append(match(voice, before, 0.0))
        if event.speaker and person:
            messages.append(match(voice, person, event.speaker.score))
        after[voice] = person
    return messages, after


def expression(event: edge.Event, voice: str) -> list[Message]:
    """Return how a voice sounded, or nothing: there is no word for it, or it is rather a bark than speech."""
    if event.emotion not in EXPRESSIONS or (event.speech is not None and event.speech < LEAST_SPEECH):
        return []
    fields = {"expression": EXPRESSIONS[event.emotion], "confidence": event.confidence}
    # From -1 to 1; most bundles estimate neither, and 0 would be the middle of both.
    found = {name: event.values.get(name) if event.values else None for name in ("valence", "arousal")}
    values = {name: 2 * value.share - 1 if value else math.nan for name, value in found.items()}
    return [Message(f"/humans/voices/{voice}/expression", "hri_msgs/Expression", fields | values)]


def tracked(voices: Voices) -> Message:
    """Return the list of voices."""
    return Message(TRACKED, "hri_msgs/IdsList", {"ids": list(voices)})


def match(voice: str, person: str, confidence: float) -> Message:
    """Return how sure it is that a voice is a person's."""
    fields = {"id1": voice, "id1_type": VOICE, "id2": person, "id2_type": PERSON, "confidence": confidence}
    return Message("/humans/candidate_matches", "hri_msgs/IdsMatch", fields)


def ros_id(name: str) -> str:
    """Return an id that is no other name's and may be a part of a topic, which a name like ``USB (hw:1,0)`` may not."""
    letters = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{letters}_{digest}" if letters[:1].isalpha() else f"id{letters}_{digest}"


def main() -> None:
    """Listen and publish until the source ends or Ctrl-C."""
    try:
        import rclpy  # noqa: PLC0415  (only ROS has it, and the tests of the above need none)
        from hri_msgs.msg import Expression, IdsList, IdsMatch  # noqa: PLC0415
        from rclpy.executors import ExternalShutdownException  # noqa: PLC0415
        from rclpy.signals import SignalHandlerOptions  # noqa: PLC0415
        from std_msgs.msg import Bool, String  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        sys.exit(f"{missing}: source /opt/ros/DISTRO/setup.bash, and apt install ros-DISTRO-hri-msgs")
    types = {
        "std_msgs/String": String,
        "std_msgs/Bool": Bool,
        "hri_msgs/IdsList": IdsList,
        "hri_msgs/Expression": Expression,
        "hri_msgs/IdsMatch": IdsMatch,
    }
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # Ctrl-C ends the loop below
    node = rclpy.create_node("affectd")
    source = node.declare_parameter("source", "mic").value
    bundle = node.declare_parameter("bundle", "").value
    publishers = {TRACKED: node.create_publisher(IdsList, TRACKED, 10)}
    voices: Voices = {}

    def publish(message: Message) -> None:
        kind = types[message.type]
        if message.topic not in publishers:
            publishers[message.topic] = node.create_publisher(kind, message.topic, 10)
        filled = kind(**message.fields)
        if hasattr(filled, "header"):
            filled.header.stamp = node.get_clock().now().to_msg()
        publishers[message.topic].publish(filled)

    def spin() -> None:
        with suppress(ExternalShutdownException):
            rclpy.spin(node)

    node.create_timer(1.0, lambda: publish(tracked(voices)))  # for those who come late
    threading.Thread(target=spin, daemon=True).start()
    try:
        with edge.listen(source, model=edge.load(bundle)) as events:
            for event in events:
                messages, voices = messages_of(event, voices)
                for message in messages:
                    publish(message)
    except KeyboardInterrupt:
        pass
    except edge.AffectdError as error:
        sys.exit(f"affectd: {error}")
    finally:
        rclpy.shutdown()


if __name__ == "__main__":
    main()
