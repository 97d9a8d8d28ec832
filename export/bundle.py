"""Writing a bundle: graph, quantisation, checks, figures, model card. A check that fails leaves nothing behind."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from calibrate.dataset import Part
from calibrate.evaluation import evaluate_bundle
from calibrate.metrics import Figures
from calibrate.report import summary
from calibrate.run import Run
from calibrate.verifier import SpeakerModel
from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.buckets import Buckets
from edge.bundle import (
    BUNDLE_SCHEMA,
    ENCODER_NAME,
    HEAD_NAME,
    MANIFEST_NAME,
    SPEAKER_NAME,
    Bundle,
    EncoderRecord,
    FileRecord,
    Manifest,
    SpeakerRecord,
    sha256_of,
)
from edge.encoder import Encoder
from edge.errors import ModelError, UsageError
from edge.head import Head
from edge.population import POPULATION_NAME, Population
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings
from export.card import CARD_NAME, model_card
from export.graph import OPSET, EmbeddingGraph, write_onnx
from export.parity import bucketed_embeddings, least_cosine, padding_error, torch_embeddings
from export.quantise import quantise_int8
from export.speaker import write_speaker

Precision = Literal["fp32", "int8"]

BUCKETS_S = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0)
PARITY_UTTERANCES = 48
LEAST_COSINE: dict[str, float] = {"fp32": 0.999, "int8": 0.99}
# Padding never enters the arithmetic, but the float result differs in its last bit with the shape, and int8 rounds some
# of these bits up: a tenth of its own rounding error.
MOST_PADDING_ERROR = {"fp32": 1e-3, "int8": 2e-2}
MOST_UA_DROP = 0.01


@dataclass(frozen=True)
class Identity:
    """What a bundle is called and how its encoder computes."""

    name: str
    version: str
    precision: Precision
    """int8 is for CPUs."""


@dataclass(frozen=True)
class Model:
    """Everything trained that goes into a bundle."""

    run: Run
    population: Population
    """Of the run, see ``calibrate.population``."""
    speaker: SpeakerModel | None = None
    """None: the bundle will recognise nobody."""


@dataclass(frozen=True)
class Check:
    """One condition of a good export."""

    name: str
    figure: float
    limit: str
    passed: bool


@dataclass(frozen=True)
class Export:
    """A written bundle with the checks it passed."""

    bundle: Bundle
    checks: list[Check]
    figures: dict[str, Figures]


def export_bundle(model: Model, test: Part, target: Path, identity: Identity, protocol: str) -> Export:
    """Write a model as a bundle to ``target``, replacing what is there only once every check has passed.

    Args:
        model: what was trained.
        test: utterances of speakers that were never trained on, for parity and figures.
        target: bundle folder.
        identity: name, version and precision of the bundle.
        protocol: how the figures were obtained, for the model card.

    Raises:
        ModelError: the encoder cannot be exported, or a check failed; the message lists which and by how much.
        UsageError: ``target`` holds something else than a bundle, or cannot be written.
    """
    _check_target(target)
    run = model.run
    graph = EmbeddingGraph.of(run)
    with tempfile.TemporaryDirectory(prefix="affectd-") as scratch:
        float_folder, folder = Path(scratch, "fp32"), Path(scratch, identity.precision)
        float_folder.mkdir()
        description = (
            f"{identity.name} {identity.version}: {run.encoder_label}, layers {list(run.encoder.pooled)} pooled"
        )
        write_onnx(graph, float_folder / ENCODER_NAME, description)
        if model.speaker:
            write_speaker(float_folder / SPEAKER_NAME, model.speaker)
        _finish(model, float_folder, replace(identity, precision="fp32"))
        if identity.precision == "int8":
            shutil.copytree(float_folder, folder)
            quantise_int8(float_folder / ENCODER_NAME, folder / ENCODER_NAME)
            _finish(model, folder, identity)
        checks, figures = _check(graph, test, float_folder, folder)
        failed = [
            f"{check.name} is {check.figure:.4g}, allowed is {check.limit}" for check in checks if not check.passed
        ]
        if failed:
            raise ModelError(f"the export fails its checks: {'; '.join(failed)}")
        metrics = {"protocol": protocol, "corpora": {corpus: _headline(row) for corpus, row in figures.items()}}
        manifest = _finish(model, folder, identity, metrics)
        (folder / CARD_NAME).write_text(model_card(manifest, run, figures, checks))
        _finish(model, folder, identity, metrics)
        try:
            _install(folder, target.resolve())
        except OSError as error:
            raise UsageError(f"{target}: cannot be written: {error.strerror}") from None
    return Export(Bundle.load(target), checks, figures)


def head_of(run: Run) -> Head:
    """Return the device's head: the classifier's last layer and the temperature."""
    output = run.classifier.output
    return Head(output.weight.detach().numpy().copy(), output.bias.detach().numpy().copy(), run.temperature)


def _check_target(target: Path) -> None:
    if not target.exists():
        return
    if not target.is_dir() or (not (target / MANIFEST_NAME).is_file() and any(target.iterdir())):
        raise UsageError(f"{target}: holds something else than a bundle; only a bundle or an empty folder is replaced")


def _install(folder: Path, target: Path) -> None:
    """Put a finished bundle in the place of the old one, by renames: at any moment one of them is whole on disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as beside:
        new, old = Path(beside, "new"), Path(beside, "old")
        shutil.copytree(folder, new)
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise


