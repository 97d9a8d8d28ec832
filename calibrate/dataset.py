"""From a recipe and a data folder to labelled utterances in speaker-disjoint parts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from calibrate.corpora import CORPORA, Corpus, Utterance, read_corpus
from calibrate.corpora.labels import label_utterances, to_label
from calibrate.recipe import CorpusRecipe, Recipe
from calibrate.splits import SPLITS, Split, half_of, make_splits, read_splits, split_by_speaker, split_named
from edge.errors import UsageError, one_of

logger = logging.getLogger(__name__)

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Utterances of one part with their labels."""

    utterances: list[Utterance]
    labels: Rows
    """``int64[utterances]``, index into the recipe's labels."""
    origins: Mapping[str, CorpusRecipe] = field(default_factory=dict)
    """Entry of the recipe that each corpus comes from: a plain CSV is named after its table, not its reader."""

    @property
    def paths(self) -> list[Path]:
        """One file per utterance."""
        return [utterance.path for utterance in self.utterances]

    @property
    def corpora(self) -> npt.NDArray[np.str_]:
        """Corpus of each utterance."""
        return np.array([utterance.corpus for utterance in self.utterances], dtype=np.str_)

    @property
    def speakers(self) -> npt.NDArray[np.str_]:
        """Speaker of each utterance."""
        return np.array([utterance.speaker for utterance in self.utterances], dtype=np.str_)

    def select(self, rows: npt.NDArray[np.bool_]) -> Part:
        """Return the utterances where ``rows`` is true."""
        kept = [self.utterances[row] for row in np.flatnonzero(rows)]
        return Part(kept, self.labels[rows], self.origins)

    def balanced_weights(self) -> npt.NDArray[np.float64]:
        """Return weights that sum to one: a corpus as its recipe says, every label within its corpus the same."""
        cells = list(zip(self.corpora.tolist(), self.labels.tolist(), strict=True))
        counts = Counter(cells)
        labels_of = Counter(corpus for corpus, _ in counts)
        weights = np.array([self.weight_of(cell[0]) / (counts[cell] * labels_of[cell[0]]) for cell in cells])
        return np.asarray(weights / weights.sum())

    def weight_of(self, corpus: str) -> float:
        """Return what a corpus weighs beside the others."""
        return self.origins[corpus].weight if corpus in self.origins else 1.0


def read_parts(recipe: Recipe, data: Path, strict: bool = False) -> dict[Split, Part]:
    """Read the corpora of a recipe under ``data`` and split them by speaker.

    Those that are only tested on are left out where their folder is missing.

    Args:
        recipe: names corpora, labels and splits.
        data: folder that the recipe's folders are relative to.
        strict: a file that breaks its corpus's naming is an error, not a warning.
    """
    utterances: list[Utterance] = []
    origins: dict[str, CorpusRecipe] = {}
    apart: dict[str, Split] = {}
    for corpus in recipe.corpora:
        if corpus.role == "test" and not (data / corpus.folder).is_dir():
            logger.warning("%s: there is no %s; nothing is tested on it", corpus.name, data / corpus.folder)
            continue
        found = _read_labelled(recipe, corpus, data, strict)
        if is_halved(corpus):
            halves = {utterance.speaker: half_of(utterance.speaker) for utterance in found}
            apart |= halves
            if corpus.role == "test":
                found = [utterance for utterance in found if halves[utterance.speaker] == "test"]
        elif corpus.role == "test":
            apart |= {utterance.speaker: "test" for utterance in found}
        utterances += found
        origins |= {utterance.corpus: corpus for utterance in found}
    if all(origin.role == "test" for origin in origins.values()):
        raise UsageError("no corpus is left to train on")
    if recipe.splits.file:
        splits = read_splits(data / recipe.splits.file)
    else:
        drawn = [utterance for utterance in utterances if utterance.speaker not in apart]
        splits = make_splits(drawn, recipe.splits.fractions, recipe.seed)
    parts = split_by_speaker(utterances, splits | apart)
    return {name: Part(part, label_indices(part, recipe.labels), origins) for name, part in parts.items()}


