"""``affectd run --dashboard`` as a process, what it listens to, and a browser with a microphone."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.vad import to_pcm
from helpers.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
CONVERSATION = ROOT / "examples" / "conversation.flac"
PEOPLE = ROOT / "examples" / "people"
STARTS_S = 60
BROWSER_HZ = 48_000


def conversation() -> Waveform:
    """Return the example conversation."""
    samples, _ = soundfile.read(CONVERSATION, dtype="float32")
    return samples


def clips_of(name: str) -> list[Waveform]:
    """Return what somebody of the examples says, a sentence each."""
    return [soundfile.read(path, dtype="float32")[0] for path in sorted((PEOPLE / name).iterdir())]


class Running:
    """An ``affectd run --dashboard``, with settings, a store and a folder of its own."""

    def __init__(self, folder: Path, settings: str, token: str = "") -> None:
        self.folder, self.store, self.port = folder, folder / "store", free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "run").mkdir(mode=0o700, exist_ok=True)
        head = f'[web]\naddress = "127.0.0.1:{self.port}"\ntoken = "{token}"\n[speakers]\nstore = "{self.store}"\n'
        (folder / "affectd.toml").write_text(head + settings)
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("AFFECTD_")}
        self._environment |= {"XDG_RUNTIME_DIR": str(folder / "run"), "XDG_CONFIG_HOME": str(folder)}

    def start(self) -> None:
        """Start it, and wait until its dashboard is there."""
        command = [sys.executable, "-m", "edge", "run", "--dashboard", "--config", self.folder / "affectd.toml"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*map(str, command)],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        until_s = time.monotonic() + STARTS_S
        while not self._is_there():
            if self._process.poll() is not None or time.monotonic() > until_s:
                raise AssertionError((self.folder / "log").read_text())
            time.sleep(0.05)

    def stop(self) -> None:
        """End it at once."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def enrol(self, name: str, folder: Path) -> None:
        """Enrol somebody from recordings."""
        command = [sys.executable, "-m", "edge", "enroll", name, folder, "--yes", "--store", self.store]
        subprocess.run([*map(str, command)], cwd=ROOT, env=self._environment, check=True, capture_output=True)

    def ask(self, what: str, **request: Any) -> Any:
        """Ask it to do something."""
        return post(self.address, what, request)

    def events(self) -> list[dict[str, Any]]:
        """Return all events until the talk is over."""
        found = []
        with DIRECT.open(f"{self.address}/events?after=0", timeout=STARTS_S) as stream:
            for line in stream:
                if line.startswith(b"data: "):
                    found.append(json.loads(line[6:]))
                    if found[-1]["source"] == "talk" and found[-1].get("reason") == "stopped":
                        return found
        raise AssertionError(f"the stream ended after {len(found)} events")

    def _is_there(self) -> bool:
        try:
            with DIRECT.open(f"{self.address}/ready", timeout=1):
                return True
        except OSError:
            return False


def post(address: str, what: str, request: dict[str, Any]) -> Any:
    """Ask for something, and return the answer."""
    body, headers = json.dumps(request).encode(), {"Content-Type": "application/json"}
    with DIRECT.open(urllib.request.Request(f"{address}/do/{what}", body, headers), timeout=STARTS_S) as reply:
        return json.load(reply)["answer"]


DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def speaking_at(port: int) -> Iterator[socket.socket]:
    """Yield a connection to a source at a TCP port, for raw PCM."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        yield connection


def say(connection: socket.socket, samples: Waveform) -> None:
    """Send what is said; who sends faster than real time is held back."""
    connection.sendall(to_pcm(samples))


def microphone_file(path: Path, clips: list[Waveform]) -> Path:
    """Write what a browser's microphone hears, again and again."""
    samples = soxr.resample(np.concatenate(clips), SAMPLE_RATE_HZ, BROWSER_HZ)
    soundfile.write(path, samples, BROWSER_HZ, subtype="PCM_16")
    return path


def chromium() -> str | None:
    """Return where Chromium is, None where it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def browser_options(microphone: Path | None) -> dict[str, Any]:
    """Return how to launch a browser, whose microphone hears a file."""
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    if microphone:
        arguments += [
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}",
        ]
    return {"executable_path": chromium(), "args": arguments}
