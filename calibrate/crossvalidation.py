"""Cross-validation over speakers: every training and validation speaker is heard once by a model that never was trained
on them. Choices are made on these figures, so that the test speakers stay unread."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from calibrate.adaptation import PROTOCOL, Gain, Method, measure, write_adaptation
from calibrate.dataset import Part, Rows, read_parts
from calibrate.heads import Classifier
from calibrate.population import embed_part, fit_population, learned_regulars
from calibrate.recipe import Recipe
from calibrate.run import Run, build_run
from calibrate.sources import BatchFeatures, FeatureSource
from calibrate.training import train_classifier
from edge.errors import UsageError
from edge.head import Head


class JoinedFeatures:
    """Features of several parts as if they were one; each part keeps its cache."""

    learns: nn.Module | None = None

    def __init__(self, source: FeatureSource, parts: Sequence[Part]) -> None:
        read = [source.clean(part) for part in parts]
        self.parts = [part for part, _ in read]
        self._clean = torch.cat([features for _, features in read])
        self._spoken = torch.cat([source.clean(part, spoken_only=True)[1] for part in self.parts])
        self._augmented = [source.augmented(part) for part in self.parts]
        self._starts = np.cumsum([0, *(len(part.paths) for part in self.parts)])
        self._rows = {path: row for row, path in enumerate(path for part in self.parts for path in part.paths)}

    @property
    def whole(self) -> Part:
        """All readable utterances."""
        first = self.parts[0]
        utterances = [utterance for part in self.parts for utterance in part.utterances]
        return Part(utterances, np.concatenate([part.labels for part in self.parts]), first.origins)

    def clean(self, part: Part, spoken_only: bool = False) -> tuple[Part, Tensor]:
        """See ``FeatureSource``."""
        return part, (self._spoken if spoken_only else self._clean)[self._of(part)]

    def augmented(self, part: Part) -> BatchFeatures:
        """See ``FeatureSource``."""
        mine = self._of(part)

        def batch(rows: Rows, rng: np.random.Generator) -> Tensor:
            wanted = mine[rows]
            drawn = torch.empty(len(rows), *self._clean.shape[1:])
            for draw, start, end in zip(self._augmented, self._starts[:-1], self._starts[1:], strict=True):
                here = np.flatnonzero((start <= wanted) & (wanted < end))
                drawn[here] = draw(wanted[here] - start, rng)
            return drawn

        return batch

    def _of(self, part: Part) -> Rows:
        return np.array([self._rows[path] for path in part.paths], np.int64)


def cross_validate(recipe: Recipe, data: Path, out: Path, encoder: str | None, cache: Path, folds: int) -> list[Gain]:
    """Train a recipe's head without each fold of speakers, measure adaptation on these, and write a report to ``out``.

    Raises:
        UsageError: the recipe fine-tunes its encoder, or a corpus has fewer speakers than folds.
    """
    if recipe.encoder.finetune:
        raise UsageError("cross-validation trains heads on a frozen encoder; encoder.finetune must be 0")
    parts = read_parts(recipe, data)
    run = build_run(recipe, encoder or recipe.encoder.name)
    source = JoinedFeatures(run.source(cache), [parts["train"], parts["validation"]])
    whole = source.whole
    fold_of = speaker_folds(whole, folds, recipe.seed)
    gains: list[list[tuple[int, Gain]]] = []
    speaker_gains: dict[str, float] = {}
    for fold in range(folds):
        held = np.array([fold_of[str(speaker)] == fold for speaker in whole.speakers])
        found, by_speaker = _measure_fold(run, source, whole.select(~held), whole.select(held))
        gains.append(found)
        speaker_gains |= by_speaker
    pooled = _mean([row for rows in gains for row in rows])
    splits = recipe.splits.file or "a seeded draw"
    protocol = (
        f"{folds} folds over the {len(fold_of)} training and validation speakers of {splits}, each heard by a head "
        f"that was trained without them; folds weighted by their speakers; temperatures 1; {PROTOCOL}"
    )
    write_adaptation(out, pooled, speaker_gains, protocol)
    return pooled


def speaker_folds(part: Part, folds: int, seed: int) -> dict[str, int]:
    """Deal the speakers of each corpus out to folds; returns speaker to fold.

    Raises:
        UsageError: a corpus has fewer speakers than folds.
    """
    rng = np.random.default_rng(seed)
    fold_of: dict[str, int] = {}
    for corpus in np.unique(part.corpora):
        speakers = np.unique(part.speakers[part.corpora == corpus])
        if len(speakers) < folds:
            raise UsageError(f"{corpus} has {len(speakers)} speakers to train on, too few for {folds} folds")
        fold_of |= {str(speaker): index % folds for index, speaker in enumerate(rng.permutation(speakers))}
    return fold_of


def _measure_fold(
    run: Run, source: JoinedFeatures, train: Part, held: Part
) -> tuple[list[tuple[int, Gain]], dict[str, float]]:
    recipe = run.recipe
    torch.manual_seed(recipe.seed)
    layers, width = source.clean(held)[1].shape[1:]
    run.classifier = Classifier(recipe.head, layers, width, len(recipe.labels))
    with tempfile.TemporaryDirectory(prefix="affectd-") as scratch:
        train_classifier(run.classifier, source, (train, held), recipe.schedule, Path(scratch), seed=recipe.seed)
    output = run.classifier.output
    head = Head(output.weight.detach().numpy(), output.bias.detach().numpy(), temperature=1.0)
    train, embeddings = embed_part(run, train, source)
    population = fit_population(embeddings, train, recipe.labels, head.weight, learned_regulars(run))
    gains, speakers = measure(population, head, *embed_part(run, held, source))
    counts = {corpus: len(np.unique(held.speakers[held.corpora == corpus])) for corpus in np.unique(held.corpora)}
    return [(counts[gain.corpus], gain) for gain in gains], speakers


def _mean(gains: Sequence[tuple[int, Gain]]) -> list[Gain]:
    rows: dict[tuple[object, ...], list[tuple[int, Gain]]] = defaultdict(list)
    for count, gain in gains:
        rows[gain.corpus, gain.condition, gain.clips].append((count, gain))
    pooled = []
    for same in rows.values():
        weights = [count for count, _ in same]
        methods: list[Method] = list(same[0][1].ua)
        ua = {method: float(np.average([gain.ua[method] for _, gain in same], weights=weights)) for method in methods}
        pooled.append(Gain(same[0][1].corpus, same[0][1].condition, same[0][1].clips, ua))
    return pooled
