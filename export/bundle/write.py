"""Writing a bundle: graph, quantisation, checks, figures, model card. A check that fails leaves nothing behind."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from calibrate.dataset import Part
from calibrate.evaluate import evaluate_bundle
from calibrate.metrics import Figures
from calibrate.report import summary
from calibrate.run import Run
from calibrate.speakers.verifier import SpeakerModel
from calibrate.splits import Split
from edge.audio import SAMPLE_RATE_HZ
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
from edge.errors import ModelError
from edge.head import Head
from edge.population import POPULATION_NAME, Population
from edge.settings import EncoderSettings
from export.bundle.card import CARD_NAME, model_card
from export.bundle.check import (
    Check,
    check_drop,
    check_invariance,
    check_parity,
    check_voiceprints,
    failures,
    in_brief,
    limit_size,
    opened,
)
from export.bundle.install import check_target, install
from export.graph.encoder_graph import OPSET, EmbeddingGraph, write_onnx
from export.graph.parity import some_speech, torch_embeddings
from export.graph.precision import RULE, Precision, Quantisation, Speech, Trial, write_encoder
from export.speaker.ge2e import write_speaker

BUCKETS_S = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0)
PARITY_UTTERANCES = 48
CALIBRATION_UTTERANCES = 192


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

    @property
    def buckets_s(self) -> tuple[float, ...]:
        """Padded lengths that the bundle will run at."""
        max_s = self.run.recipe.encoder.max_s
        return tuple(bucket for bucket in BUCKETS_S if bucket <= max_s) or (max_s,)


@dataclass(frozen=True)
class Export:
    """A written bundle with the checks it passed."""

    bundle: Bundle
    checks: list[Check]
    figures: dict[str, Figures]
    trials: list[Trial]
    """Both ways to quantise, the one kept first; empty where there was no choice."""


def export_bundle(
    model: Model,
    parts: Mapping[Split, Part],
    target: Path,
    identity: Identity,
    protocol: str,
    max_mb: float | None = None,
) -> Export:
    """Write a model as a bundle to ``target``, replacing what is there only once every check has passed.

    Args:
        model: what was trained.
        parts: the test part, of speakers that were never trained on, is for parity and figures; static int8 is
            calibrated on the training part, and compared with dynamic int8 on the validation part.
        target: bundle folder.
        identity: name, version and precision of the bundle.
        protocol: how the figures were obtained, for the model card.
        max_mb: most megabytes of the whole bundle.

    Raises:
        ModelError: head or encoder cannot be exported, or a check failed; the message lists which and by how much.
        UsageError: ``target`` holds something else than a bundle, or cannot be written.
    """
    check_target(target)
    run = model.run
    if run.recipe.head.speaker != "none":
        raise ModelError(
            f"the head is told who speaks (head.speaker = {run.recipe.head.speaker!r}), which a bundle cannot be: its "
            "graph serves everyone, and a person's profile comes from enrolment"
        )
    graph = EmbeddingGraph.of(run)
    with tempfile.TemporaryDirectory(prefix="affectd-") as scratch:
        float_folder, folder = Path(scratch, "fp32"), Path(scratch, identity.precision)
        float_folder.mkdir()
        write_onnx(graph, float_folder / ENCODER_NAME, f"{run.encoder_label}, layers {list(run.encoder.pooled)} pooled")
        if model.speaker:
            write_speaker(float_folder / SPEAKER_NAME, model.speaker)
        _finish(model, float_folder, replace(identity, precision="fp32"))
        trials: list[Trial] = []
        if identity.precision != "fp32":
            shutil.copytree(float_folder, folder)
            identity, trials = _reduce(model, float_folder / ENCODER_NAME, folder / ENCODER_NAME, identity, parts)
            _finish(model, folder, identity)
        limit_size(folder, max_mb)
        checks, figures = _check(graph, parts["test"], float_folder, folder)
        failed = failures(checks)
        if failed:
            tried = f" (int8 was {identity.quantisation}, the better of --quantisation's two)" if trials else ""
            raise ModelError(f"the export fails its checks: {failed}{tried}")
        metrics: dict[str, Any] = {
            "protocol": protocol,
            "corpora": {corpus: _headline(row) for corpus, row in figures.items()},
        }
        if trials:
            metrics["quantisation"] = {"rule": RULE, "trials": [asdict(trial) for trial in trials]}
        manifest = _finish(model, folder, identity, metrics)
        (folder / CARD_NAME).write_text(model_card(manifest, run, figures, checks))
        _finish(model, folder, identity, metrics)
        limit_size(folder, max_mb)
        install(folder, target)
    return Export(Bundle.load(target), checks, figures, trials)


def head_of(run: Run) -> Head:
    """Return the device's head: the classifier's last layer and the temperature."""
    output = run.classifier.output
    return Head(output.weight.detach().numpy().copy(), output.bias.detach().numpy().copy(), run.temperature)


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
    manifest = Manifest(
        schema_version=BUNDLE_SCHEMA,
        name=identity.name,
        version=identity.version,
        labels=run.recipe.labels,
        sample_rate_hz=SAMPLE_RATE_HZ,
        buckets_s=model.buckets_s,
        encoder=EncoderRecord(
            architecture=f"{run.encoder_label}, {_first(run.recipe.encoder.layers)}",
            precision=identity.precision,
            quantisation=identity.quantisation if identity.precision == "int8" else None,
            opset=OPSET,
            embedding_dim=run.recipe.head.dim,
            max_s=run.recipe.encoder.max_s,
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


def _reduce(
    model: Model, source: Path, target: Path, identity: Identity, parts: Mapping[Split, Part]
) -> tuple[Identity, list[Trial]]:
    """Write the encoder in the wanted precision; int8 is then settled on a way to quantise."""
    buckets = Buckets(model.buckets_s)

    def loaded(path: Path) -> Encoder:
        settings = EncoderSettings(provider="cpu", threads=1)
        encoder = Encoder(path, model.run.recipe.head.dim, buckets, settings)
        encoder.load()
        return encoder

    speech = Speech([], [])
    if identity.precision == "int8":
        speech = Speech(
            some_speech(parts["train"], CALIBRATION_UTTERANCES, buckets.longest),
            some_speech(parts["validation"], PARITY_UTTERANCES, buckets.longest),
        )
    kept, trials = write_encoder(source, target, identity.precision, identity.quantisation, speech, loaded)
    return replace(identity, quantisation=kept), trials


def _check(
    graph: EmbeddingGraph, test: Part, float_folder: Path, folder: Path
) -> tuple[list[Check], dict[str, Figures]]:
    """Compare torch, the float graph and the final one, and evaluate both on the test speakers."""
    waveforms = some_speech(test, PARITY_UTTERANCES, Buckets(Bundle.load(folder).manifest.buckets_s).longest)
    expected = torch_embeddings(graph, waveforms)
    checks = []
    figures: dict[str, dict[str, Figures]] = {}
    for path in dict.fromkeys((float_folder, folder)):
        recognizer = opened(Bundle.load(path), torch.get_num_threads())
        checks += [check_parity(recognizer, waveforms, expected, "torch"), *check_invariance(recognizer, waveforms)]
        figures[path.name] = evaluate_bundle(recognizer, test)
    final = figures[folder.name]
    checks += [*check_drop(figures[float_folder.name], final), *check_voiceprints(recognizer, waveforms)]
    return in_brief(checks), final


def _headline(row: Figures) -> dict[str, Any]:
    kept = ("utterances", "speakers", "ua", "wa", "macro_f1", "ece", "mean_speaker_ua", "worst_decile")
    return {key: value for key, value in summary(row).items() if key in kept}


def _first(layers: int) -> str:
    return "first layer" if layers == 1 else f"first {layers} layers"
