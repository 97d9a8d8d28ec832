"""Building TensorRT engines at install time, so that no run has to: ``affectd-export engines``.

Needs neither torch nor onnx, since it runs on the device.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from edge.arrays import unit
from edge.audio import SAMPLE_RATE_HZ
from edge.bundle import Bundle
from edge.doctor import self_test_waveform
from edge.encoder import Encoder
from edge.errors import ModelError
from edge.providers import PROVIDERS
from edge.settings import EncoderSettings
from edge.tensorrt import Engines

LEAST_COSINE = 0.99
"""Between an engine's embedding of the test tone and the CPU's."""


@dataclass(frozen=True)
class Built:
    """What became of a bucket."""

    samples: int
    seconds: float
    """0 for an engine that was there before."""
    parts: int
    """Engines that the graph was split into; more than one means that TensorRT lacks an operator."""
    cosine: float
    """To the CPU's embedding of the test tone; 1 for an engine that was there before."""


def build_engines(
    bundle: Bundle, settings: EncoderSettings, rebuild: bool, report: Callable[[str], None]
) -> list[Built]:
    """Build and try out the engine of each bucket that has none, or of every bucket.

    Raises:
        ModelError: there is no TensorRT here, the bundle is not fp16, an engine cannot be built, or it does not answer
            like the CPU.
    """
    _check_possible(bundle)
    buckets = bundle.buckets
    encoder = Encoder.of(bundle, settings)
    reference = Encoder.of(bundle, settings.model_copy(update={"provider": "cpu"}))
    reference.load()
    engines = Engines.of(bundle.encoder_path, settings)
    if rebuild:
        shutil.rmtree(engines.folder, ignore_errors=True)
    missing = engines.missing(buckets)
    report(f"{len(missing)} of {len(buckets.samples)} engines to build; the first tells how long that takes")
    built = []
    spent_s: list[float] = []
    for samples in buckets:
        if samples not in missing:
            built.append(Built(samples, 0.0, _parts(engines.bucket_folder(samples)), 1.0))
            continue
        started_s = time.perf_counter()
        cosine = _build(encoder, reference, engines, samples)
        spent_s.append(time.perf_counter() - started_s)
        built.append(Built(samples, spent_s[-1], _parts(engines.bucket_folder(samples)), cosine))
        report(_line(built[-1], len(missing) - len(spent_s), spent_s))
    return built


def duration(seconds: float) -> str:
    """Return seconds, or minutes where there are many."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _check_possible(bundle: Bundle) -> None:
    available = onnxruntime.get_available_providers()
    if PROVIDERS["tensorrt"] not in available:
        raise ModelError(
            f"onnxruntime {onnxruntime.__version__} offers {', '.join(available)}, but not TensorRT. Install "
            "onnxruntime-gpu instead of onnxruntime (on a Jetson the wheel for its JetPack) and TensorRT's libraries, "
            "see docs/devices.md"
        )
    precision = bundle.manifest.encoder.precision
    if precision != "fp16":
        raise ModelError(
            f"{bundle.folder}: is {precision}, and TensorRT's graph is fp16: affectd-export bundle --precision fp16"
        )


def _build(encoder: Encoder, reference: Encoder, engines: Engines, samples: int) -> float:
    """Build one engine; return the cosine of its answer to the CPU's. An engine that fails is not left behind."""
    where = f"{encoder.path}: bucket of {samples / SAMPLE_RATE_HZ:g} s"
    folder = engines.bucket_folder(samples)
    waveform = self_test_waveform(samples / SAMPLE_RATE_HZ)
    try:
        session = encoder.open_engine(engines, samples)
        if session.get_providers()[0] != PROVIDERS["tensorrt"]:
            raise ModelError(f"{where}: onnxruntime cannot load TensorRT's libraries, see its own messages above")
        inputs = {"waveform": waveform[None], "lengths": np.array([len(waveform)], np.int64)}
        (found,) = session.run([encoder.output], inputs)
        cosine = float(unit(found[0]) @ unit(reference.embed([waveform], samples)[0]))
        if not cosine >= LEAST_COSINE:
            raise ModelError(f"{where}: the engine's cosine to the CPU is {cosine:.4f}, needed is {LEAST_COSINE}")
    except ModelError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except Exception as error:  # onnxruntime raises its own unrelated classes
        shutil.rmtree(folder, ignore_errors=True)
        raise ModelError(f"{where}: TensorRT builds no engine: {error}") from None
    return cosine


def _parts(folder: Path) -> int:
    return len(list(folder.glob("*.engine")))


def _line(built: Built, left: int, spent_s: list[float]) -> str:
    split = f", split into {built.parts} engines: this TensorRT lacks an operator" if built.parts > 1 else ""
    ahead = f"; {left} to go, about {duration(left * sum(spent_s) / len(spent_s))}" if left else ""
    return (
        f"{built.samples / SAMPLE_RATE_HZ:g} s: built in {duration(built.seconds)}, "
        f"cosine to the CPU {built.cosine:.4f}{split}{ahead}"
    )
