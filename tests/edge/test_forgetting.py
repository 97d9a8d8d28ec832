"""Once somebody is forgotten, nothing that a running affectd keeps names them any more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from edge.bundle import Bundle
from edge.calibration import CalibratedModel
from edge.daemon.people import People
from edge.event import Event, SpeakerMatch, status
from edge.people.store import SpeakerStore
from edge.recent import RecentEvents
from edge.settings import load_settings
from helpers.household import anna, ben, enrol


def test_the_latest_events_are_forgotten_with_who_is_in_them(bundle: Bundle, tmp_path: Path) -> None:
    for name, voice in (("Anna", anna), ("Ben", ben)):
        enrol(tmp_path, bundle, name, voice, clips=1)
    settings = load_settings(environment={}, overrides={"speakers.store": str(tmp_path)}).settings
    recent = RecentEvents()
    model = cast(CalibratedModel, SimpleNamespace(settings=settings, recognizer=SimpleNamespace(bundle=bundle)))
    people = People(lambda: model, recent)
    numbers = iter(range(1, 100))

    def follow(event: Event) -> None:
        people.follow(replace(event, number=next(numbers)))

    def kept() -> str:
        return "".join(line for _, line in recent.after(0)[0])

    follow(status("hall", "ready", "knows Anna, Ben"))
    follow(Event("utterance", "hall", "", id=1, speaker=SpeakerMatch("Anna", 0.9)))
    with SpeakerStore.open(tmp_path) as store:
        store.rename("Ben", "Benjamin")
    follow(status("hall", "people_changed", "knows Anna, Benjamin"))
    assert "Anna" in kept()
    with SpeakerStore.open(tmp_path) as store:
        store.forget("Anna")  # by another process
    follow(status("hall", "people_changed", "knows Benjamin"))
    assert "Anna" not in kept()
    assert recent.after(1) == ([(4, recent.after(3)[0][0][1])], 2), "who had read one missed two"
    assert people.forget("Benjamin")["name"] == "Benjamin"
    assert kept() == ""
    assert recent.last == 4, "who follows from now on has missed nothing"
