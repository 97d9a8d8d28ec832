"""TensorRT engines: one for each bucket, compiled ahead of time by ``affectd-export engines``.

Each bucket has a session of its own with one narrow profile. onnxruntime's options would take several profiles, but its
TensorRT provider runs only the first (pull request 31624 of microsoft/onnxruntime, open as of 1.31).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from edge.bundle import sha256_of
from edge.folders import cache_folder
from edge.providers import PROVIDERS, ProviderRequest, cuda_options
from edge.settings import EncoderSettings

SHAPE_KEYS = ("max_batch", "engines", "trt_optimization", "gpu_memory_mb", "gpu_device")
"""Settings that an engine depends on."""


@dataclass(frozen=True)
class Engines:
    """Where the engines of one graph are, and how to open it with them."""

    folder: Path
    """A folder for each bucket below it: onnxruntime names an engine after the graph and the GPU alone."""
    timings: Path
    """Folder of TensorRT's measurements of kernels, shared by all graphs."""
    settings: EncoderSettings

    @classmethod
    def of(cls, graph: Path, settings: EncoderSettings) -> Engines:
        """Return the engines for a graph: others when it, onnxruntime or what an engine depends on changes."""
        root = settings.engine_folder or cache_folder() / "engines"
        key = (
            f"{sha256_of(graph)[:16]}-ort{onnxruntime.__version__}"
            f"-batch{settings.max_batch}-level{settings.trt_optimization}"
        )
        return cls(root / key, root / "timing", settings)

    def bucket_folder(self, samples: int) -> Path:
        """Return the folder of one bucket's engine."""
        return self.folder / str(samples)

    def missing(self, buckets: Iterable[int]) -> list[int]:
        """Return the buckets, in samples, that have no engine yet."""
        return [samples for samples in buckets if not any(self.bucket_folder(samples).glob("*.engine"))]

    def requests(self, samples: int, available: Iterable[str]) -> list[ProviderRequest]:
        """Return what to open a bucket's session with: CUDA and the CPU take the nodes that TensorRT lacks."""
        requests: list[ProviderRequest] = [(PROVIDERS["tensorrt"], self.options(samples))]
        if PROVIDERS["cuda"] in available:
            requests.append((PROVIDERS["cuda"], cuda_options(self.settings)))
        return [*requests, (PROVIDERS["cpu"], {})]

    def options(self, samples: int) -> dict[str, str]:
        """Return the options of the TensorRT provider; its switches are the texts True and False, not numbers.

        Half precision comes from the graph: a strongly typed network keeps to it, while ``trt_fp16_enable`` would let
        TensorRT put the front end into float16, whose range ends where a loud spectrum begins.
        """
        options = {
            "device_id": str(self.settings.gpu_device),
            "trt_fp16_enable": "False",
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(self.bucket_folder(samples)),
            "trt_timing_cache_enable": "True",
            "trt_timing_cache_path": str(self.timings),
            "trt_builder_optimization_level": str(self.settings.trt_optimization),
        }
        # Single utterances, which are the rule, are what the engine is tuned for.
        for name, batch in (("min", 1), ("opt", 1), ("max", self.settings.max_batch)):
            options[f"trt_profile_{name}_shapes"] = f"waveform:{batch}x{samples},lengths:{batch}"
        if self.settings.gpu_memory_mb:
            options["trt_max_workspace_size"] = str(self.settings.gpu_memory_mb << 20)
        return options

    def build_command(self, bundle: Path) -> str:
        """Return the command that builds the engines that these settings need."""
        default = EncoderSettings()
        changed = [
            f"--set encoder.{key}={shlex.quote(str(getattr(self.settings, key)))}"
            for key in SHAPE_KEYS
            if getattr(self.settings, key) != getattr(default, key)
        ]
        return " ".join(["affectd-export engines", shlex.quote(str(bundle)), *changed])


def fix_shapes(options: onnxruntime.SessionOptions, samples: int, batch: int | None) -> None:
    """Let onnxruntime know a bucket's shapes, so that what only depends on them is computed before a provider sees it.

    A batch of None stays open.
    """
    options.add_free_dimension_override_by_name("samples", samples)
    if batch is not None:
        options.add_free_dimension_override_by_name("batch", batch)
