"""``/metrics``: figures for Prometheus and for what reads OpenMetrics.

What events say is counted as they come; the rest is what ``status`` says when somebody asks. Every label has a bounded
number of values, and none names a person unless ``web.people`` says so.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from edge.errors import encodable
from edge.event import Event, SkipReason

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 2.0, 5.0)
MOST_NAMES = 200
"""Values of a label whose values users choose; further ones are ``OTHERS``."""
OTHERS = "others"
STATES = ("waiting", "listening", "paused", "disconnected")
"""Of a source."""

Status = Callable[[], Mapping[str, Any]]


class Figures:
    """All figures of a door. The methods may be called from any thread."""

    def __init__(self, status: Status, clients: Callable[[], Mapping[str, int]], with_people: bool) -> None:
        """Prepare.

        Args:
            status: what ``status`` answers.
            clients: what is followed to how many follow it.
            with_people: people may be named.
        """
        self._with_people = with_people
        self._sources, self._people = Names(), Names()
        registry = self._registry = CollectorRegistry()
        self._latency = Histogram(
            "affectd_latency_seconds",
            "Time from the end of speech to the final event, and what it is made of, by stage.",
            ["stage"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._utterances = Counter(
            "affectd_utterances",
            "Utterances that were answered.",
            ["source", "emotion", *(["speaker"] if with_people else [])],
            registry=registry,
        )
        self._values = Gauge(
            "affectd_value",
            "Of the latest utterance, such as its arousal, from 0 at the lower end of its range to 1 at the upper.",
            ["source", "value"],
            registry=registry,
        )
        self._skipped = Counter("affectd_skipped", "Utterances without an answer.", ["reason"], registry=registry)
        for reason in get_args(SkipReason):
            self._skipped.labels(reason)
        registry.register(_FromStatus(status, clients, self._sources))
        ProcessCollector(registry=registry)

    def follow(self, event: Event) -> None:
        """Count an event."""
        if event.type == "skipped":
            self._skipped.labels(str(event.reason)).inc()
        if event.type != "utterance":
            return
        labels = [self._sources[event.source], str(event.emotion)]
        if self._with_people:
            labels.append(self._people[event.speaker.name] if event.speaker else "")
        self._utterances.labels(*labels).inc()
        for name, value in (event.values or {}).items():
            self._values.labels(self._sources[event.source], name).set(value.share)
        for stage, latency_ms in event.latency_ms.items():
            self._latency.labels(stage).observe(latency_ms / 1e3)

    def page(self, accept: str) -> tuple[bytes, str]:
        """Return all figures, and their content type, of those that ``accept`` names."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class Names:
    """Names as values of a label: what UTF-8 can hold, and not more of them than a monitor can bear."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __getitem__(self, name: str) -> str:
        """Return what a name is called."""
        if name not in self._known and len(self._known) >= MOST_NAMES:
            return OTHERS
        self._known.add(name)
        return encodable(name)


class _FromStatus(Collector):
    """Figures that are looked up when somebody asks."""

    def __init__(self, status: Status, clients: Callable[[], Mapping[str, int]], sources: Names) -> None:
        self._status, self._clients, self._sources = status, clients, sources

    def collect(self) -> Iterator[Metric]:
        """Look, and return what there is."""
        status = self._status()
        model = ("bundle", "version", "precision", "architecture", "provider")
        yield InfoMetricFamily("affectd_model", "What answers.", {key: str(status[key]) for key in model})
        yield GaugeMetricFamily("affectd_ready", "1 once it listens.", float(not status["not_ready"]))
        yield GaugeMetricFamily(
            "affectd_heartbeat_age_seconds", "Since the thread that recognises was heard of.", status["heartbeat_age_s"]
        )
        yield GaugeMetricFamily("affectd_waiting_utterances", "That wait for the encoder.", status["waiting"])
        yield GaugeMetricFamily("affectd_overload_step", "How much is left out; 0 is nothing.", status["overload_step"])
        yield _family(
            CounterMetricFamily("affectd_events_lost", "Events that an output was too slow for.", labels=["output"]),
            status["lost_events"],
        )
        yield _family(
            GaugeMetricFamily("affectd_web_clients", "That follow something.", labels=["what"]), self._clients()
        )
        yield from self._of_sources(status["sources"])

    def _of_sources(self, sources: list[Mapping[str, Any]]) -> Iterator[Metric]:
        for name, key, about in (
            ("audio", "audio_s", "Audio that arrived."),
            ("audio_lost", "lost_s", "Audio that was lost."),
            ("audio_paused", "paused_s", "Time in which nobody listened, or nobody sent anything."),
        ):
            seconds = Tally[str]()
            for source in sources:
                seconds[self._sources[source["name"]]] += source[key]
            yield _family(CounterMetricFamily(f"affectd_{name}_seconds", about, labels=["source"]), seconds)
        levels = {self._sources[source["name"]]: source["level_dbfs"] for source in sources}
        yield _family(GaugeMetricFamily("affectd_level_dbfs", "What is heard now.", labels=["source"]), levels)
        shares = {self._sources[source["name"]]: source["room"]["share"] for source in sources if source["room"]}
        about = "Share of the room's estimate that is applied."
        yield _family(GaugeMetricFamily("affectd_room_share_ratio", about, labels=["source"]), shares)
        states = GaugeMetricFamily("affectd_source_state", "1 for what it does now.", labels=["source", "state"])
        for name, state in {self._sources[source["name"]]: source["state"] for source in sources}.items():
            for each in STATES:
                states.add_metric([name, each], float(each == state))
        yield states


def _family(
    family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[str, float]
) -> CounterMetricFamily | GaugeMetricFamily:
    for label, value in values.items():
        family.add_metric([label], value)
    return family
