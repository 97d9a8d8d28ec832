"""Examining a finished bundle: files, graph, embeddings, figures and latency."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from calibrate.dataset import Part, read_parts
from calibrate.evaluate import ValuesByCorpus, by_corpus, values_by_corpus
from calibrate.metrics import Figures
from calibrate.recipe import read_recipe
from calibrate.run import Run
from calibrate.trained import Answers, TrainedBundle, TrainedRun
from edge.arrays import Matrix
from edge.audio import Waveform
from edge.bundle import MANIFEST_NAME, Bundle, FileRecord, Manifest, sha256_of
from edge.errors import ModelError, UsageError
from edge.recognizer import Recognizer
from export.bundle.check import (
    Check,
    at_least,
    at_most,
    check_drop,
    check_invariance,
    check_parity,
    check_size,
    check_values,
    check_voiceprints,
    opened,
    skipped,
    timed_samples,
)
from export.bundle.latency import Race, check_latency
from export.graph.encoder_graph import EmbeddingGraph
from export.graph.inventory import Inventory, count_traces
from export.graph.parity import bucketed_embeddings, torch_embeddings

MOST_UA_DIFFERENCE = 0.01
"""From the figures in the manifest, or one answer where that is more: other CPUs round otherwise."""
MOST_CCC_DIFFERENCE = 0.02
"""The same of a value's concordance."""
LEAST_SHARE = 0.5
"""Of the operations behind the front end, for a graph to be what its manifest calls it."""
NO_DATA = "--data not given"
NO_REFERENCE = "neither --against nor --run given"


@dataclass(frozen=True)
class Reference:
    """The float version of a bundle."""

    name: str
    labels: tuple[str, ...]
    dim: int
    """Size of an embedding."""
    embed: Callable[[Sequence[Waveform]], Matrix]
    """Returns ``float32[n, dim]``."""
    answer: Callable[[Part], Answers]

    @classmethod
    def of_bundle(cls, bundle: Bundle, threads: int) -> Reference:
        """Return a bundle as it runs on the device."""
        recognizer, manifest = opened(bundle, threads), bundle.manifest
        embed, answer = partial(bucketed_embeddings, recognizer.encoder), TrainedBundle(recognizer).answer
        return cls(manifest.encoder.precision, manifest.labels, recognizer.encoder.dim, embed, answer)

    @classmethod
    def of_run(cls, run: Run, cache: Path) -> Reference:
        """Return a run, in torch."""
        embed, recipe = partial(torch_embeddings, EmbeddingGraph.of(run)), run.recipe
        return cls("torch", recipe.labels, recipe.head.dim, embed, TrainedRun(recipe.name, run, cache).answer)


@dataclass(frozen=True)
class Evidence:
    """What a finished bundle is examined with. What is None skips the checks that need it."""

    waveforms: Sequence[Waveform]
    """Speech to compare embeddings on."""
    test: Part | None = None
    """Speakers that were never trained on."""
    reference: Reference | None = None
    race: Race | None = None


def examine(folder: Path, evidence: Evidence, max_mb: float, threads: int) -> list[Check]:
    """Verify a finished bundle of at most ``max_mb`` megabytes.

    Raises:
        ModelError: the folder holds no manifest to go by.
        UsageError: the reference is of another model.
    """
    checks, bundle = check_files(folder, max_mb)
    if bundle is None:
        return [*checks, skipped("everything else", "the bundle does not load")]
    try:
        recognizer = opened(bundle, threads)
    except ModelError as error:
        return [*checks, Check("runs", str(error), "at every bucket", False)]
    reference, kind = evidence.reference, (bundle.manifest.labels, recognizer.encoder.dim)
    if reference and (reference.labels, reference.dim) != kind:
        raise UsageError(
            f"{folder}: has labels and dim {kind}, what it is compared with {reference.labels, reference.dim}"
        )
    waveforms = [waveform[: recognizer.buckets.longest] for waveform in evidence.waveforms]
    return [
        *checks,
        *check_graph(recognizer),
        *_parity(recognizer, waveforms, reference),
        *check_invariance(recognizer, waveforms),
        *check_voiceprints(recognizer, waveforms),
        *_figures(recognizer, evidence),
        *(check_latency(bundle, evidence.race) if evidence.race else [skipped("latency", "--latency not given")]),
    ]


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a bundle, unverified; None where it cannot be read."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST_NAME).read_bytes())
    except (OSError, ValidationError):
        return None


def held_out_speakers(folder: Path, data: Path, recipe_path: Path | None, run: Run | None) -> Part:
    """Return the test part of corpora, with the labels of a bundle, by a recipe or by that of a run.

    Raises:
        UsageError: there is neither recipe nor run, or the data has no test speakers.
    """
    recipe = read_recipe(recipe_path) if recipe_path else run.recipe if run else None
    if recipe is None:
        raise UsageError("with --data goes --recipe, which names the corpora and the splits, or --run, which has one")
    manifest = read_manifest(folder)
    if manifest:
        recipe = recipe.model_copy(update={"labels": manifest.labels})
    test = read_parts(recipe, data)["test"]
    if not test.paths:
        raise UsageError(f"{data}: no test speakers")
    return test


