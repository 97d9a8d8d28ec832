import json
import logging
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import edge.stream_room
from edge.bundle import Bundle
from edge.capture import Block, FileSource, LiveSource, PcmSource, Source, is_recording
from edge.engine import Engine
from edge.event import Event
from edge.people.store import SpeakerStore
from edge.people.store.person import Consent
from edge.population import POPULATION_NAME
from edge.recognizer import Recognizer
from edge.room import EVEN_ANSWERS, ONE_SIDED
from edge.room_store import RoomStore
from edge.settings import EncoderSettings, RoomSettings, Settings, SpeakerSettings
from edge.stream_room import StreamRoom
from helpers.conversation import Conversation
from helpers.rooms import listen, said
from helpers.running import Played, Recorder
from helpers.tiny import write_manifest


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(speakers=SpeakerSettings(store=str(tmp_path / "store")), encoder=EncoderSettings(max_batch=1))


def rooms_applied(recorder: Recorder) -> list[float]:
    return [event.room for event in recorder.of("utterance")]


def test_a_room_survives_a_restart(bundle: Bundle, settings: Settings) -> None:
    first = rooms_applied(listen(bundle, settings, said(6)))
    commonest = (1 + EVEN_ANSWERS * 0.5) / (1 + EVEN_ANSWERS)
    k = settings.room.pseudo_utterances * (1 + ONE_SIDED * (commonest - 0.5))
    assert first[0] == 0
    assert first[1] == pytest.approx(1 / (1 + k))
    assert first == sorted(first)
    again = rooms_applied(listen(bundle, settings, said(3)))
    assert again[0] > first[-1]
    assert rooms_applied(listen(bundle, settings, said(1), name="kitchen")) == [0], "another source, another room"


def test_what_is_known_before_an_utterance_answers_it(bundle: Bundle, settings: Settings) -> None:
    """The first answer of a run is that of no room at all, and the next is by the first's embedding alone."""
    none = settings.model_copy(update={"room": RoomSettings(enabled=False)})
    with_room, without = listen(bundle, settings, said(2)), listen(bundle, none, said(2))
    first, second = with_room.of("utterance")
    assert first.scores == pytest.approx(without.of("utterance")[0].scores)
    assert second.scores != pytest.approx(without.of("utterance")[1].scores)
    assert rooms_applied(without) == [0, 0]


@pytest.mark.parametrize("why", ["off", "disabled", "recording"])
def test_nothing_is_kept_where_that_is_not_wanted(bundle: Bundle, settings: Settings, why: str) -> None:
    room = RoomSettings(remember=why != "off", enabled=why != "disabled")
    recorder = listen(bundle, settings.model_copy(update={"room": room}), said(3), can_wait=why == "recording")
    assert (rooms_applied(recorder)[-1] > 0) == (why != "disabled")
    assert not RoomStore(settings).folder.exists()


def test_recordings_are_told_from_what_sounds_now(conversation: Conversation, tmp_path: Path) -> None:
    file = FileSource(conversation.path, realtime=True)
    with (tmp_path / "pipe").open("wb") as pipe:
        live: Source = LiveSource(PcmSource(pipe, 16_000, realtime=True), 10.0)
        assert not is_recording(live)
    assert is_recording(file)
    assert is_recording(LiveSource(file, 10.0))
    assert is_recording(FileSource(conversation.path))


def test_a_store_that_cannot_be_written_stops_nothing(
    bundle: Bundle, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "store").write_text("no folder")
    speakers = settings.speakers.model_copy(update={"enabled": False})
    with caplog.at_level(logging.WARNING):
        recorder = listen(bundle, settings.model_copy(update={"speakers": speakers}), said(2))
    assert len(recorder.of("utterance")) == 2
    assert "the room of desk is not remembered: cannot write" in caplog.text


def test_it_is_saved_every_now_and_then(bundle: Bundle, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge.stream_room, "SAVE_S", 0.0)
    kept: list[float] = []

    def look(event: object) -> None:
        kept.extend(stored.utterances for stored in RoomStore(settings).rooms())

    source, recorder = Played(said(4), can_wait=False, name="desk"), Recorder(look)
    Engine([source], Recognizer(bundle, settings.encoder), [recorder], settings).run()
    assert max(kept) > 1, "before the run was over"


def test_a_reset_reaches_a_running_engine(bundle: Bundle, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge.stream_room, "SAVE_S", 0.0)
    stream_room = StreamRoom(bundle, settings, is_recording=False)
    room = stream_room.of("desk")
    for _ in range(5):
        stream_room.follow(np.array([0.08, 0.01, 1], np.float32), np.full(3, 1 / 3, np.float32))
    assert room.utterances > 4
    store = RoomStore(settings)
    store.reset(store.rooms())
    stream_room.follow(np.array([0.08, 0.01, 1], np.float32), np.full(3, 1 / 3, np.float32))
    assert room.utterances == 1
    assert [stored.source for stored in store.rooms()] == ["desk"]


def heard(stream_room: StreamRoom, times: int = 1) -> None:
    for _ in range(times):
        stream_room.follow(np.array([0.08, 0.01, 1], np.float32), np.full(3, 1 / 3, np.float32))


def test_a_new_room_can_be_reset_from_its_first_utterance_on(bundle: Bundle, settings: Settings) -> None:
    stream_room, store = StreamRoom(bundle, settings, is_recording=False), RoomStore(settings)
    room = stream_room.of("desk")
    heard(stream_room, 3)
    assert [stored.utterances for stored in store.rooms()] == [1], "and then every now and then"
    store.reset(store.rooms())
    heard(stream_room)
    assert room.utterances == 1
    assert store.rooms() == []


