import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import OutputError, StoreError, UsageError, printable
from edge.event import Event
from edge.journal import Entry, Journal, check_journal, journal_paths
from edge.journal.known import KnownPeople
from edge.outputs import CsvTable, JournalOutput, JsonLines, Outputs, open_as, wanted_outputs
from edge.people.store import SpeakerStore
from edge.people.store.vault import Vault
from edge.settings import OutputSettings
from helpers.journals import NOON, Machine, Writer, became, enrolled, said

HOUR = timedelta(hours=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with Anna and Bo in it."""
    folder = tmp_path / "store"
    enrolled(folder, "Anna", "Bo")
    return folder


@pytest.fixture
def writer(folder: Path) -> Iterator[Writer]:
    with Writer(folder, Machine().clock) as writer:
        yield writer


def rows(folder: Path, **wanted: object) -> list[Entry]:
    with Journal(folder / "journal.db") as journal:
        return list(journal.entries(lambda: Vault.load(folder), **wanted))  # type: ignore[arg-type]


def ids(folder: Path) -> dict[str, str]:
    with SpeakerStore.open(folder) as store:
        return {person.name: person.id for person in store.people()}


def every_byte(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("journal.db*"))


def test_a_row_has_what_was_said_of_an_utterance(writer: Writer, folder: Path) -> None:
    more = {"relative": {"neutral": -0.5, "happy": 1.25, "angry": 0.0}, "speech": 0.99, "needs_review": True}
    writer.add(said("happy", "Anna", **more), said("angry", at=NOON + HOUR, source="hall"))
    first, second = rows(folder)
    assert (first.time, first.source, first.fact, first.person) == (NOON, "kitchen", "utterance", ids(folder)["Anna"])
    answer = first.answer
    assert answer is not None
    assert (answer.emotion, answer.confidence, answer.duration_s, answer.certainty) == ("happy", 0.6, 2.5, 0.9)
    assert (answer.relative, answer.speech, answer.needs_review) == tuple(more.values())
    assert answer.scores == {"neutral": 0.2, "happy": 0.6, "angry": 0.2}
    assert second.person is None
    assert second.answer is not None
    assert (second.answer.certainty, second.answer.relative, second.answer.speech) == (None, None, None)


def test_what_else_happened_is_a_fact_without_words(writer: Writer, folder: Path) -> None:
    time = NOON.isoformat()
    writer.add(
        became("ready"),
        Event("skipped", "kitchen", time, id=2, start_s=1.0, end_s=2.0, reason="too_slow", message="Anna spoke"),
        Event("error", "kitchen", time, message="Anna's microphone"),
        Event("speech_start", "kitchen", time, id=3, start_s=1.0),
        Event("partial", "kitchen", time, id=3, start_s=1.0, end_s=2.0, emotion="sad", scores={"sad": 1.0}),
    )
    assert [entry.fact for entry in rows(folder)] == ["ready", "too_slow", "error"]
    assert b"Anna" not in every_byte(folder)


def test_nobody_else_can_read_it_and_without_the_key_nobody_at_all(writer: Writer, folder: Path) -> None:
    writer.add(said("happy", "Anna"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.glob("journal.db*")}
    assert modes == dict.fromkeys(("journal.db", "journal.db-wal", "journal.db-shm"), 0o600)
    for secret in (b"happy", b"Anna", b"scores"):
        assert secret not in every_byte(folder)
    (folder / "store.key").unlink()
    with pytest.raises(StoreError, match="the key of the store is missing"):
        rows(folder)
    Vault.load(folder, may_create=True)
    assert [(entry.fact, entry.answer) for entry in rows(folder)] == [("utterance", None)]


def test_nothing_said_can_be_attributed_to_anybody_else(writer: Writer, folder: Path) -> None:
    writer.add(said("angry", "Anna"), said("happy"))
    with closing(sqlite3.connect(folder / "journal.db")) as raw, raw:
        raw.execute("UPDATE events SET person = ?", (ids(folder)["Bo"],))
    assert [entry.answer for entry in rows(folder)] == [None, None]


def test_rows_are_found_by_time_person_and_source(writer: Writer, folder: Path) -> None:
    for hours, name, source in ((0, "Anna", "hall"), (1, "Bo", "hall"), (2, "Anna", "yard"), (3, None, "yard")):
        writer.add(said("happy", name, NOON + hours * HOUR, source))

    def hours_of(**wanted: object) -> list[int]:
        return [(entry.time - NOON) // HOUR for entry in rows(folder, **wanted)]

    assert hours_of() == [0, 1, 2, 3]
    assert hours_of(since=NOON + HOUR, until=NOON + 3 * HOUR) == [1, 2]
    assert hours_of(person=ids(folder)["Anna"]) == [0, 2]
    assert hours_of(source="yard") == [2, 3]
    assert hours_of(source="yard", person=ids(folder)["Anna"]) == [2]


def test_a_name_is_followed(writer: Writer, folder: Path) -> None:
    writer.add(said("happy", "Anna"))
    with SpeakerStore.open(folder) as store:
        store.rename("Anna", "Ada")
    cleo = enrolled(folder, "Cleo")["Cleo"]
    writer.add(said("happy", "Anna"), said("happy", "Ada"), said("happy", "Cleo"))
    ada = ids(folder)["Ada"]
    assert [entry.person for entry in rows(folder)] == [ada, ada, ada, cleo]


def test_what_somebody_said_before_they_were_forgotten_is_not_written_after(writer: Writer, folder: Path) -> None:
    writer.add(said("happy", "Anna"), said("happy", "Bo"))
    with SpeakerStore.open(folder) as store:
        anna = store.person("Anna").id
        store.forget("Anna")
    writer.journal.delete(person=anna)
    writer.add(said("happy", "Anna"), said("happy", "Nobody"))
    assert [entry.person for entry in rows(folder)] == [ids(folder)["Bo"]]
    assert anna.encode() not in every_byte(folder)


def test_forgetting_waits_for_a_row_that_is_being_written(writer: Writer, folder: Path) -> None:
    def forget(anna: str) -> None:
        with SpeakerStore.open(folder) as store:
            store.forget("Anna")
        with Journal(folder / "journal.db") as journal:
            journal.delete(person=anna)

    class ForgottenMeanwhile(KnownPeople):
        def id_of(self, name: str) -> str | None:
            found = super().id_of(name)
            assert found
            forgetting.append(threading.Thread(target=forget, args=(found,)))
            forgetting[0].start()
            return found

    forgetting: list[threading.Thread] = []
    writer.add(became("ready"))
    writer.known = ForgottenMeanwhile(writer.store)
    writer.add(said("happy", "Anna"))
    forgetting[0].join(30)
    assert [entry.fact for entry in rows(folder)] == ["ready"]


@pytest.mark.parametrize("everything", [True, False])
def test_what_is_deleted_leaves_no_trace_while_the_file_is_open_elsewhere(
    everything: bool, writer: Writer, folder: Path
) -> None:
    for number in range(300):
        writer.add(said("happy", ("Anna", "Bo")[number % 2], NOON + number * HOUR))
    people = ids(folder)
    with Journal(folder / "journal.db") as other:
        assert other.delete(person=None if everything else people["Anna"]) == (300 if everything else 150)
        assert people["Anna"].encode() not in every_byte(folder)
        assert (people["Bo"].encode() in every_byte(folder)) is not everything
    writer.add(said("happy", "Bo"))
    assert len(rows(folder)) == (1 if everything else 151)


def test_rows_from_before_a_moment_are_deleted(writer: Writer, folder: Path) -> None:
    for hours in range(4):
        writer.add(said("happy", ("Anna", None)[hours % 2], NOON + hours * HOUR))
    assert writer.journal.delete(before=NOON + 2 * HOUR, person=ids(folder)["Anna"]) == 1
    assert writer.journal.delete(before=NOON + 2 * HOUR) == 1
    assert [entry.time for entry in rows(folder)] == [NOON + 2 * HOUR, NOON + 3 * HOUR]
    assert Journal(folder / "none.db").delete() == 0
    assert not (folder / "none.db").exists()


def test_traces_go_when_the_process_that_reads_them_ends(
    writer: Writer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.sqlite_file.BUSY_S", 0.05)
    writer.add(said("happy", "Anna"))
    anna = ids(folder)["Anna"]
    with closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM events").fetchall()
        with Journal(folder / "journal.db") as journal, pytest.raises(OutputError, match="still holds traces"):
            journal.delete(person=anna)
        assert rows(folder) == []
        reader.execute("COMMIT")
    with Journal(folder / "journal.db") as journal:
        assert journal.extent().rows == 0
    assert anna.encode() not in every_byte(folder)


def test_a_busy_file_is_an_error_and_writing_goes_on_afterwards(
    writer: Writer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.sqlite_file.BUSY_S", 0.05)
    writer.add(said("happy"))
    with closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutputError, match=r"journal\.db: another process keeps it busy"):
            writer.add(said("angry"))
        other.execute("ROLLBACK")
    writer.add(said("neutral"))
    assert [entry.answer.emotion for entry in rows(folder) if entry.answer] == ["happy", "neutral"]


def test_what_is_heard_while_the_file_cannot_be_written_is_written_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.sqlite_file.BUSY_S", 0.02)
    monkeypatch.setattr("edge.outputs.output_queue.RETRY_S", 0.02)
    reports: list[str] = []
    fails, works = threading.Event(), threading.Event()

    def report(message: str) -> None:
        reports.append(message)
        (works if "works again" in message else fails).set()

    output = JournalOutput(folder / "journal.db", folder, days=30)
    with Outputs([output], report=report) as outputs:
        outputs.raise_failure()  # it is open
        with closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for emotion in ("happy", "angry", "neutral"):
                outputs.write(said(emotion))
            assert fails.wait(10)
        assert works.wait(10)
    assert "another process keeps it busy" in reports[0]
    assert [entry.answer.emotion for entry in rows(folder) if entry.answer] == ["happy", "angry", "neutral"]


def test_a_file_that_was_removed_appears_again(writer: Writer, folder: Path) -> None:
    writer.add(said("happy"))
    for path in folder.glob("journal.db*"):
        path.unlink()
    writer.add(said("angry"))
    assert [entry.answer.emotion for entry in rows(folder) if entry.answer] == ["angry"]


def test_a_link_may_lead_to_another_disk(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (folder / "journal.db").symlink_to(tmp_path / "disk" / "j.db")
    for _ in range(2):
        with Writer(folder) as writer:
            writer.add(said("happy"))
    assert len(rows(folder)) == 2
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["j.db"]


def foreign_files(folder: Path) -> Iterator[Path]:
    for name, content in (("a.jsonl", b'{"type": "status"}\n'), ("short", b"x"), ("image", b"SQLite format 3\0 or so")):
        (folder / name).write_bytes(content)
        yield folder / name
    with closing(sqlite3.connect(folder / "other.db")) as other:
        other.execute("CREATE TABLE events (id)")
    yield folder / "other.db"
    yield folder / "speakers.db"
    yield Path("/dev/null")


def test_no_other_file_is_touched(folder: Path) -> None:
    for path in foreign_files(folder):
        before = path.read_bytes()
        with pytest.raises(UsageError, match=f"^{path}: it (exists and is no journal of affectd|is no file)"):
            open_as(OutputSettings(type="journal", path=str(path)), (), folder)
        for attempt in (lambda path=path: Journal(path).expire(30), lambda path=path: Journal(path).delete()):
            with pytest.raises((UsageError, OutputError)):
                attempt()
        assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", None])
def test_a_damaged_journal_is_left_as_it_is(content: bytes | None, writer: Writer, folder: Path) -> None:
    for number in range(100):
        writer.add(said("happy", "Anna", NOON + number * HOUR))
    writer.close()
    path = folder / "journal.db"
    damaged = bytearray(path.read_bytes())
    damaged[4096 * 2 :] = b"\xff" * len(damaged[4096 * 2 :])
    path.write_bytes(bytes(damaged) if content is None else content)
    before = path.read_bytes()
    with pytest.raises(OutputError, match=f"^{path}: is .*damaged and was left as it is; restore it from a backup, or"):
        rows(folder)
    with pytest.raises(OutputError, match="damaged"):
        writer.journal.delete(person=ids(folder)["Anna"])
    assert path.read_bytes() == before


def test_a_newer_journal_is_refused(writer: Writer, folder: Path) -> None:
    writer.add(said("happy"))
    with closing(sqlite3.connect(folder / "journal.db")) as raw:
        raw.execute("PRAGMA user_version = 2")
    with pytest.raises(OutputError, match=r"was written by a newer affectd \(schema 2, this one knows 1\)"):
        rows(folder)


def test_an_hour_by_hour_search_needs_no_look_at_all_rows(writer: Writer, folder: Path) -> None:
    writer.add(became("ready"))
    start_ms = round(NOON.timestamp() * 1e3)
    with closing(sqlite3.connect(folder / "journal.db")) as raw, raw:
        many = ((start_ms + 1_000 * number,) for number in range(100_000))
        raw.executemany("INSERT INTO events VALUES (NULL, 1, ?, 'kitchen', 'ready', NULL, NULL)", many)
        raw.execute("UPDATE stretches SET since_ms = 0")
        raw.execute("ANALYZE")
    statements: list[str] = []
    journal = writer.journal
    journal._file._connect().set_trace_callback(statements.append)
    assert len(list(journal.entries(lambda: writer.vault, NOON + HOUR, NOON + 2 * HOUR, source="kitchen"))) == 3_600
    journal.expire(days=3_000)
    writer.add(said("happy"))
    journal._file._connect().set_trace_callback(None)
    plans = []
    with closing(sqlite3.connect(folder / "journal.db")) as raw:
        for statement in statements:
            if " events" in statement and not statement.startswith("INSERT"):
                plans += [detail for *_, detail in raw.execute(f"EXPLAIN QUERY PLAN {statement}") if "events" in detail]
    assert len(plans) >= 3
    assert all("INDEX events_by_time (time_ms" in plan for plan in plans), plans


def test_the_settings_open_it_beside_the_store_or_where_they_say(folder: Path, tmp_path: Path) -> None:
    beside, elsewhere = OutputSettings(type="journal"), OutputSettings(type="journal", path=str(tmp_path / "j.db"))
    assert journal_paths((), folder) == journal_paths((beside,), folder) == [folder / "journal.db"]
    assert journal_paths((OutputSettings(path="x"), elsewhere), folder) == [tmp_path / "j.db", folder / "journal.db"]
    shown = OutputSettings(type="csv")
    for json, kinds in ((False, [JournalOutput, CsvTable]), (True, [JournalOutput, JsonLines])):
        opened = [open_as(output, ("sad",), folder) for output in wanted_outputs((beside, shown), json)]
        assert [type(output) for output in opened] == kinds


def test_the_output_writes_deletes_and_can_be_opened_again(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "j.db"
    output = JournalOutput(path, folder, days=1)
    now = datetime.now(timezone.utc)
    for hours in (48, 12):
        output.open()
        output.write(said("happy", "Anna", now - timedelta(hours=hours)))
        output.close()
    with closing(sqlite3.connect(path)) as raw, raw:
        assert raw.execute("SELECT count(*) FROM events").fetchone() == (2,)
        raw.execute("UPDATE stretches SET since_ms = since_ms - 3600000")
    output.open()
    output.close()
    check_journal(path)
    with Journal(path) as journal:
        assert journal.extent().rows == 1
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_journal_without_anybody_enrolled_makes_its_key(tmp_path: Path) -> None:
    with Writer(tmp_path / "new") as writer:
        writer.add(said("happy"))
    assert [entry.answer.emotion for entry in rows(tmp_path / "new") if entry.answer] == ["happy"]
    (tmp_path / "new" / "store.key").write_text("no key")
    with pytest.raises(StoreError, match="is no key"):
        JournalOutput(tmp_path / "new" / "journal.db", tmp_path / "new", 30).open()


@settings(max_examples=25)
@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    st.text(max_size=20) | st.sampled_from(["bad\udcff.wav", "\x1b[31mred", "a\0b", "'; DROP TABLE events; --"]),
    st.floats(0, 1),
    st.datetimes(datetime(1970, 1, 2), datetime(2199, 1, 1)),
)
def test_any_utterance_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, emotion: str, source: str, confidence: float, at: datetime
) -> None:
    folder = tmp_path_factory.mktemp("any")
    at = at.replace(tzinfo=timezone.utc, microsecond=at.microsecond // 1000 * 1000)
    event = said(emotion, at=at, source=source, confidence=confidence, scores={emotion: confidence})
    with Writer(folder) as writer:
        writer.add(event)
    (entry,) = rows(folder, source=source)
    assert entry.answer is not None
    assert (entry.source, entry.time, entry.answer.emotion) == (printable(source), at, emotion)
    assert entry.answer.scores == event.to_dict()["scores"]
