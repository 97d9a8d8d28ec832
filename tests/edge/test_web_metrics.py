"""Figures for monitors, read by Prometheus' own parsers."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from edge.doors.web import metrics
from edge.event import Event, SpeakerMatch
from edge.values import Value
from helpers.web import Serving, ask, serving

UTTERANCES = "affectd_utterances_total"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def utterance(number: int, source: str = "hall", emotion: str = "happy", speaker: str = "") -> Event:
    return Event(
        "utterance",
        source,
        "now",
        number,
        emotion=emotion,
        speaker=SpeakerMatch(speaker, 0.9) if speaker else None,
        latency_ms={"endpoint": 510.0, "encoder": 21.0, "total": 531.0},
    )


def samples(there: Serving, accept: str = "") -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return name and labels of each sample to its value."""
    answer = ask(f"{there.url}/metrics", headers={"Accept": accept} if accept else {})
    assert answer.status == 200
    is_open = answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert is_open == (accept == OPENMETRICS)
    families: Iterator[Any] = (openmetrics_families if is_open else text_string_to_metric_families)(answer.text)
    found = [
        (sample.name, tuple(sorted(sample.labels.items())), sample.value)
        for each in families
        for sample in each.samples
    ]
    assert len({sample[:2] for sample in found}) == len(found), "no sample is there twice"
    return {(name, labels): value for name, labels, value in found}


def test_a_value_is_where_the_latest_lies_in_its_range() -> None:
    values = ({"arousal": Value(-0.5, -1.0, 1.0)}, {"arousal": Value(0.5, -1.0, 1.0)}, None)
    with serving() as there:
        there.publish(*(replace(utterance(number), values=each) for number, each in enumerate(values, start=1)))
        found = samples(there)
    assert found["affectd_value", (("source", "hall"), ("value", "arousal"))] == 0.75


@pytest.mark.parametrize("accept", ["", "text/plain", OPENMETRICS])
def test_a_monitor_reads_what_was_heard_and_what_is_now(accept: str) -> None:
    with serving() as there:
        there.publish(utterance(1), utterance(2), utterance(3, emotion="sad", speaker="Ann"))
        there.publish(Event("skipped", "hall", "now", 4, reason="too_slow"), Event("speech_start", "hall", "now", 5))
        found = samples(there, accept)
    hall = ("source", "hall")
    assert found[UTTERANCES, (("emotion", "happy"), hall)] == 2
    assert found[UTTERANCES, (("emotion", "sad"), hall)] == 1
    assert found["affectd_skipped_total", (("reason", "too_slow"),)] == 1
    assert found["affectd_skipped_total", (("reason", "other_voice"),)] == 0
    assert found["affectd_latency_seconds_count", (("stage", "total"),)] == 3
    assert found["affectd_latency_seconds_sum", (("stage", "encoder"),)] == pytest.approx(0.063)
    assert found["affectd_latency_seconds_bucket", (("le", "0.02"), ("stage", "encoder"))] == 0
    assert found["affectd_latency_seconds_bucket", (("le", "0.05"), ("stage", "encoder"))] == 3
    assert found["affectd_audio_seconds_total", (hall,)] == 12.5
    assert found["affectd_audio_lost_seconds_total", (hall,)] == 0.5
    assert found["affectd_audio_paused_seconds_total", (hall,)] == 2.0
    assert found["affectd_events_lost_total", (("output", "web"),)] == 7
    assert found["affectd_waiting_utterances", ()] == 3
    assert found["affectd_overload_step", ()] == 1
    assert found["affectd_ready", ()] == 1
    assert found["affectd_level_dbfs", (hall,)] == -42.5
    assert found["affectd_room_share_ratio", (hall,)] == 0.25
    assert found["affectd_source_state", (hall, ("state", "listening"))] == 1
    assert found["affectd_source_state", (("source", "caf\\udce9.wav"), ("state", "paused"))] == 1
    assert found["affectd_web_clients", (("what", "events"),)] == 0
    assert found["process_resident_memory_bytes", ()] > 0
    (model,) = [dict(labels) for name, labels in found if name == "affectd_model_info"]
    assert (model["provider"], model["bundle"], model["version"]) == ("CPUExecutionProvider", "tiny", "1")


def test_people_are_named_only_where_that_is_wanted() -> None:
    with serving() as there:
        there.publish(utterance(1, speaker="Ann"), utterance(2))
        assert "Ann" not in ask(f"{there.url}/metrics").text
    with serving(people=True) as there:
        there.publish(utterance(1, speaker="Ann"), utterance(2))
        found = samples(there)
        for speaker in ("Ann", ""):
            labels = (("emotion", "happy"), ("source", "hall"), ("speaker", speaker))
            assert found[UTTERANCES, labels] == 1


def test_however_many_names_there_are_a_monitor_gets_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MOST_NAMES", 3)
    with serving(people=True) as there:
        there.publish(*(utterance(number, f"room {number}", speaker=f"person {number}") for number in range(1, 11)))
        found = [(dict(labels), value) for (name, labels), value in samples(there).items() if name == UTTERANCES]
    for label, what in (("source", "room"), ("speaker", "person")):
        assert {labels[label] for labels, _ in found} == {f"{what} 1", f"{what} 2", f"{what} 3", metrics.OTHERS}
    assert sum(value for _, value in found) == 10


def test_sources_of_one_name_are_one_to_a_monitor() -> None:
    with serving() as there:
        there.facts["sources"] = [there.facts["sources"][0]] * 2
        assert samples(there)["affectd_audio_seconds_total", (("source", "hall"),)] == 25


def test_whoever_cannot_say_how_it_is_has_no_figures() -> None:
    with serving() as there:
        del there.facts["waiting"]
        assert ask(f"{there.url}/metrics").status == 500


def test_health_and_readiness_say_why_not() -> None:
    with serving() as there:
        there.facts.update(heartbeat_age_s=31.0, not_ready=["waits for hall"])
        health, ready = ask(f"{there.url}/health"), ask(f"{there.url}/ready")
        assert (health.status, health.json["error"]) == (
            503,
            "the thread that recognises has not been heard of for 31 s",
        )
        assert (ready.status, ready.json["error"]) == (503, "waits for hall")
        there.facts.update(heartbeat_age_s=0.2, not_ready=[])
        assert [ask(f"{there.url}{path}").status for path in ("/health", "/ready")] == [200, 200]
