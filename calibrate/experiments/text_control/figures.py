"""How well words alone predict the label, and how sentences and emotions are crossed in a corpus."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from calibrate.bootstrap import LEVEL
from calibrate.corpora import Utterance
from calibrate.corpora.base import read_rows
from calibrate.dataset import Part, Rows
from calibrate.experiments.text_control.encoder import TextFeatures, texts_of
from calibrate.metrics import unweighted_accuracy
from calibrate.recipe import FinetuneRecipe, HeadRecipe, ScheduleRecipe
from calibrate.training.heads import Classifier
from calibrate.training.trainer import train_classifier
from edge.arrays import percentile_interval
from edge.errors import UsageError

HEAD = HeadRecipe(kind="dense", dim=256, dropout=0.3)
"""Report B's: dropout, dense, tanh, dropout, projection."""
SCHEDULE = ScheduleRecipe(epochs=20, batch=64, learning_rate=1e-3, weight_decay=0.01)
FINETUNING = FinetuneRecipe(epochs=4, batch=32, learning_rate=1e-3, encoder_learning_rate=5e-5, weight_decay=0.01)
DRAWS = 2_000

Groups = npt.NDArray[np.str_]


@dataclass(frozen=True)
class TextFigure:
    """How well the words alone predict the label."""

    held_out: str
    """What a test utterance shares with no training utterance: speakers, sentences, or (of a text set) texts."""
    labels: str
    """Whose labels: the emotions, those planted, or those of the text set."""
    utterances: int
    folds: int
    ua: float
    low: float
    high: float
    """95 % interval, see :func:`ua_interval`."""
    chance: float
    lookup_ua: float
    """UA of the most frequent label of the same sentence in training; chance where it was not seen."""

    @property
    def above_chance(self) -> bool:
        """Whether the whole interval lies above chance."""
        return self.low > self.chance + 1e-9


@dataclass(frozen=True)
class Design:
    """How sentences and emotions are crossed in a corpus."""

    sentences: int
    emotions: int
    complete: int
    """Sentences spoken in every emotion."""
    information_bits: float
    """Mutual information of sentence and emotion, of at most log2(emotions) bits; 0 where all are crossed evenly."""


def measure_corpus(source: TextFeatures, part: Part, labels: int, folds: int, seed: int) -> list[TextFigure]:
    """Measure a corpus with its emotions, speakers and then sentences held out, and with a planted leak.

    Raises:
        UsageError: there are fewer than two speakers or sentences.
    """
    speakers, sentences = part.speakers, sentences_of(part)
    leak = planted(part, seed)
    return [
        measure(source, part, labels, speakers, folds, seed, ("speakers", "emotions")),
        measure(source, part, labels, sentences, folds, seed, ("sentences", "emotions")),
        measure(source, leak, labels, speakers, folds, seed, ("speakers", "planted leak")),
    ]


def measure(
    source: TextFeatures,
    part: Part,
    labels: int,
    groups: Groups,
    folds: int,
    seed: int,
    names: tuple[str, str],
) -> TextFigure:
    """Train and test over folds of groups; every utterance is answered once, by a head that saw none of its group.

    Args:
        source: of the text features.
        part: utterances with text.
        labels: how many there are.
        groups: ``str[utterances]``, what is held out together.
        folds: at most as many as there are groups.
        seed: of folds, heads and draws.
        names: of what is held out and of the labels.
    """
    fold_of = deal(groups, folds, seed)
    predicted, looked_up = np.empty_like(part.labels), np.empty_like(part.labels)
    learns = source.learns is not None
    pretrained = {name: tensor.clone() for name, tensor in source.encoder.state_dict().items()} if learns else {}
    sentences = sentences_of(part)
    for fold in range(fold_of.max() + 1):
        held = fold_of == fold
        train, test = part.select(~held), part.select(held)
        predicted[held] = _answers(source, train, test, labels, seed)
        looked_up[held] = lookup(sentences[~held], train.labels, sentences[held], labels)
        if learns:
            source.encoder.load_state_dict(pretrained)
    chance = 1 / len(np.unique(part.labels))
    found = np.where(looked_up < 0, chance, looked_up == part.labels)
    low, high = ua_interval(predicted, part.labels, (part.speakers, sentences), seed)
    return TextFigure(
        held_out=names[0],
        labels=names[1],
        utterances=len(part.labels),
        folds=int(fold_of.max()) + 1,
        ua=unweighted_accuracy(predicted, part.labels),
        low=low,
        high=high,
        chance=chance,
        lookup_ua=float(np.mean([found[part.labels == label].mean() for label in np.unique(part.labels)])),
    )


