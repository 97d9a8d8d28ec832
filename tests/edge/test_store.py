import json
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edge.errors import StoreError, UsageError
from edge.people.store import SpeakerStore
from edge.people.store.person import Consent, EnrolledClip, Person
from helpers.voices import CONSENT, ENCODER, clip, contents, newest_profiles, profile

ODD_NAMES = [
    "../../etc/passwd",
    "/dev/null",
    "Robert'); DROP TABLE people;--",
    "' OR 1=1 --",
    "%",
    "*",
    "-rf",
    "NULL",
    "1",
    "\u540d\u524d",
    "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",
    "\U0001f469\u200d\U0001f680",
    "x" * 64,
]


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Iterator[SpeakerStore]:
    with SpeakerStore.open(folder) as opened:
        yield opened


@pytest.fixture
def anna(store: SpeakerStore) -> Person:
    return store.add_person("Anna", CONSENT)


def numbers(clips: list[EnrolledClip]) -> list[int]:
    return [int(clip.embedding[0]) for clip in clips]


def every_byte(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_clips_come_back_in_order_and_never_mix_encoders(store: SpeakerStore, anna: Person) -> None:
    for number, encoder_hash in enumerate([ENCODER, "other", ENCODER, ENCODER, "other"]):
        store.add_clip(anna, clip(number, encoder_hash))
    assert numbers(store.clips(anna, ENCODER)) == [0, 2, 3]
    assert numbers(store.clips(anna, "other")) == [1, 4]
    assert store.clips(anna, "third") == []
    (kept, *_) = store.clips(anna, ENCODER)
    assert kept.model_dump_json() == clip(0).model_copy(update={"created_at": kept.created_at}).model_dump_json()


def test_a_clip_takes_the_place_of_another(store: SpeakerStore, anna: Person) -> None:
    first, second, third = (clip(number) for number in range(3))
    store.add_clip(anna, first)
    store.add_clip(anna, second)
    store.add_clip(anna, third, instead_of=first)
    assert [int(kept.embedding[0]) for kept in store.clips(anna, ENCODER)] == [1, 2]
    store.add_clip(anna, clip(3), instead_of=first)
    assert [int(kept.embedding[0]) for kept in store.clips(anna, ENCODER)] == [1, 2, 3]


def test_clips_are_counted_without_the_key(store: SpeakerStore, anna: Person, folder: Path) -> None:
    assert store.clip_counts(anna) == {}
    for encoder_hash in ("a", "b", "b"):
        store.add_clip(anna, clip(1, encoder_hash))
    store.save_voice_profile(anna, profile(1, "c"))
    (folder / "store.key").unlink()
    with SpeakerStore.open(folder) as other:
        assert other.clip_counts(anna) == {"a": 1, "b": 2}


def test_nothing_of_a_voice_is_stored_without_consent(store: SpeakerStore, folder: Path) -> None:
    stranger = Person(name="Bo", consent=CONSENT)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"'Bo' is no longer in .*speakers\.db"):
            store.add_clip(stranger, clip(1))
        with pytest.raises(StoreError, match="'Bo' is no longer in"):
            store.save_voice_profile(stranger, profile(1))
    store.add_person("Anna", CONSENT)
    assert not (folder / "store.key").exists()


def test_consent_and_its_circumstances_are_kept(store: SpeakerStore, folder: Path) -> None:
    consent = Consent(text_version="2026-01", how="--yes")
    store.add_person("Anna", consent, may_refine=True)
    with SpeakerStore.open(folder) as other:
        anna = other.person("anna")
        assert (anna.consent, anna.may_refine) == (consent, True)
        other.allow_refinement("Anna", False)
    assert store.person("Anna") == anna.model_copy(update={"may_refine": False})


