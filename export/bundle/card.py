"""The model card that travels with every bundle."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from calibrate.metrics import Figures
from calibrate.report import headline
from calibrate.run import Run
from edge.bundle import Manifest
from export.bundle.check import Check

CARD_NAME = "MODEL_CARD.md"
NON_COMMERCIAL = re.compile(r"\bNC\b|(?i:non-?commercial)")


def model_card(manifest: Manifest, run: Run, figures: Mapping[str, Figures], checks: Sequence[Check]) -> str:
    """Return the card as Markdown: what it is, on what it was trained, its figures, its limits."""
    recipe, encoder = run.recipe, manifest.encoder
    layers = "layers" if len(recipe.encoder.pooled) > 1 else "layer"
    lines = [
        f"# {manifest.name} {manifest.version}",
        "",
        f"Speech to {len(manifest.labels)} emotions ({', '.join(manifest.labels)}). {encoder.architecture}, "
        f"{_precision(manifest)}, opset {encoder.opset}; the mean and standard deviation of {layers} "
        f"{', '.join(map(str, recipe.encoder.pooled))} over the valid frames become an embedding of "
        f"{encoder.embedding_dim} numbers, a linear head with temperature {run.temperature:.3f} its labels.",
        "",
        "## Training data and licences",
        "",
        "| corpus | speakers | utterances | licence |",
        "|---|---|---|---|",
        *(
            f"| {corpus.name} | {corpus.speakers} | {corpus.utterances} | {corpus.licence}"
            f"{'' if corpus.licence_verified else ' (unverified)'} |"
            for corpus in manifest.corpora
        ),
        "",
        f"The pretrained encoder comes from `{recipe.encoder.name}` ({recipe.encoder.licence}).",
        *_obligations(manifest, run),
        "",
        "## Who speaks",
        "",
        *_speaker(manifest),
        "",
        "## Figures",
        "",
        manifest.metrics["protocol"],
        "",
        *headline(figures).markdown(),
        "",
        "UA is the mean recall over the labels of the corpus; the model may answer with any of its labels. "
        "The worst decile is the mean UA of the worst tenth of the speakers, at least one.",
        "",
        "## Checks of the export",
        "",
        "| check | figure | limit |",
        "|---|---|---|",
        *(f"| {check.name} | {check} | {check.limit} |" for check in checks),
        "",
        *_quantisation(manifest.metrics.get("quantisation")),
        "## Limits",
        "",
        "Trained on the speakers of the corpora above. People who sound unlike them are heard less well, and a "
        "language it never heard much less well: watch the figures per speaker, not the average. It hears "
        "how speech sounds, not what a person feels, and must not decide about people: no medical, hiring, policing or "
        "disciplinary use.",
        "",
    ]
    return "\n".join(lines)


def _speaker(manifest: Manifest) -> list[str]:
    if manifest.speaker is None:
        return ["There is no speaker encoder: this bundle recognises nobody, but adapts to whom a source is bound."]
    speaker = manifest.speaker
    return [
        f"{speaker.architecture} ({speaker.licence}): voiceprints of {speaker.voiceprint_dim} numbers. What a cosine "
        "of two of them means was fitted on the training and validation speakers.",
    ]


def _precision(manifest: Manifest) -> str:
    way = manifest.encoder.quantisation
    return manifest.encoder.precision + (f" ({way})" if way else "")


def _quantisation(measured: Mapping[str, Any] | None) -> list[str]:
    """Return why int8 was quantised as it is, where both ways were measured."""
    if not measured:
        return []
    return [
        "## int8",
        "",
        "Activations are quantised dynamically, each run measuring their range, or statically, calibrated on training "
        f"utterances. Both were tried, and one kept: {measured['rule']}.",
        "",
        "| activations | mean cosine to float, validation speakers | ms for 3 s of audio, one thread | |",
        "|---|---|---|---|",
        *(
            f"| {trial['quantisation']} | {trial['cosine']:.4f} | {trial['latency_ms']:.1f} "
            f"| {'' if place else 'kept'} |"
            for place, trial in enumerate(measured["trials"])
        ),
        "",
    ]


def _obligations(manifest: Manifest, run: Run) -> list[str]:
    bound = [corpus.name for corpus in manifest.corpora if NON_COMMERCIAL.search(corpus.licence)]
    if not bound:
        return []
    corpora = run.recipe.corpora
    without = dict.fromkeys(corpus.name for corpus in corpora if NON_COMMERCIAL.search(corpus.licence))
    options = " ".join(f"--without {name}" for name in without)
    remedy = f" `affectd-calibrate train … {options}` trains without them."
    return [
        "",
        f"**Not for commercial use**: the licences of {' and '.join(bound)} bind these weights."
        + (remedy if any(corpus.name not in without for corpus in corpora) else ""),
    ]
