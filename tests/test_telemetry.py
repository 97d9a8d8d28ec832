"""No audio leaves, and nothing else does: no network, no file but what is said, and onnxruntime reports nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.audio import SAMPLE_RATE_HZ, read_audio
from edge.vad import to_pcm

ROOT = Path(__file__).resolve().parents[1]
# onnxruntime keeps quiet by itself where it takes itself to be tested.
QUIETING = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS")
RUN_A_MODEL = """
import {module}
import sys
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
import time
time.sleep(1)
"""
LEAKS = """
import os, socket, sys
with open(os.path.join(os.environ["HOME"], "audio"), "wb") as file:
    file.write(sys.stdin.buffer.read())
socket.socket(socket.AF_INET).close()
socket.socket(socket.AF_INET6).close()
"""
HEARD_S = 5.0
"""Of the example: two utterances, in the time that they take."""
OPENED = re.compile(r'\b(?:open|openat|creat)\((?:[^"]*, )?"([^"]*)", .*(?:O_WRONLY|O_RDWR|O_CREAT).* = \d+<')
WRITTEN = re.compile(r"\bp?write(?:64|v|v2)?\(\d+<(/[^>]*)>.* = (\d+)$")


def environment(home: Path) -> dict[str, str]:
    """Return the environment of an ordinary user."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "AFFECTD_"))}
    kept = {name: value for name, value in kept.items() if name not in QUIETING}
    return kept | {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}


def written_at_home(home: Path, program: str, model: Path) -> list[Path]:
    """Run a program as an ordinary user's and return the files it left in the home folder."""
    subprocess.run(
        [sys.executable, "-c", program, str(model)],
        cwd=ROOT,
        env=environment(home),
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return [path for path in home.rglob("*") if path.is_file()]


@pytest.mark.parametrize("module", ["edge", "calibrate", "export"])
def test_running_a_model_leaves_no_device_id_and_no_queue_of_events(
    module: str, tmp_path: Path, bundle_folder: Path
) -> None:
    assert written_at_home(tmp_path, RUN_A_MODEL.format(module=module), bundle_folder / "encoder.onnx") == []


def test_the_telemetry_is_looked_for_where_it_would_be(tmp_path: Path, bundle_folder: Path) -> None:
    if not written_at_home(tmp_path, RUN_A_MODEL.format(module="os"), bundle_folder / "encoder.onnx"):
        pytest.skip("this onnxruntime has no telemetry, so its absence proves nothing here")


class Traced:
    """A program that was given sound, and what the kernel saw of it and its children."""

    def __init__(self, home: Path, sound: bytes, *arguments: str) -> None:
        if shutil.which("strace") is None:
            pytest.skip("strace is not installed")
        traces = home.with_name("traces")
        traces.mkdir()
        calls = "trace=%network,%file,write,pwrite64,writev,pwritev,pwritev2"
        # A file for each thread: in one for all, calls of two threads are cut and mixed.
        command = ["strace", "-ff", "--seccomp-bpf", "-qq", "-y", "-o", str(traces / "of"), "-e", calls]
        result = subprocess.run(
            [*command, sys.executable, *arguments],
            cwd=ROOT,
            env=environment(home),
            input=sound,
            capture_output=True,
            check=False,
        )
        if b"ptrace" in result.stderr:
            pytest.skip(f"strace may not trace here: {result.stderr.decode().strip()}")
        assert result.returncode == 0, result.stderr
        self.output = result.stdout
        self.lines = [line for path in traces.iterdir() for line in path.read_text(errors="replace").splitlines()]

    def network(self) -> list[str]:
        """Return the calls that have to do with any network."""
        return [line for line in self.lines if re.search(r"AF_(?!UNIX\b)", line)]

    def opened(self) -> set[Path]:
        """Return the files that were opened to write, by the names that they had then."""
        return {path for path in self._paths() if not path.is_relative_to("/dev")}

    def written_bytes(self) -> Counter[str]:
        """Return how much was written into each file."""
        written: Counter[str] = Counter()
        for line in self.lines:
            if found := WRITTEN.search(line):
                written[found[1]] += int(found[2])
        return written

    def _paths(self) -> Iterator[Path]:
        return (Path(found[1]) for found in map(OPENED.search, self.lines) if found)


@pytest.fixture(scope="module")
def sound() -> bytes:
    """The beginning of the example as raw PCM."""
    waveform = read_audio(ROOT / "examples" / "conversation.flac")
    return bytes(to_pcm(waveform[: round(HEARD_S * SAMPLE_RATE_HZ)]))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty one."""
    home = tmp_path / "home"
    home.mkdir()
    return home


@pytest.mark.slow
def test_listening_opens_no_network_and_writes_no_sound(home: Path, sound: bytes) -> None:
    run = Traced(home, sound, "-m", "edge", "run", "--source", "-")
    events = [json.loads(line) for line in run.output.splitlines()]
    assert sum(event["type"] == "utterance" for event in events) == 2
    assert any("socket(AF_UNIX" in line for line in run.lines), "that of affectd status is seen"
    assert run.network() == []
    store = home / ".local" / "share" / "affectd"
    elsewhere = {path for path in run.opened() if not path.is_relative_to(store)}
    # Python tries out where temporary files can be: it writes four letters.
    assert all(path.parent == Path(tempfile.gettempdir()) and re.fullmatch(r"[\w]{8}", path.name) for path in elsewhere)
    left = [path for path in home.rglob("*") if path.is_file()]
    assert {path.suffix for path in left} == {".key", ".safetensors"}
    assert sum(run.written_bytes().values()) < len(sound) / 10, "numbers, not sound"


@pytest.mark.slow
def test_a_program_that_would_leak_is_seen(home: Path, sound: bytes) -> None:
    run = Traced(home, sound, "-c", LEAKS)
    assert [re.findall(r"AF_\w+", line) for line in run.network()] == [["AF_INET"], ["AF_INET6"]]
    assert run.opened() == {home / "audio"}
    assert run.written_bytes() == {str(home / "audio"): len(sound)}
