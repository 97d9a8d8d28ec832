"""The machine that a measurement was made on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from edge import __version__
from edge.records import Record

PACKAGES = ("onnxruntime", "onnxruntime-gpu", "numpy", "soxr", "webrtcvad-wheels", "earshot")


class Machine(Record):
    """Where it ran."""

    cpu: str
    cores: int
    """Cores that this process may use."""
    governor: str | None
    """CPU frequency governors in use; None where Linux does not say, as in most virtual machines."""
    memory_mb: int | None
    system: str
    versions: dict[str, str]
    """Of Python, affectd and the packages that do the work."""


def this_machine() -> Machine:
    """Return the machine that this process runs on."""
    return Machine(
        cpu=_cpu(),
        cores=usable_cores(),
        governor=_governor(),
        memory_mb=_memory_mb(),
        system=platform.platform(),
        versions={"python": platform.python_version(), "affectd": __version__} | _versions(PACKAGES),
    )


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_mb(pid: int) -> float | None:
    """Return the peak resident memory of a process since it was executed, in MB; None where there is no /proc.

    Not ``getrusage``: its peak includes that of the process which this one was forked from.
    """
    kilobytes = _field(Path(f"/proc/{pid}/status"), "VmHWM")
    return int(kilobytes.split()[0]) / 1024 if kilobytes else None


def resident_mb() -> float:
    """Return the resident memory of this process, in MB; 0 where there is no /proc."""
    kilobytes = _field(Path("/proc/self/status"), "VmRSS")
    return int(kilobytes.split()[0]) / 1024 if kilobytes else 0.0


def _cpu() -> str:
    if model := _field(Path("/proc/cpuinfo"), "model name"):
        return model
    board = _text(Path("/proc/device-tree/model")).strip("\0\n ")
    return board or platform.processor() or platform.machine()


def _governor() -> str | None:
    files = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return ", ".join(sorted({text for file in files if (text := _text(file).strip())})) or None


def _memory_mb() -> int | None:
    kilobytes = _field(Path("/proc/meminfo"), "MemTotal")
    return int(kilobytes.split()[0]) // 1024 if kilobytes else None


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _field(path: Path, name: str) -> str:
    """Return the first value of a ``name: value`` file of the kernel's, empty if there is none."""
    pairs = (line.partition(":") for line in _text(path).splitlines())
    return next((value.strip() for key, _, value in pairs if key.strip() == name), "")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
