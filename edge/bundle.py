"""The bundle: a folder with everything one model needs, written by ``affectd-export``, verified here at every load."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from edge.audio import SAMPLE_RATE_HZ
from edge.buckets import Buckets
from edge.cohort import COHORT_NAME, Cohort, load_cohort
from edge.errors import ModelError, nearest
from edge.head import Head
from edge.population import POPULATION_NAME, Population
from edge.records import Record, first_problem
from edge.speaker import FEATURES, VoiceCalibration
from edge.values import ValueRecords

BUNDLE_SCHEMA = 1
MANIFEST_NAME = "bundle.json"
ENCODER_NAME = "encoder.onnx"
HEAD_NAME = "head.safetensors"
SPEAKER_NAME = "speaker.onnx"
DEFAULT_NAME = "default"
NO_SPEAKER_HASH = "none"
"""Stands for the hash of a speaker encoder that is not there."""


class FileRecord(Record):
    """A file of the bundle as it was when the bundle was written."""

    sha256: str
    bytes: int


class EncoderRecord(Record):
    """How ``encoder.onnx`` was made."""

    architecture: str
    precision: Literal["fp32", "fp16", "int8"]
    quantisation: Literal["dynamic", "static"] | None = None
    """Of int8: whether every run measures the range of its activations, or calibration did for good."""
    opset: int
    embedding_dim: int
    max_s: float
    """Longest input in seconds; the positions end here."""


class SpeakerRecord(Record):
    """How ``speaker.onnx`` was made, and what its cosines mean."""

    architecture: str
    licence: str
    voiceprint_dim: int
    calibration: Annotated[tuple[float, ...], Field(min_length=FEATURES, max_length=FEATURES)]
    """Weights of ``edge.speaker.VoiceCalibration``."""


class CorpusRecord(Record):
    """A training corpus and the licence that binds the weights."""

    name: str
    licence: str
    licence_verified: bool
    speakers: int
    utterances: int


class Manifest(Record):
    """``bundle.json``."""

    schema_version: int
    name: str
    version: str
    labels: tuple[str, ...]
    """In the order of the head's outputs."""
    values: ValueRecords = ()
    """What is estimated beside the labels, in the order of the head's second outputs."""
    sample_rate_hz: int
    buckets_s: tuple[float, ...]
    """Input lengths the encoder runs at, ascending."""
    encoder: EncoderRecord
    speaker: SpeakerRecord | None = None
    """None: the bundle recognises nobody; a profile can still be bound to a source."""
    corpora: tuple[CorpusRecord, ...]
    metrics: dict[str, Any]
    """Figures with the protocol and the command that produced them."""
    files: dict[str, FileRecord]


@dataclass(frozen=True)
class Bundle:
    """A verified bundle."""

    folder: Path
    manifest: Manifest
    head: Head
    """Reads embeddings less the offset of the room or the person."""
    population: Population
    cohort: Cohort | None = None
    """That scores of voices are compared with; None: they are plain cosines."""

    @classmethod
    def load(cls, folder: Path | None = None) -> Bundle:
        """Load and verify a bundle: a folder, or one inside the package by its name; None is ``default``.

        Raises:
            ModelError: something is missing, damaged or contradictory; the message says which file and why.
        """
        folder = _located(folder or Path(DEFAULT_NAME))
        manifest = _read_manifest(folder)
        for name, record in manifest.files.items():
            _verify_file(folder / name, record)
        expected = (len(manifest.labels), manifest.encoder.embedding_dim)
        head = Head.load(folder / HEAD_NAME, manifest.values)
        _check_shape(folder / HEAD_NAME, head.weight.shape, expected)
        population = Population.load(folder / POPULATION_NAME, manifest.labels, len(manifest.values))
        _check_shape(folder / POPULATION_NAME, population.shifts.shape, expected)
        cohort = None
        if manifest.speaker and COHORT_NAME in manifest.files:
            cohort = load_cohort(folder / COHORT_NAME, manifest.speaker.voiceprint_dim)
        return cls(folder, manifest, head, population, cohort)

    @property
    def encoder_path(self) -> Path:
        """The ONNX graph from waveform to embedding."""
        return self.folder / ENCODER_NAME

    @property
    def encoder_hash(self) -> str:
        """SHA-256 of the encoder: embeddings of two encoders never mix."""
        return self.manifest.files[ENCODER_NAME].sha256

    @property
    def speaker_path(self) -> Path:
        """The ONNX graph from waveform to voiceprint, if the manifest has a ``speaker``."""
        return self.folder / SPEAKER_NAME

    @property
    def speaker_hash(self) -> str:
        """SHA-256 of the speaker encoder, or ``none``: voiceprints of two encoders never mix."""
        return self.manifest.files[SPEAKER_NAME].sha256 if self.manifest.speaker else NO_SPEAKER_HASH

    @property
    def buckets(self) -> Buckets:
        """The lengths that the encoders run at."""
        return Buckets(self.manifest.buckets_s)

    @property
    def calibration(self) -> VoiceCalibration | None:
        """What cosines of voiceprints mean; None without a speaker encoder."""
        speaker = self.manifest.speaker
        return VoiceCalibration(np.array(speaker.calibration), self.cohort) if speaker else None

    def __repr__(self) -> str:
        encoder = self.manifest.encoder
        outputs = (*self.manifest.labels, *map(str, self.manifest.values))
        return (
            f"Bundle({self.manifest.name} {self.manifest.version}: {encoder.architecture}, {encoder.precision}, "
            f"waveform float32[batch, samples] -> embedding float32[batch, {encoder.embedding_dim}] "
            f"-> {len(self.manifest.labels)} labels {', '.join(outputs)})"
        )


