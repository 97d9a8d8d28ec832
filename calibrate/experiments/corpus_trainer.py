"""Training a recipe without some of its corpora, with a temperature that nothing left out has a part in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from calibrate.dataset import Part, is_halved
from calibrate.experiments.retraining import Retrained, Retrainer
from calibrate.experiments.selection import Mask
from calibrate.left_out import Answered, answer_in_room, stream_temperature
from calibrate.splits import half_of

Names = frozenset[str]


def may_train(part: Part) -> Mask:
    """Return which utterances may be trained on, ``bool[n]``: by the role of their corpus, and by half of a halved."""
    allowed = []
    for utterance in part.utterances:
        corpus = part.origins[utterance.corpus]
        only_tested = corpus.role == "test" or (is_halved(corpus) and half_of(utterance.speaker) == "test")
        allowed.append(not only_tested)
    return np.array(allowed, bool)


def emotional_corpora(part: Part) -> list[str]:
    """Return the corpora of more than one label; the others are everyday speech."""
    return [
        str(corpus)
        for corpus in dict.fromkeys(part.corpora.tolist())
        if len(np.unique(part.labels[part.corpora == corpus])) > 1
    ]


class CorpusTrainer:
    """Trains a recipe on choices of its corpora, on each of them once.

    Args:
        trainer: of the recipe, with every utterance that may be trained or tested on.
        seed: of the training.
    """

    def __init__(self, trainer: Retrainer, seed: int) -> None:
        self._trainer, self._seed = trainer, seed
        self._allowed = may_train(trainer.whole)
        self._trained: dict[Names, Retrained] = {}
        self._answered: dict[str, Answered] = {}
        whole = trainer.whole
        emotional = emotional_corpora(whole)
        self.tested = emotional
        """Corpora that are evaluated on, each by a model that it had no part in."""
        self.names = frozenset(name for name in emotional if self._allowed[whole.corpora == name].any())
        """Those of them that may be trained on."""
        self.everyday = [name for name in dict.fromkeys(whole.corpora.tolist()) if name not in emotional]
        """Corpora of everyday speech."""

    @property
    def only_tested(self) -> Mask:
        """Which utterances nothing is ever trained on, ``bool[n]``."""
        return ~self._allowed

    def part_of(self, corpora: Collection[str]) -> Part:
        """Return the utterances that may be trained on of some corpora, and of all everyday speech."""
        whole = self._trainer.whole
        return whole.select(self._allowed & np.isin(whole.corpora, [*corpora, *self.everyday]))

    def trained_on(self, corpora: Names) -> Retrained:
        """Return a model at temperature 1 that was trained on some corpora, and on everyday speech."""
        if corpora not in self._trained:
            self._trained[corpora] = self._trainer.train_for_device(self.part_of(corpora), self._seed)
        return self._trained[corpora]

    def calibrated(self, corpora: Names) -> Retrained:
        """Return the same with its temperature, see ``temperature``."""
        trained = self.trained_on(corpora)
        head = replace(trained.model.head, temperature=self.temperature(corpora))
        return replace(trained, model=replace(trained.model, head=head))

    def temperature(self, corpora: Names) -> float:
        """Return the temperature that suits the corpora left out in turn, answered in a room, but for what is tested.

        Each of ``corpora`` is answered by the model of all the others that may be trained on.
        """
        return stream_temperature([self._answer(name) for name in sorted(corpora)])

    def _answer(self, corpus: str) -> Answered:
        if corpus not in self._answered:
            others = self.names - {corpus}
            part = self._trainer.whole.select(self._trainer.whole.corpora == corpus)
            trained = self.trained_on(others)
            self._answered[corpus] = answer_in_room(trained.model, *trained.embed(part))
        return self._answered[corpus]
