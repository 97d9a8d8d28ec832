"""What of the MQTT door needs no broker: settings, topics, commands, what waits, and what Home Assistant is told."""

import json
import string
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.doors.mqtt.broker import broker_of
from edge.doors.mqtt.commands import answer_to
from edge.doors.mqtt.connection import Connection, News
from edge.doors.mqtt.discovery import machine_config, source_config, utterance_template
from edge.doors.mqtt.state import SourceState
from edge.doors.mqtt.topics import Topics, id_of, topics_of
from edge.doors.mqtt.waiting import WaitingEvents
from edge.errors import UsageError, encodable
from edge.event import Event, SpeakerMatch
from edge.settings import MqttSettings
from edge.values import DERIVED, Value
from helpers.houses import answer

TOPICS = Topics("affectd/desk", "desk", "homeassistant")
SAFE = set(string.ascii_letters + string.digits + "_-")
LABELS = ("neutral", "happy", "sad")


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


@pytest.mark.parametrize(
    ("broker", "found"),
    [
        ("mqtt://homeassistant.local", "mqtt://homeassistant.local:1883"),
        ("mqtt://10.0.0.2:1884/", "mqtt://10.0.0.2:1884"),
        ("mqtts://[fe80::1]", "mqtts://[fe80::1]:8883"),
    ],
)
def test_a_broker_is_an_address(broker: str, found: str) -> None:
    assert str(broker_of(MqttSettings(broker=broker))) == found


@pytest.mark.parametrize(
    ("broker", "why"),
    [
        ("homeassistant.local", "has no scheme: write mqtt://homeassistant.local, or mqtts://"),
        ("mqt://hall", "mqt:// is none of mqtt://, mqtts:// (did you mean 'mqtt'?)"),
        ("mqttss://hall", "(did you mean 'mqtts'?)"),
        ("mqtt://", "is not of the form mqtt://10.0.0.2:1883; its port is from 1 to 65535"),
        ("mqtt://hall:0", "its port is from 1"),
        ("mqtts://hall:66000", "is not of the form mqtts://10.0.0.2:8883"),
        ("mqtt://hall/topic", "is not of the form"),
        ("mqtt://hall?x=1", "is not of the form"),
    ],
)
def test_what_is_no_address_is_refused_with_what_is(broker: str, why: str) -> None:
    with pytest.raises(UsageError) as error:
        broker_of(MqttSettings(broker=broker))
    assert why in str(error.value)


def test_a_password_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(UsageError, match=r"mqtt\.user") as error:
        broker_of(MqttSettings(broker="mqtt://ann:hunter2@hall"))
    assert "hunter2" not in str(error.value)


def test_a_password_is_a_setting_or_a_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"mqtt\.user is missing"):
        broker_of(MqttSettings(broker="mqtt://hall", password="secret"))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings = MqttSettings(broker="mqtt://hall", user="desk")
    assert broker_of(settings).password == ""
    (tmp_path / "mqtt-password").write_text("from systemd\n")
    assert broker_of(settings).password == "from systemd"
    assert broker_of(settings.model_copy(update={"password": "own"})).password == "own"


def test_a_certificate_authority_has_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    for broker, why in (("mqtt://hall", "is for mqtts:// only"), ("mqtts://hall", "ca.pem cannot be read: No such")):
        with pytest.raises(UsageError, match=why):
            broker_of(MqttSettings(broker=broker, ca=str(path)))
    path.write_text("no certificate")
    with pytest.raises(UsageError, match="holds no certificate"):
        broker_of(MqttSettings(broker="mqtts://hall", ca=str(path)))


def test_a_machine_is_called_as_the_settings_say_or_by_its_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert topics_of(MqttSettings(id="Desk_1-a")).event == "affectd/Desk_1-a/event"
    for host, machine in (("kitchen.local", "kitchen-local"), ("küche+#/", "kuche"), ("…", "affectd"), ("", "affectd")):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        assert topics_of(MqttSettings()).machine == machine
    assert topics_of(MqttSettings(topic="home/affectd", discovery="")).base == "home/affectd/affectd"


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("id", ("a/b", "x" * 65, "ü")),
        ("topic", ("", "a/#", "/a", "a//b", "$SYS")),
        ("discovery", ("a+", "a/")),
    ],
)
def test_what_is_no_topic_and_no_id_is_refused(key: str, values: tuple[str, ...]) -> None:
    for value in values:
        with pytest.raises(UsageError, match=f"mqtt.{key}"):
            topics_of(MqttSettings.model_validate({key: value}))


def test_a_sources_name_stays_as_it_is_where_it_may() -> None:
    assert id_of("hall") == "hall"
    assert id_of("USB_mic-2") == "USB_mic-2"
    assert id_of("talk.wav").startswith("talk-wav-")
    assert id_of("küche 1").startswith("kuche-1-")
    assert len({id_of(name) for name in ("a/b", "a+b", "a#b", "a b", "a-b", "a--b", "-a-b", "☕", "🍵", "")}) == 10