def test_profiles_are_kept_for_each_encoder(store: SpeakerStore, anna: Person) -> None:
    bo = store.add_person("Bo", CONSENT)
    assert store.save_voice_profile(anna, profile(1)) == 1
    assert store.save_voice_profile(anna, profile(2)) == 2
    assert store.save_voice_profile(bo, profile(3, "other")) == 1
    newest = store.voice_profile(anna, ENCODER)
    assert newest is not None
    np.testing.assert_array_equal(newest.tensors["offset"], np.full(24, 2, np.float32))
    assert newest.facts == {"counts": {"happy": 2}}
    assert newest_profiles(store, "third") == {"Anna": None, "Bo": None}
    assert store.voice_profile(bo, ENCODER) is None
    assert store.voice_profile(bo, "other") is not None


def test_ten_revisions_are_kept_and_any_can_return(store: SpeakerStore, anna: Person) -> None:
    bo = store.add_person("Bo", CONSENT)
    store.save_voice_profile(bo, profile(99))
    for number in range(1, 13):
        assert store.save_voice_profile(anna, profile(number)) == number
    assert list(store.revisions(anna, ENCODER)) == list(range(12, 2, -1))
    assert store.revert(anna, ENCODER, 5) == 13
    newest = store.voice_profile(anna, ENCODER)
    assert newest
    assert newest.tensors["offset"][0] == 5
    assert newest.reason == "reverted to revision 5"
    assert len(store.revisions(anna, ENCODER)) == 10
    with pytest.raises(StoreError, match=r"'Anna' has no revision 3 for this encoder; there are: 13, 12, .*, 4$"):
        store.revert(anna, ENCODER, 3)
    with pytest.raises(StoreError, match="there are: none"):
        store.revert(anna, "other", 1)
    assert list(store.revisions(bo, ENCODER)) == [1]


def test_a_profile_stays_below_64_kb(store: SpeakerStore, anna: Person) -> None:
    store.save_voice_profile(anna, profile(1, dim=12_000))
    with pytest.raises(StoreError, match=r"a profile of 'Anna' takes 6\d{4} bytes; it must be below 65536"):
        store.save_voice_profile(anna, profile(2, dim=12_300))
    assert list(store.revisions(anna, ENCODER)) == [1]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_just_names(store: SpeakerStore, anna: Person, folder: Path, name: str) -> None:
    odd = store.add_person(f" {name} ", CONSENT)
    store.add_clip(odd, clip(1))
    assert store.person(name) == odd
    assert store.people() == sorted([anna, odd], key=lambda person: person.name.casefold())
    store.rename(name, "Bo")
    store.rename("Bo", name)
    assert json.loads(store.export_person(name))["content"]["person"]["name"] == name
    store.forget(name)
    assert store.people() == [anna]
    assert {path.name for path in folder.iterdir()} <= {
        "speakers.db", "speakers.db-shm", "speakers.db-wal", "store.key"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["", "\udcff", "a\nb", "x" * 65])
def test_names_that_are_not_allowed_are_refused_everywhere(store: SpeakerStore, anna: Person, name: str) -> None:
    export = store.export_person("Anna")
    for call in (
        lambda: store.add_person(name, CONSENT),
        lambda: store.person(name),
        lambda: store.rename("Anna", name),
        lambda: store.rename(name, "Bo"),
        lambda: store.forget(name),
        lambda: store.export_person(name),
        lambda: store.import_person(export, name),
    ):
        with pytest.raises(UsageError, match="1 to 64 characters"):
            call()
    assert store.people() == [anna]


def test_names_are_unique_in_any_case(store: SpeakerStore, anna: Person) -> None:
    bo = store.add_person("Bo", CONSENT)
    calls: list[Callable[[], Person]] = [
        lambda: store.add_person("ANNA", CONSENT),
        lambda: store.rename("bo", "anna"),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=r"the name '(ANNA|anna)' is taken in .*; choose another"):
            call()
    assert store.rename("anna", "ANNA") == anna.model_copy(update={"name": "ANNA"})
    assert [person.name for person in store.people()] == ["ANNA", bo.name]


