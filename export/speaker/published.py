"""Published speaker encoders: ONNX files of WeSpeaker and 3D-Speaker with the metadata that sherpa-onnx reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto

from edge.audio import SAMPLE_RATE_HZ
from edge.errors import ModelError
from export.graph.nodes import opset_of
from export.speaker.filterbank import MELS, Window

LEAST_OPSET = 12
"""Of the front end."""
WINDOWS: dict[str, Window] = {"3d-speaker": "povey", "wespeaker": "hamming"}
"""Framework to the window that its models are trained with (sherpa-onnx takes povey for both)."""


@dataclass(frozen=True)
class PublishedEncoder:
    """A published model, and how its metadata describes its features."""

    model: onnx.ModelProto
    input: str
    output: str
    dim: int
    framework: str
    window: Window
    scale: float
    """Of the waveform, which is ±1 here."""
    centred: bool
    """The mean over the utterance is subtracted from the features."""

    @classmethod
    def load(cls, path: Path) -> PublishedEncoder:
        """Read and check a file.

        Raises:
            ModelError: it is no such model; names what was found and what is needed.
        """
        try:
            model = onnx.load(path)
            onnx.checker.check_model(model)
        except Exception as error:  # onnx and protobuf raise their own unrelated classes
            raise ModelError(f"{path}: is no ONNX model: {str(error).splitlines()[0]}") from None
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        framework = metadata.get("framework", "")
        if framework not in WINDOWS:
            raise ModelError(
                f"{path}: its metadata says framework {framework or '(none)'}; {' and '.join(WINDOWS)} are supported, "
                f"in exports that sherpa-onnx reads. The metadata is {metadata or 'empty'}"
            )
        source, target = _ends(path, model)
        opset = opset_of(model)
        normalise = metadata.get("feature_normalize_type", "")
        needed: dict[str, tuple[str, tuple[str, ...]]] = {
            "sample_rate": (metadata.get("sample_rate", ""), (str(SAMPLE_RATE_HZ),)),
            "normalize_samples": (_normalize_samples(metadata, framework), ("0", "1")),
            "feature_normalize_type": (normalise, ("", "global-mean")),
        }
        for key, (value, allowed) in needed.items():
            if value not in allowed:
                options = " or ".join(option or "(none)" for option in allowed)
                raise ModelError(f"{path}: its metadata says {key} {value or '(none)'}; it must be {options}")
        if opset < LEAST_OPSET:
            raise ModelError(f"{path}: has opset {opset}; it must be {LEAST_OPSET} or newer")
        return cls(
            model=model,
            input=source.name,
            output=target.name,
            dim=_dim(path, target, metadata),
            framework=framework,
            window=WINDOWS[framework],
            scale=1.0 if _normalize_samples(metadata, framework) == "1" else 32_768.0,
            # WeSpeaker subtracts it in training and in its own inference, and its exports do not say so.
            centred=bool(normalise) or framework == "wespeaker",
        )


def _ends(path: Path, model: onnx.ModelProto) -> tuple[onnx.ValueInfoProto, onnx.ValueInfoProto]:
    constants = {tensor.name for tensor in model.graph.initializer}
    sources = [value for value in model.graph.input if value.name not in constants]
    targets = list(model.graph.output)
    fits = len(sources) == len(targets) == 1
    if fits:
        kind, shape = sources[0].type.tensor_type.elem_type, _shape(sources[0])
        # A time axis of fixed size would mean padding.
        fits = kind == TensorProto.FLOAT and len(shape) == 3 and shape[2] in (MELS, None) and shape[1] is None
        fits = fits and shape[0] in (1, None) and len(_shape(targets[0])) == 2
    if not fits:
        found = [", ".join(map(_describe, values)) for values in (sources, targets)]
        raise ModelError(
            f"{path}: has inputs {found[0]} and outputs {found[1]}; it must be one input float[batch, frames, {MELS}] "
            "with any number of frames, and one output [batch, dim]"
        )
    return sources[0], targets[0]


def _dim(path: Path, target: onnx.ValueInfoProto, metadata: Mapping[str, str]) -> int:
    declared, found = metadata.get("output_dim", ""), _shape(target)[1]
    if found is None and declared.isdigit():
        return int(declared)
    if found is None or (declared and declared != str(found)):
        raise ModelError(f"{path}: gives {_describe(target)}, but its metadata says output_dim {declared or '(none)'}")
    return found


def _normalize_samples(metadata: Mapping[str, str], framework: str) -> str:
    """Return 1 for samples of ±1 and 0 for those of 16 bits, as all WeSpeaker models take; early exports misname it."""
    default = "0" if framework == "wespeaker" else ""
    return metadata.get("normalize_samples", metadata.get("normalize_features", default))


def _shape(value: onnx.ValueInfoProto) -> list[int | None]:
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]


def _describe(value: onnx.ValueInfoProto) -> str:
    dims = ", ".join("?" if dim is None else str(dim) for dim in _shape(value))
    return f"{value.name} {TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()}[{dims}]"