@given(st.lists(st.text(), unique=True), st.lists(st.text(st.sampled_from("ab-0123456789abcdef/+#")), unique=True))
def test_no_two_sources_have_the_same_id_and_every_id_is_safe(names: list[str], close: list[str]) -> None:
    found = sorted({*names, *close})
    ids = [id_of(name) for name in found]
    assert len(set(ids)) == len(ids)
    for each in ids:
        assert each
        assert set(each) <= SAFE
        assert len(each) <= 64
    again = sorted({*ids, *found})
    assert len({id_of(name) for name in again}) == len(again), "an id may be another source's name"


def test_topics_lead_back_to_their_source() -> None:
    assert TOPICS.source_in(TOPICS.switch("hall")) == "hall"
    assert TOPICS.source_in(TOPICS.source_state("hall")) == "hall"
    assert TOPICS.source_in(TOPICS.config(TOPICS.device("hall"))) == "hall"
    for topic in (TOPICS.event, TOPICS.state, TOPICS.do, TOPICS.availability, TOPICS.config(TOPICS.device())):
        assert TOPICS.source_in(topic) is None


class Away(Connection):
    """A broker that is away, or takes what it is given and never has it."""

    def __init__(self, up: bool) -> None:
        self.up, self.given = up, list[str]()

    @property
    def is_up(self) -> bool:
        return self.up

    def publish(self, topic: str, payload: str, retain: bool = False) -> int:
        self.given.append(payload)
        return len(self.given)