def check_files(folder: Path, max_mb: float) -> tuple[list[Check], Bundle | None]:
    """Verify every file of a bundle and their size; the bundle is None where it does not load.

    Raises:
        ModelError: the folder holds no manifest.
    """
    bundle = None
    try:
        bundle = Bundle.load(folder)
        loads = Check("loads", f"{bundle.manifest.name} {bundle.manifest.version}", "yes", True)
    except ModelError as error:
        if not (folder / MANIFEST_NAME).is_file():
            raise
        loads = Check("loads", str(error), "yes", False)
    manifest = read_manifest(folder)
    listed = manifest.files if manifest else {}
    stray = ", ".join(sorted({path.name for path in folder.iterdir()} - {MANIFEST_NAME, *listed})) or "none"
    files = [_check_file(folder / name, record) for name, record in listed.items()]
    return [
        loads,
        *files,
        Check("files not in the manifest", stray, "none", stray == "none"),
        check_size(folder, max_mb),
    ], bundle


def check_graph(recognizer: Recognizer) -> list[Check]:
    """Compare the encoder's graph with what the manifest claims."""
    encoder = recognizer.bundle.manifest.encoder
    found = Inventory.of(recognizer.encoder.path, timed_samples(recognizer.buckets))
    foreign = ", ".join(found.foreign) or "none"
    operators = ", ".join(f"{name} {count}" for name, count in found.operators.items())
    total = max(1, found.front_flops + sum(found.flops.values()))
    shares = [f"{name} {flops / total:.0%}" for name, flops in [("front end", found.front_flops), *found.flops.items()]]
    return [
        Check("opset", str(found.opset), str(encoder.opset), found.opset == encoder.opset),
        Check("operators", operators, "any", None),
        Check("operators outside the ONNX standard", foreign, "none", foreign == "none"),
        Check("operations", ", ".join(shares), "any", None),
        at_least(f"share in {encoder.precision} behind the front end", found.share(encoder.precision), LEAST_SHARE)
        if found.flops
        else skipped("share of a precision", "no products"),
        at_most("lines of stack traces in the graphs", count_traces(recognizer.bundle.folder), 0),
    ]


def _parity(recognizer: Recognizer, waveforms: Sequence[Waveform], reference: Reference | None) -> list[Check]:
    if reference is None:
        return [skipped("least cosine to the float version", NO_REFERENCE)]
    return check_parity(recognizer, waveforms, reference.embed(waveforms), reference.name)


def _figures(recognizer: Recognizer, evidence: Evidence) -> list[Check]:
    if evidence.test is None:
        return [skipped("UA", NO_DATA), skipped("UA drop", NO_DATA)]
    trained = TrainedBundle(recognizer)
    answers = trained.answer(evidence.test)
    found = by_corpus(answers.part, answers.probabilities, trained.labels)
    published = recognizer.bundle.manifest.metrics.get("corpora", {})
    checks = []
    for corpus, row in found.items():
        name = f"UA on {corpus}"
        if corpus in published:
            ua, most = published[corpus]["ua"], max(MOST_UA_DIFFERENCE, _one_answer(row))
            limit = f"{ua:.4f} ± {most:.2g}, as in the manifest"
            # The manifest has four digits.
            checks.append(Check(name, row.ua, limit, bool(abs(row.ua - ua) < most + 1e-4)))
        else:
            checks.append(Check(name, row.ua, "any: the manifest has no figure", None))
    values = values_by_corpus(answers, trained.labels, trained.values)
    checks += _concordances(values, recognizer.bundle.manifest.metrics.get("values", {}))
    if evidence.reference is None:
        return [*checks, skipped("UA drop", NO_REFERENCE)]
    floating = evidence.reference.answer(evidence.test)
    return [*checks, *check_drop(floating, answers), *check_values(floating, answers, recognizer.bundle)]


def _concordances(values: ValuesByCorpus, published: Mapping[str, Any]) -> list[Check]:
    """Compare the concordance of every value with that in the manifest."""
    checks = []
    for corpus, rows in values.items():
        for name, row in rows.items():
            ccc = published.get(corpus, {}).get(name, {}).get("ccc")
            limit = "any: the manifest has no figure"
            if ccc is not None:
                limit = f"{ccc:.4f} ± {MOST_CCC_DIFFERENCE:.2g}, as in the manifest"
            near = None if ccc is None else bool(abs(row.ccc - ccc) < MOST_CCC_DIFFERENCE + 1e-4)
            checks.append(Check(f"CCC of {name} on {corpus}", row.ccc, limit, near))
    return checks


def _one_answer(figures: Figures) -> float:
    """Return what a single answer may change of UA."""
    return 1 / (len(figures.classes) * min(row.support for row in figures.classes.values()))


def _check_file(path: Path, record: FileRecord) -> Check:
    found = FileRecord(sha256=sha256_of(path), bytes=path.stat().st_size) if path.is_file() else None
    shown, limit = (f"{each.sha256[:12]}, {each.bytes:,} bytes" if each else "missing" for each in (found, record))
    return Check(path.name, shown, limit, found == record)
