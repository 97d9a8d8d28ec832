import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import StoreError
from edge.people.store import SpeakerStore
from edge.people.store.person import EnrolledClip
from helpers.voices import CONSENT, ENCODER

PRELUDE = """
import os, resource, sys
from itertools import count
from pathlib import Path
from helpers.voices import CONSENT, clip, profile
from edge.errors import StoreError
from edge.people.store import SpeakerStore

folder, *arguments = sys.argv[1:]
store = SpeakerStore(Path(folder))
print("ready", flush=True)
sys.stdin.readline()
"""


def start(script: str, folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start a process that has imported everything and waits for a line on its standard input."""
    environment = {name: value for name, value in os.environ.items() if name != "CREDENTIALS_DIRECTORY"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", PRELUDE + script, str(folder), *arguments]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate("go\n", timeout=60)
    assert process.returncode == 0
    return output


def numbers(clips: list[EnrolledClip]) -> list[int]:
    """The numbers of intact clips."""
    assert all((clip.embedding == clip.voiceprint[0]).all() for clip in clips)
    return [int(clip.embedding[0]) for clip in clips]


ENROL = """
name = arguments[0]
try:
    both = store.add_person("Both", CONSENT)
except StoreError:
    both = store.person("Both")
person = store.add_person(name, CONSENT)
for number in range(25):
    store.add_clip(person, clip(number))
    store.add_clip(both, clip(number))
    store.save_voice_profile(both, profile(number))
"""


def test_two_processes_create_and_fill_one_store(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    processes = [start(ENROL, folder, name) for name in ("Anna", "Bo")]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        finish(process)
    with SpeakerStore.open(folder) as store:
        anna, bo, both = store.people()
        assert [person.name for person in (anna, bo, both)] == ["Anna", "Bo", "Both"]
        assert numbers(store.clips(anna, ENCODER)) == numbers(store.clips(bo, ENCODER)) == list(range(25))
        assert sorted(numbers(store.clips(both, ENCODER))) == sorted([*range(25), *range(25)])
        assert list(store.revisions(both, ENCODER)) == list(range(50, 40, -1))
        assert store.version() == 3 + 2 * 3 * 25
    assert sorted(path.name for path in folder.iterdir()) == ["speakers.db", "store.key"]


KILLED_WHILE_ENROLLING = """
person = store.add_person("Anna", CONSENT)
for number in count():
    store.add_clip(person, clip(number))
    store.save_voice_profile(person, profile(number))
    print(number, flush=True)
"""

KILLED_WHILE_FORGETTING = """
anna = store.add_person("Anna", CONSENT)
store.add_clip(anna, clip(0))
for number in count():
    store.add_clip(store.add_person(f"guest {number} of many", CONSENT), clip(number))
    store.forget(f"guest {number} of many")
    print(number, flush=True)
"""


def kill_after(lines: int, process: "subprocess.Popen[str]") -> int:
    """Kill -9 a process that has printed so many lines and return the last number that it printed."""
    assert process.stdin
    assert process.stdout
    process.stdin.write("go\n")
    process.stdin.flush()
    printed = [process.stdout.readline() for _ in range(lines)]
    process.kill()
    printed += process.stdout.readlines()
    process.communicate()
    assert process.returncode == -9
    return int(printed[-1])


@pytest.mark.parametrize("lines", [1, 2, 17, 90])
def test_a_kill_loses_at_most_the_clip_in_hand(tmp_path: Path, lines: int) -> None:
    last = kill_after(lines, start(KILLED_WHILE_ENROLLING, tmp_path))
    with SpeakerStore.open(tmp_path, readonly=True) as reader:
        assert len(reader.clips(reader.person("Anna"), ENCODER)) > last
    with SpeakerStore.open(tmp_path) as store:
        anna = store.person("Anna")
        stored = numbers(store.clips(anna, ENCODER))
        assert stored == list(range(len(stored)))
        assert last + 1 <= len(stored) <= last + 2
        newest = store.voice_profile(anna, ENCODER)
        assert newest
        assert last <= newest.tensors["offset"][0] <= last + 1
        store.add_clip(anna, EnrolledClip.model_validate(store.clips(anna, ENCODER)[0]))


@pytest.mark.parametrize("lines", [1, 4])
def test_a_kill_leaves_no_trace_of_the_forgotten(tmp_path: Path, lines: int) -> None:
    last = kill_after(lines, start(KILLED_WHILE_FORGETTING, tmp_path))
    with SpeakerStore.open(tmp_path) as store:
        assert len(store.people()) <= 2
        assert numbers(store.clips(store.person("Anna"), ENCODER)) == [0]
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    traces = {int(number) for number in re.findall(rb"guest (\d+) of many", stored)}
    assert not traces & set(range(last + 1))


UNTIL_FULL = """
limit_bytes = int(arguments[0])
if limit_bytes:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
person = store.add_person("Anna", CONSENT)
number = 0
try:
    for number in count():
        store.add_clip(person, clip(number))
except StoreError as error:
    print(number, error)
"""


def filled(output: str, folder: Path) -> None:
    """Everything before the disk was full is there."""
    number, message = output.strip().split(" ", 1)
    assert message.startswith(f"{folder / 'speakers.db'}: the disk is full")
    assert "repeat, all before this is safe" in message
    with SpeakerStore.open(folder) as store:
        assert numbers(store.clips(store.person("Anna"), ENCODER)) == list(range(int(number)))


@pytest.mark.parametrize("limit_bytes", [100_000, 200_000, 300_000])
def test_a_file_that_may_not_grow_loses_nothing(tmp_path: Path, limit_bytes: int) -> None:
    filled(finish(start(UNTIL_FULL, tmp_path, str(limit_bytes))), tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "affectd-test", tmp_path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    output = finish(start(UNTIL_FULL, small_disk, "0"))
    assert "the disk is full; free some space" in output
    filled(output, small_disk)


def test_a_disk_too_full_to_begin_with(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(395_000))
    with SpeakerStore.open(small_disk) as store, pytest.raises(StoreError, match=r"speakers\.db: the disk is full"):
        store.add_person("Anna", CONSENT)
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


READ_ONLY_FOLDER = """
import shutil, tempfile
store.add_clip(store.add_person("Warm", CONSENT), clip(1))
if os.geteuid() == 0:
    os.setuid(65534)
folder = Path(tempfile.mkdtemp())
try:
    with SpeakerStore(folder) as store:
        person = store.add_person("Anna", CONSENT)
        store.add_clip(person, clip(1))
    files = {path: path.read_bytes() for path in folder.iterdir()}
    folder.chmod(0o500)
    for call in (lambda: store.add_clip(person, clip(2)), lambda: store.forget("Anna"), store.people):
        try:
            print("done", call())
        except StoreError as error:
            print(str(error).replace(str(folder), ""))
    assert files == {path: path.read_bytes() for path in folder.iterdir()}
finally:
    folder.chmod(0o700)
    shutil.rmtree(folder)
"""


def test_a_folder_without_write_permission_is_an_error(tmp_path: Path) -> None:
    lines = finish(start(READ_ONLY_FOLDER, tmp_path)).splitlines()
    assert len(lines) == 3
    for line in lines:
        assert line.startswith("/speakers.db: this user must be able to ")