def test_a_room_is_forgotten_with_a_person_and_with_nobody_else(bundle: Bundle, settings: Settings) -> None:
    stream_room = StreamRoom(bundle, settings, is_recording=False)
    stream_room.follow_people(frozenset("ab"))
    room = stream_room.of("desk")
    heard(stream_room, 3)
    for everyone in ("ab", "abc", "bac"):
        stream_room.follow_people(frozenset(everyone))
    assert room.utterances > 2
    stream_room.follow_people(frozenset("bcd"))
    assert room.utterances == 0


def test_the_file_goes_with_a_person_even_if_it_was_written_meanwhile(bundle: Bundle, settings: Settings) -> None:
    stream_room, store = StreamRoom(bundle, settings, is_recording=False), RoomStore(settings)
    stream_room.follow_people(frozenset("ab"))
    stream_room.of("desk")
    heard(stream_room)
    assert len(store.rooms()) == 1
    stream_room.follow_people(frozenset("a"))
    stream_room.save()
    assert store.rooms() == []


def test_a_reset_is_not_undone_at_once_so_that_whoever_else_listens_there_sees_it(
    bundle: Bundle, settings: Settings
) -> None:
    one, other = (StreamRoom(bundle, settings, is_recording=False) for _ in range(2))
    room, others = one.of("desk"), other.of("desk")
    store = RoomStore(settings)
    for each in (one, other):
        heard(each, 3)
        each.save()
    store.reset(store.rooms())
    heard(one)
    heard(other)
    assert room.utterances == others.utterances == 1
    assert store.rooms() == []


def test_what_is_not_a_number_does_not_stay_in_a_room(bundle: Bundle, settings: Settings) -> None:
    stream_room = StreamRoom(bundle, settings, is_recording=False)
    room = stream_room.of("desk")
    heard(stream_room)
    before = room.offset()
    stream_room.follow(np.array([0.08, np.nan, 1], np.float32), np.full(3, np.nan, np.float32))
    np.testing.assert_array_equal(room.offset(), before)


@pytest.mark.parametrize("bound_to", [(), ("Ann",)])
def test_a_running_engine_starts_its_room_anew_when_anybody_is_forgotten(
    bundle: Bundle, settings: Settings, bound_to: tuple[str, ...]
) -> None:
    with SpeakerStore.open(settings.speakers.store_folder) as store:
        for name in ("Ann", "Bo"):
            store.add_person(name, Consent(text_version="1", how="--yes"))
    half_heard = threading.Event()

    def count(event: Event) -> None:
        if len(recorder.of("utterance")) == 3:
            half_heard.set()

    class Interrupted(Played):
        def blocks(self) -> Iterator[Block]:
            yield from super().blocks()
            assert half_heard.wait(60)
            with SpeakerStore.open(settings.speakers.store_folder) as store:
                store.forget("Bo")
            yield from super().blocks()

    recorder = Recorder(count)
    forgetful = settings.model_copy(update={"room": RoomSettings(remember=False)})
    source = Interrupted(said(3), can_wait=False, name="desk")
    Engine([source], Recognizer(bundle, settings.encoder), [recorder], forgetful, bound_to=[bound_to]).run()
    shares = rooms_applied(recorder)
    assert len(shares) == 6
    assert [share == 0 for share in shares] == [True, False, False] * 2


def test_a_microphone_under_another_name_is_another_room(bundle: Bundle, settings: Settings) -> None:
    stream_room = StreamRoom(bundle, settings, is_recording=False)
    stream_room.of("USB")
    stream_room.follow(np.array([0.08, 0.01, 1], np.float32), np.full(3, 1 / 3, np.float32))
    assert stream_room.of("built-in").utterances == 0
    assert stream_room.of("USB").utterances == 1


@pytest.fixture
def worldly(bundle_folder: Path, tmp_path: Path) -> Bundle:
    """The tiny bundle, trained on two corpora that differ in the mean square of the samples."""
    folder = tmp_path / "worldly"
    shutil.copytree(bundle_folder, folder)
    contrast = np.array([[0, 500, 0]], np.float32)
    replace(Bundle.load(folder).population, contrast=contrast).save(folder / POPULATION_NAME)
    corpus = {"licence": "none", "licence_verified": True, "speakers": 1, "utterances": 9}
    write_manifest(folder, corpora=[{"name": name} | corpus for name in ("a", "b")])
    return Bundle.load(folder)


@pytest.mark.parametrize("remembered", [True, False])
def test_another_room_than_before_is_said_and_starts_anew(
    worldly: Bundle, settings: Settings, remembered: bool
) -> None:
    here, there = said(30, level=0.6), said(24, level=2.0)
    if remembered:
        listen(worldly, settings, here)
        recorder = listen(worldly, settings, there)
    else:
        recorder = listen(worldly, settings, np.concatenate([here, there]))
    news = [event.message for event in recorder.of("status") if "another room" in (event.message or "")]
    assert news == ["the source sounds like another room than before: its room is estimated anew"]
    shares = rooms_applied(recorder)
    heard_before = [event.type for event in recorder.events[: place(recorder, news[0])]].count("utterance")
    around = shares[heard_before - 2 : heard_before + 2]
    assert min(after / before for before, after in pairwise(around)) < 0.5
    assert json.loads(recorder.of("utterance")[0].to_json())["room"] == round(shares[0], 4)


def place(recorder: Recorder, message: str) -> int:
    """Return where among the events something was said."""
    return next(index for index, event in enumerate(recorder.events) if event.message == message)


def test_a_bundle_of_one_corpus_never_takes_a_room_for_another(bundle: Bundle, settings: Settings) -> None:
    recorder = listen(bundle, settings, np.concatenate([said(24, level=0.6), said(20, level=2.0)]))
    assert [event.message for event in recorder.of("status")][1:] == ["stopped"]
