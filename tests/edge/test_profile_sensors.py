import threading
from pathlib import Path

import pytest

from edge.profiling import facts
from edge.profiling.facts import Machine, peak_mb, this_machine
from edge.profiling.sensors import Sensors, parse_nvidia_smi, parse_tegrastats

ORIN = (
    "11-20-2024 10:00:00 RAM 2448/7620MB (lfb 2x4MB) SWAP 0/3810MB (cached 0MB) CPU [12%@1190,8%@1190,off,off] "
    "EMC_FREQ 0%@2133 GR3D_FREQ 47%@[611] cpu@45.5C soc2@44.1C gpu@44.25C tj@46.1C VDD_IN 5123mW/5010mW"
)
NANO = (
    "RAM 1234/3956MB (lfb 4x4MB) CPU [5%@102,3%@102,2%@102,2%@102] GR3D_FREQ 0% CPU@31.5C GPU@30C POM_5V_IN 2046/2046"
)


def test_lines_of_tegrastats_of_new_and_old_boards() -> None:
    assert parse_tegrastats(ORIN) == {
        "RAM MB": 2448,
        "GPU load %": 47,
        "GPU temperature °C": 44.25,
        "CPU temperature °C": 45.5,
        "module power mW": 5123,
        "CPU load %": 10,
    }
    assert parse_tegrastats(NANO) == {
        "RAM MB": 1234,
        "GPU load %": 0,
        "GPU temperature °C": 30,
        "CPU temperature °C": 31.5,
        "module power mW": 2046,
        "CPU load %": 3,
    }
    assert parse_tegrastats("") == {}


def test_what_a_gpu_does_not_tell_is_left_out() -> None:
    line = "37, 1024, [N/A], 55, 1410\n"
    assert parse_nvidia_smi(line) == {
        "GPU load %": 37,
        "GPU memory MB": 1024,
        "GPU temperature °C": 55,
        "GPU clock MHz": 1410,
    }
    assert parse_nvidia_smi("No devices were found\n") == {}


def tool(folder: Path, name: str, lines: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\nprintf '{lines}'\ntouch {folder}/said\nexec /bin/sleep 60\n")
    (folder / name).chmod(0o755)


def test_tools_that_are_there_are_read_until_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, "nvidia-smi", "10, 900, 25.5, 50, 1000\\n30, 1000, 35.5, 52, 1400\\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    before = threading.active_count()
    with Sensors() as sensors:
        while "GPU clock MHz" not in sensors._readings or len(sensors._readings["GPU clock MHz"]) < 2:
            pass
    found = {sensor.name: (sensor.median, sensor.highest, sensor.n) for sensor in sensors.sensors()}
    assert found["GPU load %"] == (20, 30, 2)
    assert found["GPU power W"] == (30.5, 35.5, 2)
    assert sensors.note == "readings of nvidia-smi, one a second"
    assert threading.active_count() == before


def test_a_machine_without_them_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with Sensors() as sensors:
        pass
    assert sensors.sensors() == ()
    assert sensors.note.startswith("neither tegrastats nor nvidia-smi is here")


def test_a_machine_that_says_little_is_described_nevertheless(monkeypatch: pytest.MonkeyPatch) -> None:
    known = this_machine()
    assert known.cpu
    assert known.cores >= 1
    assert {"python", "affectd", "numpy"} <= set(known.versions)
    monkeypatch.setattr(facts, "_text", lambda path: "")
    silent = this_machine()
    assert isinstance(silent, Machine)
    assert silent.cpu
    assert silent.governor is None
    assert silent.memory_mb is None
    assert peak_mb(1) is None
