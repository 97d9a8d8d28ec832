"""An arm64 Python with the device side, for QEMU's user emulation: Debian's packages and PyPI's wheels in a folder."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "build" / "arm64"
PACKAGES = ("python3", "libstdc++6")
CPUS = {"cortex-a72": "0xd08", "cortex-a76": "0xd0b", "max": "0x051"}
"""QEMU's processor to its part number. The first has no dot products (Raspberry Pi 4), the second has them (Raspberry
Pi 5 and, as A78AE, Jetson Orin), the third all that QEMU knows, such as products of int8 matrices, longer vectors."""
CPUINFO = (
    "processor\t: {}\nFeatures\t: fp asimd cpuid\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: {}\n\n"
)
PLATFORMS = (*(f"manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)), "manylinux2014_aarch64")


class MissingError(Exception):
    """Something that is needed is not there; the message says what to do."""


def emulator(root: Path, cpu: str) -> list[str]:
    """Return the command of the arm64 Python on one of QEMU's processors.

    Raises:
        MissingError: QEMU or that Python is not there.
    """
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if qemu is None:
        raise MissingError("qemu-aarch64 is not installed; as root: apt-get install qemu-user-static")
    if not (root / "site").is_dir():
        raise MissingError(f"{root} has no arm64 Python yet (make arm64)")
    # QEMU before 8.2 shows the host's file, at which onnxruntime crashes, unless the root folder has another.
    (root / "proc").mkdir(exist_ok=True)
    cores = len(list(Path("/sys/devices/system/cpu").glob("cpu[0-9]*")))
    (root / "proc" / "cpuinfo").write_text("".join(CPUINFO.format(core, CPUS[cpu]) for core in range(cores)))
    return [qemu, "-cpu", cpu, "-L", str(root), str((root / "usr" / "bin" / "python3").resolve())]


def prepare(root: Path) -> None:
    """Fill the folder unless it is filled: 70 MB from Debian and PyPI, 230 MB unpacked. Changes nothing of the system.

    Raises:
        MissingError: a tool is missing, or a download fails.
    """
    if (root / "site").is_dir():
        return
    if shutil.which("apt-get") is None:
        raise MissingError("there is no apt-get to fetch an arm64 Python with: --root FOLDER, see docs/devices.md")
    shutil.rmtree(root, ignore_errors=True)
    apt = root / "apt"
    for folder in ("lists/partial", "archives/partial"):
        (apt / folder).mkdir(parents=True)
    (apt / "status").touch()
    options = {"APT::Architecture": "arm64", "APT::Architectures": "arm64", "APT::Sandbox::User": "root"}
    options |= {"Dir::State": f"{apt}", "Dir::State::status": f"{apt}/status", "Dir::Cache": f"{apt}"}
    get = ["apt-get", "-q", "-y", *(f"-o{key}={value}" for key, value in options.items())]
    _run([*get, "update"])
    _run([*get, "install", "--download-only", "--no-install-recommends", *PACKAGES])
    for package in sorted((apt / "archives").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(root)])
    shutil.rmtree(apt)
    chosen = ["--only-binary=:all:", *(f"--platform={platform}" for platform in PLATFORMS)]
    chosen += ["--python-version", (root / "usr" / "bin" / "python3").readlink().name.removeprefix("python")]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
    _run([*pip, *chosen, "--target", str(root / "unpacked"), *_requirements()])
    (root / "unpacked").rename(root / "site")


def _requirements() -> list[str]:
    """Return what the device side needs on a CPU, of the versions that are installed here."""
    wanted = []
    for requirement in [*(requires("affectd") or ()), "onnxruntime"]:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        if "extra ==" in requirement:
            continue
        try:
            wanted.append(f"{name}=={version(name)}")
        except PackageNotFoundError:  # not for this Python
            wanted.append(requirement)
    return wanted


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingError(f"{command[0]} failed: {' '.join(done.stderr.strip().splitlines()[-3:])}")
