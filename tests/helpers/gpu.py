"""A machine that seems to have a GPU: onnxruntime says so, and everything runs on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from edge.providers import PROVIDERS

CPU, CUDA, TENSORRT = PROVIDERS["cpu"], PROVIDERS["cuda"], PROVIDERS["tensorrt"]


class PretendedGpu:
    """What was asked of onnxruntime, and what it shall do about it."""

    def __init__(self) -> None:
        self.opened: list[dict[str, dict[str, str]]] = []
        """Providers and their options, of each session."""
        self.failing: dict[str, str] = {}
        """Provider to the error of every session that asks for it."""
        self.unloadable: set[str] = set()
        """Providers whose libraries are missing: onnxruntime leaves them out."""
        self.parts = 1
        """Engines that TensorRT splits a graph into."""

    @property
    def first(self) -> list[str]:
        """The preferred provider of each session."""
        return [next(iter(requests)) for requests in self.opened]

    def install(self, monkeypatch: pytest.MonkeyPatch, *offered: str) -> None:
        """Put this in the place of onnxruntime's providers."""
        gpu, real = self, onnxruntime.InferenceSession

        class Session(real):  # type: ignore[misc, valid-type]
            def __init__(self, path: Any, options: Any = None, providers: Any = (), **fallback: Any) -> None:
                requests = dict(each if isinstance(each, tuple) else (each, {}) for each in providers)
                gpu.open(requests)
                self.pretended = [name for name in requests if name not in gpu.unloadable]
                super().__init__(path, options, providers=[CPU], **fallback)

            def get_providers(self) -> list[str]:
                return self.pretended

        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*offered, CPU])
        monkeypatch.setattr(onnxruntime, "InferenceSession", Session)

    def open(self, requests: dict[str, dict[str, str]]) -> None:
        """Note a session, and do to the disk what TensorRT does."""
        self.opened.append(requests)
        for name, failure in self.failing.items():
            if name in requests:
                raise RuntimeError(failure)
        options = requests.get(TENSORRT)
        if options and TENSORRT not in self.unloadable:
            for part in range(self.parts):
                Path(options["trt_engine_cache_path"], f"graph_{part}_sm87.engine").touch()
            Path(options["trt_timing_cache_path"], "sm87.timing").touch()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PretendedGpu:
    """A GPU with CUDA and TensorRT, whose engines go to a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache-home"))
    pretended = PretendedGpu()
    pretended.install(monkeypatch, TENSORRT, CUDA)
    return pretended
