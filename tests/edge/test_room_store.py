import logging
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edge.bundle import Bundle
from edge.errors import StoreError, UsageError
from edge.people.store import SpeakerStore
from edge.people.store.person import Consent, StoredProfile
from edge.people.store.vault import KEY_FILE_NAME
from edge.room_store import RoomStore
from edge.settings import EncoderSettings, Settings, SpeakerSettings
from helpers.rooms import learnt, listen, said


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(speakers=SpeakerSettings(store=str(tmp_path / "store")), encoder=EncoderSettings(max_batch=1))


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
