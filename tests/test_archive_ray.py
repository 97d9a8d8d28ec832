"""``examples/archive_ray.py``: the events of ``affectd analyze``, whatever happens on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from edge.audio import SAMPLE_RATE_HZ
from edge.event import FIELDS, EventType
from helpers.signals import silence, speech_like

pytest.importorskip("ray.data", reason="no ray here: pip install 'ray[data]' pyarrow")
import pyarrow.parquet as pq
from archive_ray import TABLE, TRIES, Analyst, parts_to_do, prepare

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
OF_THE_RUN = ("time", "latency_ms")
STUCK = "06-stuck.wav"
Events = list[dict[str, Any]]


def write_recording(path: Path, seed: int) -> None:
    turns = [part for turn in range(1 + seed % 3) for part in (speech_like(1.0, seed + turn), silence(0.8))]
    samples = (1 + seed % 2) * np.concatenate([silence(0.5), *turns])
    soundfile.write(os.fsencode(path), samples, SAMPLE_RATE_HZ, format="WAV")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten files: several utterances, none, a broken file, a name that is no UTF-8, and that of a pipe to be written."""
    folder = tmp_path_factory.mktemp("archive")
    for number in range(6):
        write_recording(folder / f"{number:02}.wav", number)
    write_recording(folder / os.fsdecode(b"07-caf\xe9.wav"), 7)
    soundfile.write(folder / "08-silent.wav", silence(2), SAMPLE_RATE_HZ)
    (folder / "09-broken.wav").write_bytes(b"RIFF and then nothing")
    return folder


def started(recordings: Path, out: Path, bundle: Path, *options: str) -> subprocess.Popen[str]:
    files = recordings.parent / f"{out.name}.txt"
    files.write_bytes(
        b"\n".join(os.fsencode(path) for path in sorted([*recordings.iterdir(), recordings / "gone.wav"]))
    )
    command = [sys.executable, "examples/archive_ray.py", "--list", files, "--out", out, "--bundle", bundle, *options]
    return subprocess.Popen(map(str, command), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def events_of(out: Path) -> Events:
    """Return the table as events, by recording, in their order: fields that are null are left out."""
    rows = sorted(pq.read_table(out).to_pylist(), key=lambda row: (row["path"], row["id"] or 0))
    found = [{name: value for name, value in row.items() if value is not None} for row in rows]
    for row in found:
        row |= {name: dict(row[name]) for name in ("scores", "relative", "latency_ms") if name in row}
    return found


def comparable(events: Events) -> Events:
    return [{name: value for name, value in event.items() if name not in OF_THE_RUN} for event in events]


def analyzed(recordings: Path, bundle: Path) -> Events:
    """Return what ``affectd analyze`` says, its utterances counted within their recording."""
    files = sorted([*recordings.iterdir(), recordings / "gone.wav"])
    command = [sys.executable, "-m", "edge", "analyze", *files, "--json", "--bundle", bundle]
    result = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    counts = Counter[str]()
    events = [json.loads(line) for line in result.stdout.splitlines()]
    for event in events:
        if "id" in event:
            counts[event["path"]] += 1
            event["id"] = counts[event["path"]]
    events.sort(key=lambda event: (event["path"], event.get("id", 0)))
    return [{name: value for name, value in event.items() if value is not None} for event in events]


def test_an_archive_has_the_events_of_analyze_and_goes_on_after_it_was_killed(
    recordings: Path, tmp_path: Path, bundle_folder: Path
) -> None:
    out, stuck = tmp_path / "events", recordings / STUCK
    # Whoever reads this waits, so what is after it is not done when the run is killed.
    os.mkfifo(stuck)
    killed = started(recordings, out, bundle_folder, "--actors", "1", "--part", "2")
    while len(parts := sorted(out.glob("*.parquet"))) < 3:
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.05)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    written = {part: part.read_bytes() for part in parts}
    stuck.unlink()
    write_recording(stuck, 6)

    rest = started(recordings, out, bundle_folder, "--actors", "2", "--part", "2")
    said, _ = rest.communicate(timeout=300)
    assert rest.returncode == 1, said  # as of affectd analyze where a file could not be read
    assert said.splitlines()[0] == "11 recordings, 6 of them done"
    assert "2 recordings that could not be read" in said.splitlines()[-1]
    assert len(list(out.glob("*.parquet"))) == 6
    assert {part: part.read_bytes() for part in parts} == written
    assert sorted(path.name for path in out.iterdir() if path.suffix != ".parquet") == ["_made_with.json"]
    assert comparable(events_of(out)) == comparable(analyzed(recordings, bundle_folder))
    errors = [event["path"] for event in events_of(out) if event["type"] == "error"]
    assert errors == [str(recordings / "09-broken.wav"), str(recordings / "gone.wav")]

    again = started(recordings, out, bundle_folder, "--part", "2")
    said, _ = again.communicate(timeout=300)
    assert said.splitlines()[0] == "11 recordings, 11 of them done"
    other = started(recordings, out, bundle_folder, "--whole-file")
    said, _ = other.communicate(timeout=300)
    assert "take another --out" in said


def test_a_row_has_every_field_of_an_event() -> None:
    of_analyze: tuple[EventType, ...] = ("utterance", "status", "error")
    assert {"type", "schema"}.union(*(FIELDS[kind] for kind in of_analyze)) - {"number"} == set(TABLE.names)


FILES = [f"/archive/{number}.wav" for number in range(20)]


@given(st.sets(st.sampled_from(FILES)), st.integers(1, 25))
def test_what_is_left_of_an_archive_is_cut_where_the_whole_was(done: set[str], size: int) -> None:
    whole, rest = list(parts_to_do(FILES, set(), size)), list(parts_to_do(FILES, done, size))
    assert [os.fsdecode(path) for part in whole for path in part["paths"]] == FILES
    assert [os.fsdecode(path) for part in rest for path in part["paths"]] == [
        file for file in FILES if file not in done
    ]
    assert len({part["name"] for part in rest}) == len(rest)
    for part in whole:
        assert (part in rest) == (not done & set(map(os.fsdecode, part["paths"])))


def test_a_part_that_actors_die_of_is_left_out_until_the_next_run(
    recordings: Path, tmp_path: Path, bundle_folder: Path
) -> None:
    analyst = Analyst(str(bundle_folder), False, tmp_path)
    (part,) = parts_to_do([str(recordings / "00.wav")], prepare(tmp_path, {}), 64)
    (tmp_path / f".{part['name']}.tries").write_text("x" * TRIES)
    assert analyst(part) == {"recordings": 0}
    assert prepare(tmp_path, {}) == set()
    assert analyst(part) == {"recordings": 1}
    assert prepare(tmp_path, {}) == {str(recordings / "00.wav")}
    assert {path.name for path in tmp_path.iterdir()} == {part["name"], "_made_with.json"}