def _finish(model: Model, folder: Path, identity: Identity, metrics: dict[str, Any] | None = None) -> Manifest:
    """Write everything else, the manifest last, beside the encoders that are in ``folder``."""
    run = model.run
    head_of(run).save(folder / HEAD_NAME)
    model.population.save(folder / POPULATION_NAME)
    for path in folder.iterdir():
        path.chmod(0o644)
    files = {
        path.name: FileRecord(sha256=sha256_of(path), bytes=path.stat().st_size)
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST_NAME
    }
    max_s = run.recipe.encoder.max_s
    manifest = Manifest(
        schema_version=BUNDLE_SCHEMA,
        name=identity.name,
        version=identity.version,
        labels=run.recipe.labels,
        sample_rate_hz=SAMPLE_RATE_HZ,
        buckets_s=tuple(bucket for bucket in BUCKETS_S if bucket <= max_s) or (max_s,),
        encoder=EncoderRecord(
            architecture=f"{run.encoder_label}, layers 1 to {run.recipe.encoder.layers}",
            precision=identity.precision,
            opset=OPSET,
            embedding_dim=run.recipe.head.dim,
            max_s=max_s,
        ),
        speaker=_speaker_record(model.speaker) if model.speaker else None,
        corpora=tuple(run.corpora),
        metrics=metrics or {},
        files=files,
    )
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n")
    return manifest


def _speaker_record(speaker: SpeakerModel) -> SpeakerRecord:
    return SpeakerRecord(
        architecture=speaker.architecture,
        licence=speaker.licence,
        voiceprint_dim=speaker.dim,
        calibration=tuple(speaker.calibration.weights.tolist()),
    )


def _check(
    graph: EmbeddingGraph, test: Part, float_folder: Path, folder: Path
) -> tuple[list[Check], dict[str, Figures]]:
    """Compare torch, the float graph and the final one, and evaluate both on the test speakers."""
    every = max(1, len(test.paths) // PARITY_UTTERANCES)
    longest = Buckets(Bundle.load(folder).manifest.buckets_s).longest
    waveforms = [read_audio(path)[:longest] for path in test.paths[::every]]
    expected = torch_embeddings(graph, waveforms)
    checks = []
    figures: dict[str, dict[str, Figures]] = {}
    for path in dict.fromkeys((float_folder, folder)):
        recognizer = Recognizer(Bundle.load(path), EncoderSettings(provider="cpu", threads=torch.get_num_threads()))
        recognizer.load(voiceprints=recognizer.bundle.manifest.speaker is not None)
        precision = recognizer.bundle.manifest.encoder.precision
        encoder = recognizer.encoder
        cosine = least_cosine(bucketed_embeddings(encoder, waveforms), expected)
        limit, most = LEAST_COSINE[precision], MOST_PADDING_ERROR[precision]
        checks.append(Check(f"least cosine of {precision} to torch", cosine, f">= {limit}", cosine >= limit))
        error = _most_padding_error(encoder, waveforms)
        checks.append(Check(f"padding error of {precision}", error, f"<= {most}", error <= most))
        figures[precision] = evaluate_bundle(recognizer, test)
    final = figures[list(figures)[-1]]
    for corpus, row in figures["fp32"].items():
        drop = row.ua - final[corpus].ua
        checks.append(Check(f"UA drop on {corpus}", drop, f"<= {MOST_UA_DROP}", drop <= MOST_UA_DROP))
    if recognizer.speaker_encoder:
        error, most = _most_padding_error(recognizer.speaker_encoder, waveforms), MOST_PADDING_ERROR["fp32"]
        checks.append(Check("padding error of voiceprints", error, f"<= {most}", error <= most))
    return checks, final


def _most_padding_error(encoder: Encoder, waveforms: list[Waveform]) -> float:
    errors = [padding_error(encoder, waveform) for waveform in _lengths(waveforms, encoder.buckets.samples)]
    return float(np.max([error for found in errors for error in found.values()]))


def _lengths(waveforms: list[Waveform], buckets: tuple[int, ...]) -> list[Waveform]:
    """Return a waveform just shorter than each bucket, cut from or repeated out of real speech."""
    speech = np.concatenate(waveforms[:4])
    return [np.resize(speech, bucket - 37) for bucket in buckets]


def _headline(row: Figures) -> dict[str, Any]:
    kept = ("utterances", "speakers", "ua", "wa", "macro_f1", "ece", "mean_speaker_ua", "worst_decile")
    return {key: value for key, value in summary(row).items() if key in kept}
