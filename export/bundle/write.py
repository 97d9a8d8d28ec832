"""Writing a bundle: graph, quantisation, checks, figures, model card. A check that fails leaves nothing behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from calibrate.dataset import Part
from calibrate.evaluate import ValuesByCorpus, by_corpus, values_by_corpus
from calibrate.metrics import Figures
from calibrate.report import summary, values_summary
from calibrate.speakers.verifier import SpeakerModel
from calibrate.splits import Split
from calibrate.trained import Answers, TrainedBundle
from edge.buckets import Buckets
from edge.bundle import ENCODER_NAME, SPEAKER_NAME, Bundle
from edge.encoder import Encoder
from edge.errors import ModelError
from edge.settings import EncoderSettings
from export.bundle.card import CARD_NAME, model_card
from export.bundle.check import (
    Check,
    check_drop,
    check_invariance,
    check_parity,
    check_values,
    check_voiceprints,
    failures,
    in_brief,
    limit_size,
    opened,
)
from export.bundle.contents import Identity, Model, write_contents
from export.bundle.install import check_target, install
from export.distil.unlabelled import as_speech
from export.graph.encoder_graph import EmbeddingGraph, write_onnx
from export.graph.parity import some_speech, torch_embeddings
from export.graph.precision import RULE, Speech, Trial, write_encoder

PARITY_UTTERANCES = 48
CALIBRATION_UTTERANCES = 192
HEADLINE = ("utterances", "speakers", "ua", "wa", "macro_f1", "ece", "mean_speaker_ua", "worst_decile")
"""Figures of a corpus that go into the manifest."""
VALUE_HEADLINE = ("utterances", "speakers", "ccc", "mean_speaker_ccc", "r")
"""The same of a value."""


@dataclass(frozen=True)
class Export:
    """A written bundle with the checks it passed."""

    bundle: Bundle
    checks: list[Check]
    figures: dict[str, Figures]
    values: ValuesByCorpus
    """Figures of the values, empty where the model has none."""
    trials: list[Trial]
    """Both ways to quantise, the one kept first; empty where there was no choice."""


def export_bundle(
    model: Model,
    parts: Mapping[Split, Part],
    target: Path,
    identity: Identity,
    protocol: str,
    max_mb: float | None = None,
    left_out: Mapping[str, Any] | None = None,
) -> Export:
    """Write a model as a bundle to ``target``, replacing what is there only once every check has passed.

    Args:
        model: what was trained.
        parts: the test part, of speakers that were never trained on, is for parity and figures; static int8 is
            calibrated on the training part, and compared with dynamic int8 on the validation part, where nobody
            validates on the test part.
        target: bundle folder.
        identity: name, version and precision of the bundle.
        protocol: how the figures were obtained, for the model card.
        max_mb: most megabytes of the whole bundle.
        left_out: what ``affectd-calibrate generalise`` found of the run's recipe, for the model card.

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
        description = f"{run.encoder_label}, layers {list(run.encoder.pooled)} pooled"
        write_onnx(graph, float_folder / ENCODER_NAME, description, longest_s=model.buckets_s[-1])
        if model.speaker:
            shutil.copyfile(model.speaker.onnx, float_folder / SPEAKER_NAME)
        write_contents(model, float_folder, replace(identity, precision="fp32"))
        trials: list[Trial] = []
        if identity.precision != "fp32":
            shutil.copytree(float_folder, folder)
            identity, trials = _reduce(model, float_folder / ENCODER_NAME, folder / ENCODER_NAME, identity, parts)
            write_contents(model, folder, identity)
        limit_size(folder, max_mb)
        checks, figures, values = _check(graph, parts["test"], float_folder, folder)
        failed = failures(checks)
        if failed:
            tried = f" (int8 was {identity.quantisation}, the better of --quantisation's two)" if trials else ""
            raise ModelError(f"the export fails its checks: {failed}{tried}")
        metrics = _metrics(protocol, figures, values, trials, model.speaker)
        manifest = write_contents(model, folder, identity, metrics)
        (folder / CARD_NAME).write_text(model_card(manifest, run, model.speaker, figures, checks, left_out, values))
        write_contents(model, folder, identity, metrics)
        limit_size(folder, max_mb)
        install(folder, target)
    return Export(Bundle.load(target), checks, figures, values, trials)


def _reduce(
    model: Model, source: Path, target: Path, identity: Identity, parts: Mapping[Split, Part]
) -> tuple[Identity, list[Trial]]:
    """Write the encoder in the precision of the bundle; returns the identity with the quantisation that was chosen."""
    buckets = Buckets(model.buckets_s)

    def loaded(path: Path) -> Encoder:
        settings = EncoderSettings(provider="cpu", threads=1)
        encoder = Encoder(path, model.run.recipe.head.dim, buckets, settings)
        encoder.load()
        return encoder

    speech = Speech([], [])
    if identity.precision == "int8":
        compared = parts["validation"] if parts["validation"].paths else parts["test"]
        speech = Speech(
            some_speech(as_speech(parts["train"]), CALIBRATION_UTTERANCES, buckets.longest),
            some_speech(compared, PARITY_UTTERANCES, buckets.longest),
        )
    kept, trials = write_encoder(source, target, identity.precision, identity.quantisation, speech, loaded)
    return replace(identity, quantisation=kept), trials


def _check(
    graph: EmbeddingGraph, test: Part, float_folder: Path, folder: Path
) -> tuple[list[Check], dict[str, Figures], ValuesByCorpus]:
    """Compare torch, the float graph and the final one, and evaluate both on the test speakers."""
    waveforms = some_speech(test, PARITY_UTTERANCES, Buckets(Bundle.load(folder).manifest.buckets_s).longest)
    expected = torch_embeddings(graph, waveforms)
    checks = []
    answers: dict[str, Answers] = {}
    for path in dict.fromkeys((float_folder, folder)):
        recognizer = opened(Bundle.load(path), torch.get_num_threads())
        checks += [*check_parity(recognizer, waveforms, expected, "torch"), *check_invariance(recognizer, waveforms)]
        answers[path.name] = TrainedBundle(recognizer).answer(test)
    trained = TrainedBundle(recognizer)
    floating, final = answers[float_folder.name], answers[folder.name]
    checks += [*check_drop(floating, final), *check_values(floating, final, recognizer.bundle)]
    checks += check_voiceprints(recognizer, waveforms)
    figures = by_corpus(final.part, final.probabilities, trained.labels)
    return in_brief(checks), figures, values_by_corpus(final, trained.labels, trained.values)


def _metrics(
    protocol: str,
    figures: Mapping[str, Figures],
    values: ValuesByCorpus,
    trials: Sequence[Trial],
    speaker: SpeakerModel | None,
) -> dict[str, Any]:
    """Return the figures for the manifest: of emotions, values, who speaks, and the choice of a quantisation."""
    corpora = {
        corpus: {key: value for key, value in summary(row).items() if key in HEADLINE}
        for corpus, row in figures.items()
    }
    metrics: dict[str, Any] = {"protocol": protocol, "corpora": corpora}
    if values:
        metrics["values"] = {
            corpus: {name: {key: row[key] for key in VALUE_HEADLINE} for name, row in rows.items()}
            for corpus, rows in values_summary(values).items()
        }
    if speaker and speaker.figures:
        metrics["speaker"] = speaker.figures
    if trials:
        metrics["quantisation"] = {"rule": RULE, "trials": [asdict(trial) for trial in trials]}
    return metrics
