"""Execution providers: which one a graph should run on, how to ask for it, and what to do when another one runs."""

from __future__ import annotations

import logging
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import ModelError
from edge.settings import EncoderSettings

logger = logging.getLogger(__name__)

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}

INTEGER_OPERATORS = (b"MatMulInteger", b"DynamicQuantizeLinear", b"QLinearMatMul", b"DequantizeLinear")

ProviderRequest = tuple[str, dict[str, str]]


@dataclass(frozen=True)
class Choice:
    """The provider to ask for, and why that one."""

    provider: str
    """A key of ``PROVIDERS``."""
    why: str


def choose_provider(wanted: str, available: Sequence[str], graph: Path) -> Choice:
    """Choose for a graph among what onnxruntime offers.

    ``auto`` takes CUDA where it is offered; TensorRT is used on request only, since it compiles for minutes. A
    quantised graph belongs on the CPU: CUDA lacks kernels for dynamic quantisation, so many nodes would run on the CPU
    anyway, with copies in between.
    """
    if wanted == "cpu":
        return Choice("cpu", "it was asked for")
    name = "cuda" if wanted == "auto" else wanted
    if PROVIDERS[name] not in available:
        offered = (
            ", ".join(key for key, provider in PROVIDERS.items() if provider in available) or "nothing that is known"
        )
        missing = "" if wanted == "auto" else f", and {wanted} is in onnxruntime-gpu"
        return Choice("cpu", f"the installed onnxruntime offers {offered}{missing}")
    if is_quantised(graph):
        return Choice(
            "cpu", f"{graph.name} is int8, which is for CPUs; affectd-export bundle --precision fp16 is for GPUs"
        )
    return Choice(name, "it was asked for" if wanted == name else "the best that the installed onnxruntime offers")


def is_quantised(graph: Path) -> bool:
    """Return whether an ONNX file is quantised, by its operators' names: a device has no library to read it with."""
    if not graph.is_file() or not graph.stat().st_size:
        return False
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(operator) >= 0 for operator in INTEGER_OPERATORS)


def provider_requests(name: str, available: Sequence[str], settings: EncoderSettings) -> list[ProviderRequest]:
    """Return what to open a session on CUDA or the CPU with; the CPU takes the nodes that CUDA lacks."""
    cpu: ProviderRequest = (PROVIDERS["cpu"], {})
    if name == "cpu" or PROVIDERS["cuda"] not in available:
        return [cpu]
    return [(PROVIDERS["cuda"], cuda_options(settings)), cpu]


def cuda_options(settings: EncoderSettings) -> dict[str, str]:
    """Return the options of the CUDA provider.

    Convolutions are picked at once: the default, EXHAUSTIVE, benchmarks them inside the first request of a shape. TF32,
    on by default, would round the front end to ten bits.
    """
    options = {
        "device_id": str(settings.gpu_device),
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",
    }
    if settings.gpu_memory_mb:
        options |= {"gpu_mem_limit": str(settings.gpu_memory_mb << 20), "cudnn_conv_use_max_workspace": "0"}
    return options


def check_provider(wanted: str, in_use: str, why: str, required: bool) -> None:
    """Compare what runs with what was wanted: fail when it is required, otherwise log one line.

    Raises:
        ModelError: the provider is required and another one is in use.
    """
    if wanted == "auto":
        logger.info("inference runs on %s: %s", in_use, why)
    elif in_use != PROVIDERS[wanted]:
        message = f"provider {wanted!r} was wanted, {in_use} is in use: {why}"
        if required:
            raise ModelError(f"{message}; or set encoder.require_provider = false")
        logger.warning("%s", message)
