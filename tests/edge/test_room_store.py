import json
import logging
import shutil
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import edge.stream_room
from edge.audio import Waveform
from edge.bundle import Bundle
from edge.capture import Block, FileSource, LiveSource, PcmSource, Source, is_recording
from edge.engine import Engine
from edge.errors import StoreError, UsageError
from edge.event import Event
from edge.people.store import SpeakerStore
from edge.people.store.person import Consent, StoredProfile
from edge.people.store.vault import KEY_FILE_NAME
from edge.population import POPULATION_NAME
from edge.recognizer import Recognizer
from edge.room import EVEN_ANSWERS, ONE_SIDED, Room
from edge.room_store import RoomStore
from edge.settings import EncoderSettings, RoomSettings, Settings, SpeakerSettings
from edge.stream_room import StreamRoom
from helpers.conversation import Conversation
from helpers.running import Played, Recorder
from helpers.signals import silence, speech_like
from helpers.tiny import write_manifest


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(speakers=SpeakerSettings(store=str(tmp_path / "store")), encoder=EncoderSettings(max_batch=1))


def learnt(bundle: Bundle, settings: RoomSettings, utterances: int = 20) -> Room:
    room = Room(bundle.population, settings)
    for number in range(utterances):
        room.update(np.array([0.08, 0.01, 1 + number / 100], np.float32), np.array([0.5, 0.3, 0.2], np.float32))
    return room


def said(count: int, level: float = 1.0) -> Waveform:
    """Return so many utterances, as loud as they arrive there."""
    parts = [silence(0.5)]
    for seed in range(count):
        parts += [level * speech_like(0.8, seed), silence(0.8, seed=seed)]
    return np.concatenate(parts)


def listen(
    bundle: Bundle, settings: Settings, samples: Waveform, name: str = "desk", can_wait: bool = False
) -> Recorder:
    recorder, source = Recorder(), Played(samples, can_wait=can_wait, name=name)
    roomy = settings.model_copy(update={"encoder": settings.encoder.model_copy(update={"queue_utterances": 900})})
    Engine([source], Recognizer(bundle, settings.encoder), [recorder], roomy).run()
    return recorder


def rooms_applied(recorder: Recorder) -> list[float]:
    return [event.room for event in recorder.of("utterance")]


def test_a_room_is_kept_as_numbers_that_only_the_owner_can_read(bundle: Bundle, settings: Settings) -> None:
    store, room = RoomStore(settings), learnt(bundle, settings.room)
    for name in ("USB Audio: 3/1", "mic", "ünïcode \n", "not \udcff UTF-8"):
        store.save(name, bundle, room)
        again = store.load(name, bundle, settings.room)
        assert (again.offset() == room.offset()).all()
        assert again.share == room.share
    paths = [stored.path for stored in store.rooms()]
    sources = [stored.source for stored in store.rooms()]
    assert sources == ["USB Audio: 3/1", "mic", r"not \udcff UTF-8", r"ünïcode \n"], "as it can be shown"
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert all(path.stat().st_size < 4096 for path in paths)
    plain = room.tensors()["embeddings"].tobytes()
    assert not any(plain in path.read_bytes() for path in paths)
    assert stat.S_IMODE((store.folder.parent / KEY_FILE_NAME).stat().st_mode) == 0o600


def test_nothing_is_known_of_a_source_that_was_never_heard(bundle: Bundle, settings: Settings) -> None:
    store = RoomStore(settings)
    assert store.rooms() == []
    assert store.load("desk", bundle, settings.room).share == 0
    assert not store.folder.exists()


