"""The folder that ``affectd-calibrate verification`` writes for a bundle: a speaker encoder with its calibration."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from edge.bundle import SPEAKER_NAME, sha256_of
from edge.cohort import Cohort
from edge.encoder import SpeakerEncoder, session_options
from edge.errors import ModelError
from edge.settings import EncoderSettings
from edge.speaker import FEATURES, VoiceCalibration

VERIFIER_NAME = "verifier.safetensors"
REPORT_NAME = "verification.json"
NOT_STATED = "not stated"

HEADLINE = {
    "equal_error_rate": ("EER", "calibrated"),
    "named": ("attributed", "in turns, open set"),
    "names_right": ("right of attributed", "in turns, open set"),
    "strangers_named": ("strangers accepted", "one voice, open set"),
}
"""Figures of a corpus that go into a bundle."""

ANY = -1
COHORT, TYPICAL = "voice.cohort", "voice.typical"
WEIGHTS = "voice.weights"

Tensors = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class SpeakerModel:
    """What a bundle needs to know who speaks: a speaker encoder and its calibration."""

    calibration: VoiceCalibration
    architecture: str
    licence: str
    """Of the encoder's weights."""
    dim: int
    """Size of a voiceprint."""
    onnx: Path
    """``waveform, lengths -> voiceprint``, see ``edge.speaker.SpeakerEncoder``."""
    figures: dict[str, Any] = field(default_factory=dict)
    """``protocol`` and ``corpora``, each of which has ``HEADLINE``; empty if no report lay beside the verifier."""

    @classmethod
    def of_onnx(cls, calibration: VoiceCalibration, path: Path) -> SpeakerModel:
        """Return an encoder with its calibration; its metadata may name ``architecture`` and ``licence``.

        Raises:
            ModelError: see ``read_contract``.
        """
        dim, metadata = read_contract(path)
        architecture = metadata.get("architecture") or path.name
        return cls(calibration, architecture, metadata.get("licence") or NOT_STATED, dim, path)

    def save(self, folder: Path) -> None:
        """Write ``verifier.safetensors``, and a copy of the encoder as ``speaker.onnx``."""
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / SPEAKER_NAME
        tensors: Tensors = {WEIGHTS: self.calibration.weights}
        cohort = self.calibration.cohort
        if cohort is not None:
            tensors |= {COHORT: cohort.prints, TYPICAL: np.array([cohort.typical], np.float32)}
        if not (target.exists() and target.samefile(self.onnx)):
            shutil.copyfile(self.onnx, target)
        metadata = {
            "architecture": self.architecture,
            "licence": self.licence,
            "dim": str(self.dim),
            "onnx_sha256": sha256_of(target),
        }
        save_file(tensors, folder / VERIFIER_NAME, metadata)
        (folder / VERIFIER_NAME).chmod(0o644)

    @classmethod
    def load(cls, folder: Path) -> SpeakerModel:
        """Read what ``save`` wrote.

        Raises:
            ModelError: a file is missing, damaged, or not what belongs to the other; names what and why.
        """
        path = folder / VERIFIER_NAME
        tensors, metadata = _read(path)
        (weights,) = _take(path, tensors, {WEIGHTS: (FEATURES,)})
        known = {name: metadata.get(name, "") for name in ("architecture", "licence", "dim", "onnx_sha256")}
        if not all(known.values()) or not known["dim"].isdigit():
            raise ModelError(f"{path}: its metadata must name {', '.join(known)}; it has {metadata}")
        dim, onnx = int(known["dim"]), folder / SPEAKER_NAME
        if not onnx.is_file() or sha256_of(onnx) != known["onnx_sha256"]:
            raise ModelError(f"{onnx}: is missing, or not the file that {path.name} was calibrated for")
        dim_found, _ = read_contract(onnx)
        if dim_found != dim:
            raise ModelError(f"{path}: says dim {dim}, but {onnx.name} gives {dim_found}")
        cohort = None
        if COHORT in tensors:
            prints, typical = _take(path, tensors, {COHORT: (ANY, dim), TYPICAL: (1,)})
            cohort = Cohort(prints, float(typical.item()))
        calibration = VoiceCalibration(weights.astype(np.float64), cohort)
        return cls(calibration, known["architecture"], known["licence"], dim, onnx, _figures(folder))


def read_contract(path: Path) -> tuple[int, dict[str, str]]:
    """Return the voiceprint's size and the metadata of a speaker encoder.

    Raises:
        ModelError: the file does not load, or is no graph ``waveform, lengths -> voiceprint[batch, dim]``.
    """
    try:
        session = onnxruntime.InferenceSession(path, session_options(EncoderSettings()))
    except Exception as error:  # onnxruntime raises its own unrelated classes
        raise ModelError(f"{path}: onnxruntime cannot load it: {str(error).splitlines()[0]}") from None
    inputs = sorted(node.name for node in session.get_inputs())
    outputs = {node.name: node.shape for node in session.get_outputs()}
    dim = outputs.get(SpeakerEncoder.output, [None])[-1]
    if inputs != ["lengths", "waveform"] or list(outputs) != [SpeakerEncoder.output] or not isinstance(dim, int):
        raise ModelError(
            f"{path}: has inputs {', '.join(inputs)} and outputs {outputs}, not waveform, lengths -> "
            f"{SpeakerEncoder.output}[batch, dim]; affectd-export speaker wraps exports that take filterbanks"
        )
    return dim, dict(session.get_modelmeta().custom_metadata_map)


def _figures(folder: Path) -> dict[str, Any]:
    """Return what the report beside a verifier says of whole clips, if there is a report."""
    path = folder / REPORT_NAME
    if not path.is_file():
        return {}
    report = json.loads(path.read_text())
    corpora = {
        corpus: {name: found[what][condition] for name, (what, condition) in HEADLINE.items()}
        for corpus, found in report["corpora"].items()
    }
    return {"protocol": report["protocol"], "corpora": corpora}


def _read(path: Path) -> tuple[Tensors, dict[str, str]]:
    if not path.is_file():
        raise ModelError(f"{path}: no such file; affectd-calibrate verification writes it")
    try:
        with safe_open(path, "numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from None


def _take(path: Path, tensors: Tensors, shapes: Mapping[str, tuple[int, ...]]) -> list[npt.NDArray[Any]]:
    for name, shape in shapes.items():
        tensor = tensors.get(name)
        sizes = () if tensor is None else tensor.shape
        alike = len(sizes) == len(shape) and all(
            wanted in (ANY, size) for wanted, size in zip(shape, sizes, strict=True)
        )
        if tensor is None or not alike or not np.isfinite(tensor).all():
            wanted = ", ".join("any" if size == ANY else str(size) for size in shape)
            found = "missing" if tensor is None else f"{sizes}, or not finite"
            raise ModelError(f"{path}: {name} must be ({wanted}) and finite; it is {found}")
    return [tensors[name] for name in shapes]
