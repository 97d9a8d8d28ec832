"""A microphone without hardware: a private PulseAudio whose null sink's monitor is the default source of ALSA."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = """
load-module module-native-protocol-unix auth-anonymous=1
load-module module-null-sink sink_name=room rate=48000 channels=1
set-default-sink room
set-default-source room.monitor
"""
ASOUND = """
</usr/share/alsa/alsa.conf>
pcm.!default { type pulse }
ctl.!default { type pulse }
"""


class VirtualMicrophone:
    """Hears what is played to it; ``unplug`` and ``plug`` stop and start its sound server."""

    def __init__(self, folder: Path) -> None:
        (folder / "run").mkdir(mode=0o700)
        (folder / "default.pa").write_text(SCRIPT)
        (folder / "asound.conf").write_text(ASOUND)
        self._folder = folder
        self._server: subprocess.Popen[bytes] | None = None
        self.environment = {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "PULSE_RUNTIME_PATH": str(folder / "run"),
            "PULSE_SERVER": f"unix:{folder / 'run' / 'native'}",
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
            "DBUS_SESSION_BUS_ADDRESS": "disabled:",
        }
        """What a process that uses the microphone needs, on top of its own environment."""

    def plug(self) -> None:
        """Start the sound server and wait until it answers."""
        script = str(self._folder / "default.pa")
        with (self._folder / "pulseaudio.log").open("ab") as log:
            self._server = subprocess.Popen(
                ["pulseaudio", "--exit-idle-time=-1", "--daemonize=no", "--use-pid-file=no", "-n", "-F", script],
                env=os.environ | self.environment,
                stdout=log,
                stderr=log,
            )
        for _ in range(100):
            if b"room.monitor" in self._run("pactl", "info").stdout:
                return
            time.sleep(0.1)
        log_text = (self._folder / "pulseaudio.log").read_text()
        self.unplug()
        pytest.skip(f"PulseAudio does not start here: {log_text[-300:]}")

    def unplug(self) -> None:
        """Kill the sound server, as if the device were pulled out."""
        if self._server:
            self._server.kill()
            self._server.wait()
            self._server = None

    def play(self, path: Path) -> None:
        """Play an audio file to the microphone, and return when it is over."""
        self._run("paplay", str(path)).check_returncode()

    def _run(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, env=os.environ | self.environment, capture_output=True, timeout=60, check=False)


@pytest.fixture
def virtual_microphone(monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualMicrophone]:
    """A plugged-in virtual microphone; ``os.environ`` points at it for the time of the test."""
    for command in ("pulseaudio", "pactl", "paplay"):
        if shutil.which(command) is None:
            pytest.skip(f"{command} is not installed (apt install pulseaudio pulseaudio-utils libasound2-plugins)")
    if importlib.util.find_spec("pyaudio") is None:
        pytest.skip("PyAudio is not installed (pip install 'affectd[mic]')")
    # Not tmp_path: the path of a Unix socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="mic") as folder:
        microphone = VirtualMicrophone(Path(folder))
        for name, value in microphone.environment.items():
            monkeypatch.setenv(name, value)
        microphone.plug()
        try:
            yield microphone
        finally:
            microphone.unplug()