@pytest.mark.parametrize(
    "damage", ["cut", "empty", "text", "foreign", "format", "time", "number", "moved", "dimension", "earlier", "folder"]
)
def test_a_damaged_file_is_as_good_as_none(
    bundle: Bundle,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    store = RoomStore(settings)
    store.save("desk", bundle, learnt(bundle, settings.room))
    path = store.path("desk", bundle.encoder_hash)
    data = path.read_bytes()
    tensors = load_file(path)
    facts = {
        "format": "2",
        "source": "desk",
        "encoder": bundle.encoder_hash,
        "bundle": "b",
        "changed_at": "2026-01-01T00:00:00+00:00",
        "utterances": "9",
    }
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("no room")
    elif damage == "foreign":
        save_file({"weight": np.zeros(3)}, path)
    elif damage == "format":
        save_file(tensors, path, facts | {"format": "1"})
    elif damage == "time":
        save_file(tensors, path, facts | {"changed_at": "2026-01-01"})
    elif damage == "number":
        save_file(tensors, path, facts | {"utterances": "nan"})
    elif damage == "moved":
        save_file(tensors, path, facts | {"source": "kitchen"})
    elif damage in ("dimension", "earlier"):
        other = learnt(bundle, settings.room)
        kept = other.tensors()
        del kept["answers"]  # which earlier versions did not count
        monkeypatch.setattr(other, "tensors", lambda: kept if damage == "earlier" else {"embeddings": np.zeros(5)})
        store.save("desk", bundle, other)
    else:
        path.unlink()
        path.mkdir()
    with caplog.at_level(logging.WARNING):
        assert store.load("desk", bundle, settings.room).share == 0
    assert len(caplog.records) == 1
    assert str(path) in caplog.text
    recorder = listen(bundle, settings, said(2))
    assert len(recorder.of("utterance")) == 2


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


def test_a_folder_that_cannot_be_read_is_not_one_without_rooms(
    bundle: Bundle, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RoomStore(settings)
    store.save("desk", bundle, learnt(bundle, settings.room))

    def refused(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refused)
    for ask in (store.rooms, store.clear):
        with pytest.raises(UsageError, match=r"cannot read .*rooms: Permission denied"):
            ask()


def test_clearing_removes_all_rooms_and_what_a_cut_off_write_left(bundle: Bundle, settings: Settings) -> None:
    store = RoomStore(settings)
    assert store.clear() == 0
    for name in ("desk", "kitchen"):
        store.save(name, bundle, learnt(bundle, settings.room))
    (store.folder / "broken.safetensors").write_bytes(b"broken")
    (store.folder / ".0f.safetensors.abc").mkdir()
    (store.folder / ".0f.safetensors.abc" / "0f.safetensors").write_bytes(b"half")
    (store.folder / "notes.txt").write_text("mine")
    assert store.clear() == 3
    assert [path.name for path in store.folder.iterdir()] == ["notes.txt"]


def test_without_its_key_a_room_is_estimated_anew_and_no_other_key_is_made_for_a_store(
    bundle: Bundle, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    store = RoomStore(settings)
    store.save("desk", bundle, learnt(bundle, settings.room))
    key = store.folder.parent / KEY_FILE_NAME
    assert store.load("desk", bundle, settings.room).share > 0
    with SpeakerStore.open(settings.speakers.store_folder) as people:
        person = people.add_person("Ann", Consent(text_version="1", how="--yes"))
        profile = StoredProfile(encoder_hash="e", speaker_hash="none", tensors={})
        people.save_voice_profile(person, profile)  # the key that the room made is the store's
    key.rename(key.with_suffix(".away"))
    with caplog.at_level(logging.WARNING):
        assert store.load("desk", bundle, settings.room).share == 0
    assert "the key of the store is missing" in caplog.text
    assert [stored.source for stored in store.rooms()] == ["desk"], "listing needs no key"
    with pytest.raises(StoreError, match="the key of the store is missing"):
        store.save("desk", bundle, learnt(bundle, settings.room))
    assert not key.exists()
    caplog.clear()
    speakers = settings.speakers.model_copy(update={"enabled": False})
    recorder = listen(bundle, settings.model_copy(update={"speakers": speakers}), said(2))
    assert len(recorder.of("utterance")) == 2
    assert "the room of desk is not remembered" in caplog.text
    key.with_suffix(".away").rename(key)
    assert store.load("desk", bundle, settings.room).share > 0


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