@given(st.integers(1, 20), st.integers(0, 60), st.integers(0, 60))
def test_the_oldest_events_are_lost_and_counted(most: int, before: int, after: int) -> None:
    away, waiting = Away(up=False), WaitingEvents("event", most)
    lost = [waiting.add(str(number)) for number in range(before)]
    assert waiting.lost == sum(lost) == max(0, before - most)
    assert len(waiting) == min(before, most)
    away.up = True
    waiting.hand_over(away)
    assert away.given == [str(number) for number in range(before)][-most:][: max(1, most // 2)]
    for number in range(before, before + after):
        waiting.add(str(number))
        waiting.hand_over(away)
    arrived = len(away.given)
    for number in range(1, arrived + 1):
        waiting.arrived(number)
    waiting.hand_over(away)
    waiting.lose_all()
    assert arrived + waiting.lost == before + after, "each is there or counted"
    assert sorted(map(int, away.given)) == list(map(int, away.given)), "in their order"


class Asked:
    """Stands for what is inside: keeps what it was asked for."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.actions = dict.fromkeys(("pause", "resume", "reset_room", "reload", "status"), self._take)

    def answer(self, payload: bytes, switched: str | None = None, retained: bool = False) -> dict[str, Any]:
        message = News("message", "", payload, retained)
        return answer_to(message, {"hall": "hall", "cafe-1": "café"}, switched, self.actions)

    def _take(self, request: Any) -> Any:
        self.requests.append(request)
        return "done"


def test_three_things_may_be_asked_for() -> None:
    asked = Asked()
    assert asked.answer(b'{"do": "pause", "source": "hall", "for_s": 60, "id": 7}') == {
        "id": 7,
        "do": "pause",
        "source": "hall",
        "answer": "done",
    }
    assert asked.answer(b"ON", "cafe-1")["answer"] == asked.answer(b"OFF", "hall")["answer"] == "done"
    assert [(request["do"], request["source"]) for request in asked.requests] == [
        ("pause", "hall"),
        ("resume", "café"),
        ("pause", "hall"),
    ]


@pytest.mark.parametrize(
    ("payload", "switched", "why"),
    [
        (b"on", "hall", "listening is switched ON or OFF, not 'on'"),
        (b"\xff\xfe", "hall", r"not '\\xff\\xfe'"),
        (b"ON", "hal", "there is no source 'hal' (did you mean 'hall'?); there is hall, cafe-1"),
        (b"", None, "a request is a JSON object, such as"),
        (b"[]", None, "a request is a JSON object"),
        (b"[" * 60_000, None, "a request is a JSON object"),
        (b'{"do": "reload"}', None, "cannot do 'reload'; over MQTT it can do pause, resume, reset_room"),
        (b'{"do": "pauze"}', None, "(did you mean 'pause'?)"),
        (b'{"do": ["pause"]}', None, "cannot do"),
        (b" " * 70_000, None, "a command has up to 65,536 bytes"),
    ],
)
def test_what_is_wrong_with_a_command_is_said(payload: bytes, switched: str | None, why: str) -> None:
    asked = Asked()
    assert why in asked.answer(payload, switched)["error"]
    assert not asked.requests


def test_a_command_that_the_broker_kept_is_not_done() -> None:
    asked = Asked()
    assert "publish it without retain" in asked.answer(b"OFF", "hall", retained=True)["error"]
    assert not asked.requests


@given(st.one_of(st.binary(), st.text().map(str.encode), st.dictionaries(st.text(), st.text()).map(json.dumps).map(str.encode)))  # fmt: skip  # noqa: E501
def test_any_command_is_answered(payload: bytes) -> None:
    for switched in (None, "hall", "+", ""):
        assert {"error", "answer"} & set(json.loads(json.dumps(Asked().answer(payload, switched))))


REQUIRED = {
    "sensor": {"state_topic"},
    "binary_sensor": {"state_topic"},
    "switch": {"command_topic"},
    "event": {"state_topic", "event_types"},
}
"""What Home Assistant's documentation says each platform needs, besides `p` and `unique_id`."""
OPTIONAL = {"p", "unique_id", "name", "icon", "value_template", "device_class", "entity_category"}
ALLOWED = {
    "sensor": {
        "options",
        "unit_of_measurement",
        "state_class",
        "json_attributes_topic",
        "json_attributes_template",
    },
    "binary_sensor": {"payload_on", "payload_off"},
    "switch": {"state_topic"},
    "event": set[str](),
}


def check_device(config: str) -> dict[str, Any]:
    """Check a message by what https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload says of it."""
    found: dict[str, Any] = json.loads(config)
    assert set(found) <= {"dev", "o", "cmps", "state_topic", "availability_topic", "qos"}
    assert set(found["dev"]) <= {"ids", "name", "mf", "mdl", "sw", "via_device"}
    assert found["dev"]["ids"]
    assert found["dev"]["name"]
    assert found["o"]["name"] == "affectd"
    ids = [component["unique_id"] for component in found["cmps"].values()]
    assert len(set(ids)) == len(ids)
    for component in found["cmps"].values():
        given = {*component, "state_topic"}
        assert REQUIRED[component["p"]] <= given <= REQUIRED[component["p"]] | ALLOWED[component["p"]] | OPTIONAL
        jinja2.Environment().parse(component["value_template"])
        is_enum = component.get("device_class") == "enum"
        assert is_enum == ("options" in component)
        assert not (is_enum and {"unit_of_measurement", "state_class"} & set(component))
        assert component.get("entity_category") in (None, "diagnostic")
    return found


def test_home_assistant_is_told_of_the_machine_and_of_each_source() -> None:
    machine = check_device(machine_config(TOPICS))
    source = check_device(source_config(TOPICS, "hall", "Hall {{ 1 }}", LABELS))
    assert source["dev"]["via_device"] in machine["dev"]["ids"]
    assert source["dev"]["name"] == "Hall {{ 1 }}"
    parts = source["cmps"]
    assert parts["emotion"]["options"] == parts["utterance"]["event_types"] == list(LABELS)
    assert parts["listening"]["command_topic"] == "affectd/desk/hall/set"
    assert {part["p"] for part in parts.values()} == set(REQUIRED)
    assert TOPICS.config(TOPICS.device("hall")) == "homeassistant/device/desk/affectd-hall/config"


def test_home_assistant_has_a_sensor_for_each_value_with_its_range() -> None:
    records = [{"name": "arousal", "low": -1.0, "high": 1.0, "origin": DERIVED}]
    sensor = check_device(source_config(TOPICS, "hall", "hall", LABELS, records))["cmps"]["arousal"]
    assert "unit_of_measurement" not in sensor
    assert json.loads(sensor["json_attributes_template"]) == {"low": -1.0, "high": 1.0, "origin": DERIVED}
    assert sensor["json_attributes_topic"] == TOPICS.source_state("hall")
    template = jinja2.Environment().from_string(sensor["value_template"])
    state = SourceState("hall")
    assert template.render(value_json=json.loads(state.to_json())) == "None", "unknown"
    state.follow(answer(1, values={"arousal": Value(0.25, -1.0, 1.0)}))
    assert template.render(value_json=json.loads(state.to_json())) == "0.25"
    assert json.loads(state.to_json())["values"]["arousal"] == {"value": 0.25, "low": -1.0, "high": 1.0}


@given(st.text(), st.text())
def test_an_event_is_taken_by_the_source_that_it_is_of(name: str, other: str) -> None:
    environment = jinja2.Environment()
    environment.filters["to_json"] = json.dumps
    template = environment.from_string(utterance_template(name))

    def taken(event: Event) -> str:
        return template.render(value_json=json.loads(event.to_json()))

    answer = Event("utterance", name, "", id=3, start_s=1.0, end_s=2.0, emotion="sad", confidence=0.9)
    assert json.loads(taken(answer)) == {
        "event_type": "sad",
        "confidence": 0.9,
        "needs_review": False,
        "scores": {},
        "utterance": 3,
        "start_s": 1.0,
        "end_s": 2.0,
        "speaker": None,
    }
    assert json.loads(taken(replace(answer, speaker=SpeakerMatch("Ann", 0.8))))["speaker"] == "Ann"
    assert taken(Event("provisional", name, "", emotion="sad")) == ""
    if encodable(other) != encodable(name):
        assert taken(Event("utterance", other, "", emotion="sad")) == ""
