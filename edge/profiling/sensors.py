"""Power, temperature and load while a profile runs: ``tegrastats`` on a Jetson, ``nvidia-smi`` beside an NVIDIA GPU."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections import defaultdict
from collections.abc import Callable
from statistics import median
from types import TracebackType

from edge.profiling.measurements import Sensor

Readings = dict[str, float]

NVIDIA_FIELDS = {
    "utilization.gpu": "GPU load %",
    "memory.used": "GPU memory MB",
    "power.draw": "GPU power W",
    "temperature.gpu": "GPU temperature °C",
    "clocks.sm": "GPU clock MHz",
}
TEGRA = {
    "RAM MB": r"RAM (\d+)/",
    "GPU load %": r"GR3D_FREQ (\d+)%",
    "GPU temperature °C": r"gpu@([\d.]+)C",
    "CPU temperature °C": r"cpu@([\d.]+)C",
    "module power mW": r"(?:VDD_IN|POM_5V_IN) (\d+)(?:mW)?/",
}


def parse_tegrastats(line: str) -> Readings:
    """Return the readings in a line of ``tegrastats``; newer boards write units and other capitals than older ones."""
    found = {name: re.search(pattern, line, re.IGNORECASE) for name, pattern in TEGRA.items()}
    readings = {name: float(match[1]) for name, match in found.items() if match}
    cores = re.search(r"CPU \[([^\]]*)\]", line)
    loads = [float(load) for load in re.findall(r"(\d+)%", cores[1])] if cores else []
    return readings | ({"CPU load %": sum(loads) / len(loads)} if loads else {})


def parse_nvidia_smi(line: str) -> Readings:
    """Return the readings in a CSV line of ``nvidia-smi``; what a GPU does not report is left out."""
    readings = {}
    for name, text in zip(NVIDIA_FIELDS.values(), line.split(","), strict=False):
        try:
            readings[name] = float(text)
        except ValueError:  # [N/A]
            continue
    return readings


TOOLS: dict[str, tuple[tuple[str, ...], Callable[[str], Readings]]] = {
    "tegrastats": (("--interval", "1000"), parse_tegrastats),
    "nvidia-smi": (
        (f"--query-gpu={','.join(NVIDIA_FIELDS)}", "--format=csv,noheader,nounits", "--loop=1"),
        parse_nvidia_smi,
    ),
}


class Sensors:
    """Reads what tools there are, each with its own process and thread, from ``with`` until its end."""

    def __init__(self) -> None:
        self.tools = [name for name in TOOLS if shutil.which(name)]
        self._processes: list[subprocess.Popen[str]] = []
        self._threads: list[threading.Thread] = []
        self._readings: dict[str, list[float]] = defaultdict(list)

    def __enter__(self) -> Sensors:
        for name in self.tools:
            options, parse = TOOLS[name]
            process = subprocess.Popen([name, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            thread = threading.Thread(target=self._read, args=(process, parse), name=name, daemon=True)
            thread.start()
            self._processes.append(process)
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.terminate()
            process.wait()
        for thread in self._threads:
            thread.join()

    @property
    def note(self) -> str:
        """One line about where the readings are from."""
        if not self.tools:
            return "neither tegrastats nor nvidia-smi is here, so power, temperature and GPU load are unknown"
        if not self._readings:
            return f"{' and '.join(self.tools)} gave no readings"
        return f"readings of {' and '.join(self.tools)}, one a second"

    def sensors(self) -> tuple[Sensor, ...]:
        """Return what was read; call it after the end of ``with``."""
        return tuple(
            Sensor(name=name, n=len(values), median=median(values), highest=max(values))
            for name, values in self._readings.items()
        )

    def _read(self, process: subprocess.Popen[str], parse: Callable[[str], Readings]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            for name, value in parse(line).items():
                self._readings[name].append(value)
        process.stdout.close()
