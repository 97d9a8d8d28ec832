"""Execution providers: what to ask onnxruntime for, and what to do when it gives something else."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from edge.errors import ModelError

logger = logging.getLogger(__name__)

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}

# HEURISTIC picks a convolution at once; the default, EXHAUSTIVE, benchmarks them inside the first request of a shape.
_CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
_TENSORRT_OPTIONS = {"trt_fp16_enable": "1", "trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1"}

ProviderRequest = tuple[str, dict[str, Any]]


def provider_requests(wanted: str, available: Sequence[str]) -> list[ProviderRequest]:
    """Return the providers to open a session with, best first, always ending in the CPU.

    ``auto`` takes CUDA where onnxruntime offers it. TensorRT is used on request only, since it compiles for minutes.
    """
    if wanted == "auto":
        wanted = "cuda" if PROVIDERS["cuda"] in available else "cpu"
    chain = {"cpu": ["cpu"], "cuda": ["cuda", "cpu"], "tensorrt": ["tensorrt", "cuda", "cpu"]}[wanted]
    options = {"cpu": {}, "cuda": _CUDA_OPTIONS, "tensorrt": _TENSORRT_OPTIONS}
    return [(PROVIDERS[key], dict(options[key])) for key in chain if PROVIDERS[key] in available]


def check_provider(wanted: str, in_use: str, required: bool) -> None:
    """Compare what runs with what was wanted: fail when it is required, otherwise log one line.

    Raises:
        ModelError: the provider is required and another one is in use.
    """
    if wanted == "auto":
        logger.info("inference runs on %s", in_use)
    elif in_use != PROVIDERS[wanted]:
        message = f"provider {wanted!r} was wanted, {in_use} is in use"
        if required:
            raise ModelError(f"{message}; install the onnxruntime that has it or set encoder.require_provider = false")
        logger.warning("%s", message)