def shipped_bundles() -> dict[str, Path]:
    """Return the bundles inside the package by name."""
    folder = Path(str(resources.files("edge") / "bundles"))
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{MANIFEST_NAME}"))}


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _located(folder: Path) -> Path:
    """Return where a bundle lies: a folder goes before one of the package's that has its name."""
    if os.path.isdir(folder):  # unlike Path.is_dir it does not raise for a name that is too long
        return folder
    shipped = shipped_bundles()
    if str(folder) in shipped:
        return shipped[str(folder)]
    beside = [str(folder.parent / path.parent.name) for path in folder.parent.glob(f"*/{MANIFEST_NAME}")]
    near = nearest(str(folder), [*(shipped if folder.name == str(folder) else ()), *beside])
    raise ModelError(f"no bundle folder {folder}, and the package has {', '.join(shipped) or 'none'}{near}")


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_NAME
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise ModelError(f"{path}: {first_problem(error)}") from None
    _check_manifest(manifest, path)
    return manifest


def _check_manifest(manifest: Manifest, path: Path) -> None:
    needed = {ENCODER_NAME, HEAD_NAME, POPULATION_NAME} | ({SPEAKER_NAME} if manifest.speaker else set())
    missing = needed - set(manifest.files)
    stray = [name for name in manifest.files if Path(name).name != name or not name.isprintable()]
    buckets = manifest.buckets_s
    for wrong, reason in (
        (
            manifest.schema_version != BUNDLE_SCHEMA,
            f"schema {manifest.schema_version}, this version reads {BUNDLE_SCHEMA}",
        ),
        (missing, f"lists no {' and no '.join(sorted(missing))}"),
        (stray, f"lists {stray}, which are not plain file names"),
        (
            manifest.sample_rate_hz != SAMPLE_RATE_HZ,
            f"sample rate {manifest.sample_rate_hz} Hz, only {SAMPLE_RATE_HZ} is run",
        ),
        (
            len(set(manifest.labels)) < max(2, len(manifest.labels)),
            f"labels {manifest.labels} are not two or more names",
        ),
        (
            not buckets or buckets[0] * SAMPLE_RATE_HZ < 1 or list(buckets) != sorted(set(buckets)),
            f"buckets {buckets} are not ascending",
        ),
        (
            buckets and buckets[-1] > manifest.encoder.max_s,
            f"buckets {buckets} exceed the {manifest.encoder.max_s} s limit",
        ),
    ):
        if wrong:
            raise ModelError(f"{path}: {reason}")


def _check_shape(path: Path, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        raise ModelError(f"{path}: is for (labels, dim) of shape {found}, the manifest says {expected}")


def _verify_file(path: Path, record: FileRecord) -> None:
    try:
        size = path.stat().st_size
        if size != record.bytes:
            raise ModelError(f"{path}: has {size} bytes, the manifest says {record.bytes}")
        found = sha256_of(path)
    except OSError as error:
        raise ModelError(f"{path}: the manifest lists it, but it cannot be read: {error.strerror}") from None
    if found != record.sha256:
        raise ModelError(f"{path}: sha256 is {found[:12]}…, the manifest says {record.sha256[:12]}…")