def test_an_unknown_name_suggests_the_nearest(store: SpeakerStore, anna: Person) -> None:
    calls: list[Callable[[str], object]] = [
        store.person,
        store.forget,
        store.export_person,
        lambda name: store.rename(name, "Bo"),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=r"nobody is called 'ANNE' in .*\(did you mean 'Anna'\?\)"):
            call("ANNE")
    assert store.people() == [anna]


def test_rename_keeps_everything(store: SpeakerStore, anna: Person) -> None:
    store.add_clip(anna, clip(1))
    renamed = store.rename("anna", "Zoe\u0308")
    assert (renamed.id, renamed.name) == (anna.id, "Zo\xeb")
    assert numbers(store.clips(renamed, ENCODER)) == numbers(store.clips(anna, ENCODER)) == [1]


def test_forgetting_leaves_no_trace(store: SpeakerStore, folder: Path) -> None:
    anna, bo = store.add_person("Annegret", CONSENT), store.add_person("Bo", CONSENT)
    for number in range(20):
        store.add_clip(anna, clip(number))
        store.add_clip(bo, clip(number))
        store.save_voice_profile(anna, profile(number))
    store.rename("Annegret", "Rosalinde")
    before = contents(store)["Bo"]
    with closing(sqlite3.connect(folder / "speakers.db")) as raw:
        sealed = [blob for (blob,) in raw.execute("SELECT sealed FROM blobs WHERE person_id = ?", (anna.id,))]
    traces = [b"annegret", b"rosalinde", anna.id.encode(), *(blob[at : at + 16] for blob in sealed for at in (0, 200))]
    assert all(trace in every_byte(folder).lower() for trace in traces[:3])
    assert all(trace in every_byte(folder) for trace in traces[3:])
    with SpeakerStore.open(folder, readonly=True) as other:
        assert len(other.people()) == 2
        store.forget("rosalinde")
        assert not any(trace in every_byte(folder) for trace in traces)
        assert not any(trace in every_byte(folder).lower() for trace in traces[:3])
        assert list(contents(other)) == ["Bo"]
    assert contents(store)["Bo"] == before
    with pytest.raises(StoreError, match="'Annegret' is no longer in"):
        store.add_clip(anna, clip(1))


