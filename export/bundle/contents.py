"""What goes into a bundle besides its encoders: head, population, and the manifest that describes all of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from calibrate.run import Run
from calibrate.speakers.factor_model import device_head
from calibrate.speakers.verifier import SpeakerModel
from edge.audio import SAMPLE_RATE_HZ
from edge.bundle import (
    BUNDLE_SCHEMA,
    HEAD_NAME,
    MANIFEST_NAME,
    EncoderRecord,
    FileRecord,
    Manifest,
    sha256_of,
)
from edge.cohort import COHORT_NAME, save_cohort
from edge.head import SpeechCheck
from edge.population import POPULATION_NAME, Population
from export.bundle.who_speaks import speaker_record
from export.graph.encoder_graph import OPSET
from export.graph.precision import Precision, Quantisation

BUCKETS_S = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0)


@dataclass(frozen=True)
class Identity:
    """What a bundle is called and how its encoder computes."""

    name: str
    version: str
    precision: Precision
    """int8 is for CPUs, fp16 for GPUs."""
    quantisation: Quantisation | None = None
    """Of int8. None: the better, by measurement, where there is speech to calibrate with."""


@dataclass(frozen=True)
class Model:
    """Everything trained that goes into a bundle."""

    run: Run
    population: Population
    """Of the run, see ``calibrate.speakers.factor_model``."""
    speaker: SpeakerModel | None = None
    """None: the bundle will recognise nobody."""
    speech: SpeechCheck | None = None
    """None: the bundle will take whatever it hears for speech."""

    @property
    def buckets_s(self) -> tuple[float, ...]:
        """Padded lengths that the bundle will run at."""
        max_s = self.run.recipe.encoder.max_s
        return tuple(bucket for bucket in BUCKETS_S if bucket <= max_s) or (max_s,)


def write_contents(model: Model, folder: Path, identity: Identity, metrics: dict[str, Any] | None = None) -> Manifest:
    """Write everything else, the manifest last, beside the encoders that are in ``folder``; returns the manifest."""
    run = model.run
    replace(device_head(run, run.temperature), speech=model.speech).save(folder / HEAD_NAME)
    model.population.save(folder / POPULATION_NAME)
    if model.speaker and model.speaker.calibration.cohort is not None:
        save_cohort(folder / COHORT_NAME, model.speaker.calibration.cohort)
    for path in folder.iterdir():
        path.chmod(0o644)
    files = {
        path.name: FileRecord(sha256=sha256_of(path), bytes=path.stat().st_size)
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST_NAME
    }
    manifest = Manifest(
        schema_version=BUNDLE_SCHEMA,
        name=identity.name,
        version=identity.version,
        labels=run.recipe.labels,
        values=run.recipe.value_records,
        sample_rate_hz=SAMPLE_RATE_HZ,
        buckets_s=model.buckets_s,
        encoder=EncoderRecord(
            architecture=f"{run.encoder_label}, {_lowest(run.recipe.encoder.layers, run.recipe.encoder.merge)}",
            precision=identity.precision,
            quantisation=identity.quantisation if identity.precision == "int8" else None,
            opset=OPSET,
            embedding_dim=run.recipe.head.dim,
            max_s=run.recipe.encoder.max_s,
        ),
        speaker=speaker_record(model.speaker) if model.speaker else None,
        corpora=tuple(run.corpora),
        metrics=metrics or {},
        files=files,
    )
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n")
    return manifest


def _lowest(layers: int, merge: bool) -> str:
    kept = "first layer" if layers == 1 else f"first {layers} layers"
    return f"{kept}, pairs of tokens merged" if merge else kept