def read_whole(recipe: Recipe, data: Path) -> list[Part]:
    """Read every corpus of a recipe, those that are only tested on too: a part each, without regard to splits.

    A halved corpus makes a part of those who are only tested on, and, where its role is to train, one of the others.
    """
    found = [(corpus, _read_labelled(recipe, corpus, data)) for corpus in recipe.corpora]
    origins = {utterance.corpus: corpus for corpus, utterances in found for utterance in utterances}
    parts = []
    for corpus, utterances in found:
        groups = [utterances]
        if is_halved(corpus):
            halves = SPLITS if corpus.role == "train" else SPLITS[2:]
            groups = [[each for each in utterances if half_of(each.speaker) == half] for half in halves]
        parts += [Part(group, label_indices(group, recipe.labels), origins) for group in groups if group]
    return parts


def read_only_tested(recipe: Recipe, data: Path, names: Sequence[str]) -> Part:
    """Read corpora of a recipe that have ``role = "test"``, of a halved one the speakers who are only tested on.

    Raises:
        UsageError: a name is none of theirs, or there are none.
    """
    apart = {corpus.name: corpus for corpus in recipe.corpora if corpus.role == "test"}
    if not apart:
        raise UsageError('no corpus of the recipe has role = "test"')
    chosen = tuple(apart[one_of("corpus", name, list(apart))] for name in dict.fromkeys(names))
    parts = read_whole(recipe.model_copy(update={"corpora": chosen}), data)
    if not parts:
        raise UsageError(f"{data}: nothing of {' and '.join(names)} has one of the model's labels")
    utterances = [utterance for part in parts for utterance in part.utterances]
    return Part(utterances, np.concatenate([part.labels for part in parts]), parts[0].origins)


def is_halved(corpus: CorpusRecipe) -> bool:
    """Say whether half of a corpus's speakers are only ever tested on."""
    reader = CORPORA.get(corpus.name)
    return isinstance(reader, Corpus) and reader.halved


def _read_labelled(recipe: Recipe, corpus: CorpusRecipe, data: Path, strict: bool = False) -> list[Utterance]:
    """Return the utterances of a corpus that have one of the recipe's labels; all else is logged."""
    listing = read_corpus(corpus.name, data / corpus.folder, strict)
    for path, reason in listing.refused:
        logger.warning("%s: %s", path, reason)
    labelled = label_utterances(listing.utterances, recipe.labels)
    if labelled.dropped:
        logger.warning("%s: left out for lack of a label: %s", corpus.name, dict(labelled.dropped))
    return labelled.utterances


def require_speakers(parts: Mapping[Split, Part], split: str) -> Part:
    """Return one of the parts.

    Raises:
        UsageError: there is no such split, or nobody is in it.
    """
    part = parts[split_named(split)]
    if not part.utterances:
        raise UsageError(f"no speaker of the corpora is in the {split} split")
    return part


def require_labels(train: Part, labels: Sequence[str]) -> None:
    """Make sure that there is something to tell apart in what is trained on.

    Raises:
        UsageError: it has fewer than two labels.
    """
    present = np.unique(train.labels)
    if len(present) < 2:
        corpora, count = ", ".join(dict.fromkeys(train.corpora.tolist())), len(train.labels)
        found = [f"{corpora}: {count} clip{'s' * (count > 1)} to train on, all {labels[label]}" for label in present]
        raise UsageError(f"{(found or ['no clip to train on'])[0]}; at least two labels are needed")


def label_indices(utterances: Sequence[Utterance], labels: Sequence[str]) -> Rows:
    """Return the index of each utterance's label; all must have one."""
    positions: dict[str | None, int] = {label: index for index, label in enumerate(labels)}
    return np.array([positions[to_label(utterance.emotion, labels)] for utterance in utterances], np.int64)