def ua_interval(predicted: Rows, true: Rows, units: Sequence[Groups], seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of UA when speakers and sentences are both draws from many: the pigeonhole bootstrap.

    Each kind of unit is drawn with replacement, and an utterance counts as often as its speaker times its sentence was
    drawn (Owen 2007, "The pigeonhole bootstrap"): the answers to a sentence are all the same, so clips are no units.
    """
    rng = np.random.default_rng(seed)
    places = [np.unique(unit, return_inverse=True)[1] for unit in units]
    present, true = np.unique(true, return_inverse=True)
    right = present[true] == predicted
    drawn = []
    for _ in range(DRAWS):
        times = np.ones(len(true))
        for place in places:
            count = place.max() + 1
            times = times * np.bincount(rng.integers(count, size=count), minlength=count)[place]
        total = np.bincount(true, times, len(present))
        if total.all():
            drawn.append(float((np.bincount(true, times * right, len(present)) / total).mean()))
    return percentile_interval(np.array(drawn), LEVEL) if drawn else (0.0, 1.0)


def design_of(part: Part) -> Design:
    """Return how sentences and emotions are crossed."""
    sentences, rows = np.unique(sentences_of(part), return_inverse=True)
    emotions, columns = np.unique(part.labels, return_inverse=True)
    counts = np.zeros((len(sentences), len(emotions)))
    np.add.at(counts, (rows, columns), 1)
    shares = counts / counts.sum()
    apart = shares.sum(axis=1, keepdims=True) * shares.sum(axis=0, keepdims=True)
    bits = float((shares[shares > 0] * np.log2(shares[shares > 0] / apart[shares > 0])).sum())
    return Design(len(sentences), len(emotions), int((counts > 0).all(axis=1).sum()), max(0.0, bits))


def planted(part: Part, seed: int) -> Part:
    """Return the same utterances with a label for each sentence, dealt at random: all leak, and no meaning."""
    rng = np.random.default_rng(seed)
    sentences, rows = np.unique(sentences_of(part), return_inverse=True)
    occurring = np.unique(part.labels)
    dealt = occurring[rng.permutation(len(sentences)) % len(occurring)]
    return replace(part, labels=dealt[rows].astype(np.int64))


def lookup(seen: Groups, labels: Rows, wanted: Groups, count: int) -> Rows:
    """Return the most frequent label of each wanted sentence among those seen, -1 where it was not seen."""
    votes: dict[str, Counter[int]] = defaultdict(Counter)
    for sentence, label in zip(seen.tolist(), labels.tolist(), strict=True):
        votes[sentence][label] += 1
    shares = np.bincount(labels, minlength=count).clip(min=1)

    def commonest(row: Counter[int]) -> int:
        # Labels weigh the same, as they do in UA.
        return max(row, key=lambda label: float(row[label] / shares[label]))

    best = {sentence: commonest(row) for sentence, row in votes.items()}
    return np.array([best.get(sentence, -1) for sentence in wanted.tolist()], np.int64)


def deal(groups: Groups, folds: int, seed: int) -> Rows:
    """Return the fold of each row, ``int64[n]``: groups dealt out at random, each into one fold.

    Raises:
        UsageError: there is only one group.
    """
    names, rows = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise UsageError(f"all utterances share {str(names[0])!r}, so nothing can be held out")
    order = np.random.default_rng(seed).permutation(len(names)) % min(folds, len(names))
    return np.asarray(order[rows], np.int64)


def sentences_of(part: Part) -> Groups:
    """Return what is said, without case, punctuation and surrounding space: equal for equal sentences."""
    return np.array(
        [" ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split()) for text in texts_of(part)],
        dtype=np.str_,
    )


def read_text_set(table: Path) -> tuple[Part, tuple[str, ...]]:
    """Read a text-emotion set, a CSV with the columns ``text,label``, as utterances without speech, and its labels.

    Raises:
        UsageError: the table cannot be read, or holds fewer than two labels.
    """
    rows = [row for row in read_rows(table, ("text", "label")) if row["text"] and row["label"]]
    labels = tuple(sorted({row["label"] for row in rows}))
    if len(labels) < 2:
        raise UsageError(f"{table}: has {len(labels)} labels; a text-emotion set needs two")
    utterances = [
        Utterance(Path(f"{table.stem}-{number}"), table.stem, table.stem, row["label"], text=row["text"])
        for number, row in enumerate(rows)
    ]
    places: Mapping[str, int] = {label: place for place, label in enumerate(labels)}
    return Part(utterances, np.array([places[row["label"]] for row in rows], np.int64)), labels


def _answers(source: TextFeatures, train: Part, test: Part, labels: int, seed: int) -> Rows:
    torch.manual_seed(seed)
    classifier = Classifier(HEAD, 1, source.encoder.width, labels)
    schedule = SCHEDULE if source.learns is None else FINETUNING
    with tempfile.TemporaryDirectory(prefix="affectd-") as scratch:
        train_classifier(classifier, source, (train, test), schedule, Path(scratch), seed=seed)
    with torch.inference_mode():
        answers: Rows = classifier(source.clean(test)[1]).argmax(1).numpy()
    return answers