def test_traces_go_when_the_process_that_reads_them_ends(
    store: SpeakerStore, anna: Person, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.close()
    monkeypatch.setattr("edge.sqlite_file.BUSY_S", 0.05)
    with closing(sqlite3.connect(folder / "speakers.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM people").fetchall()
        with pytest.raises(StoreError, match=r"'Anna' is forgotten, but .*speakers\.db still holds traces"):
            store.forget("Anna")
        assert store.people() == []
        reader.execute("COMMIT")
    assert anna.id.encode() in every_byte(folder)
    with SpeakerStore.open(folder):
        assert anna.id.encode() not in every_byte(folder)


def test_a_store_may_be_handed_to_another_thread(folder: Path, anna: Person) -> None:
    with SpeakerStore.open(folder, readonly=True) as opened, ThreadPoolExecutor(1) as other:
        assert other.submit(opened.people).result() == opened.people() == [anna]


def test_traces_go_at_the_next_opening_after_a_kill(
    store: SpeakerStore, anna: Person, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store._database, "scrub", lambda: True)
    store.forget("anna")
    assert anna.id.encode() in every_byte(folder)
    with SpeakerStore.open(folder) as other:
        assert other.people() == []
        assert anna.id.encode() not in every_byte(folder)


def test_export_and_import(store: SpeakerStore, anna: Person, tmp_path: Path) -> None:
    for number in range(3):
        store.add_clip(anna, clip(number))
        store.add_clip(anna, clip(10 + number, "other"))
        store.save_voice_profile(anna, profile(number))
    export = store.export_person("ANNA")
    with SpeakerStore.open(tmp_path / "another device") as other:
        imported = other.import_person(export)
        assert imported.id != anna.id
        assert (imported.name, imported.consent) == ("Anna", CONSENT)
        for encoder_hash in (ENCODER, "other"):
            assert numbers(other.clips(imported, encoder_hash)) == numbers(store.clips(anna, encoder_hash))
        assert [newest.facts for newest in newest_profiles(other).values() if newest] == [{"counts": {"happy": 2}}]
        before = contents(other)
        with pytest.raises(StoreError, match="the name 'Anna' is taken"):
            other.import_person(export)
        with pytest.raises(StoreError, match="sha256"):
            other.import_person(export.replace(b"happy", b"angry"))
        assert contents(other) == before
        other.import_person(export, "Anna the second")
        assert sorted(contents(other)) == ["Anna", "Anna the second"]


def test_version_grows_with_every_change_of_anyone(store: SpeakerStore, folder: Path) -> None:
    seen = [store.version()]
    with SpeakerStore.open(folder) as other:
        for change in (
            lambda: other.add_person("Anna", CONSENT),
            lambda: other.add_clip(other.person("Anna"), clip(1)),
            lambda: other.save_voice_profile(other.person("Anna"), profile(1)),
            lambda: other.revert(other.person("Anna"), ENCODER, 1),
            lambda: other.rename("Anna", "Bo"),
            lambda: other.allow_refinement("Bo", True),
            lambda: other.import_person(other.export_person("Bo"), "Anna"),
            lambda: other.forget("Bo"),
        ):
            change()
            seen.append(store.version())
            store.people()
            assert other.version() == store.version() == seen[-1]
    assert seen == sorted(set(seen))


def test_a_change_that_fails_changes_nothing(store: SpeakerStore, anna: Person) -> None:
    store.add_clip(anna, clip(1))
    before, version = contents(store), store.version()
    for change in (
        lambda: store.add_person("anna", CONSENT),
        lambda: store.save_voice_profile(anna, profile(1, dim=20_000)),
        lambda: store.forget("Bo"),
    ):
        with pytest.raises(StoreError):
            change()
    assert (contents(store), store.version()) == (before, version)


def test_a_store_that_does_not_exist_is_empty_and_stays_away(store: SpeakerStore, folder: Path) -> None:
    assert store.people() == []
    with pytest.raises(StoreError, match="nobody is called 'Anna'"):
        store.export_person("Anna")
    with SpeakerStore.open(folder, readonly=True) as reader:
        assert reader.version() == 0
        with pytest.raises(StoreError, match=r"speakers\.db: was opened only for reading"):
            reader.add_person("Anna", CONSENT)
        assert not folder.exists()
        store.add_person("Anna", CONSENT)
        assert reader.version() == store.version() > 0
        assert [person.name for person in reader.people()] == ["Anna"]
        with pytest.raises(StoreError, match="was opened only for reading"):
            reader.forget("Anna")


def test_only_the_owner_can_read_the_files(folder: Path) -> None:
    umask = os.umask(0)
    try:
        with SpeakerStore.open(folder) as store:
            store.add_clip(store.add_person("Anna", CONSENT), clip(1))
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]}
    finally:
        os.umask(umask)
    files = dict.fromkeys(("speakers.db", "speakers.db-shm", "speakers.db-wal", "store.key"), 0o600)
    assert modes == {"store": 0o700, **files}
    (folder / "speakers.db").chmod(0o644)
    with SpeakerStore.open(folder):
        assert stat.S_IMODE((folder / "speakers.db").stat().st_mode) == 0o600


def test_what_was_a_voice_is_nowhere_in_the_clear(store: SpeakerStore, anna: Person, folder: Path) -> None:
    store.add_clip(anna, clip(1))
    store.save_voice_profile(anna, profile(1))
    stored = every_byte(folder)
    for plain in (b"happy", b"embedding", b"offset", b"float32", clip(1).embedding.tobytes()[:12]):
        assert plain not in stored


def test_opening_without_a_folder_takes_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    with SpeakerStore.open() as store:
        store.add_person("Anna", CONSENT)
    assert (tmp_path / "share" / "affectd" / "speakers.db").is_file()
