"""The room: what is always there in one source, microphone, room and language, estimated while running."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.arrays import Doubles, Matrix
from edge.errors import ModelError
from edge.population import Population
from edge.settings import RoomSettings

LATEST = 16
"""Utterances that are compared with those before them."""
ANOTHER_ROOM = 0.5
"""Distance from which on it is another room, in the unit of ``Population.contrast``. With the default bundle 6 of 679
streams that stay in a room are started anew, and all of 200 changes are found (docs/models)."""
EVEN = 0.4
"""Share of the commonest answer up to which a room is trusted as usual; or else half more than an even share, which is
more where labels are few."""
ONE_SIDED = 30.0
"""How much more evidence is wanted of a room, per share of the commonest answer above ``EVEN``: what most utterances
have in common may be their label, as in everyday speech, which is neutral."""
EVEN_ANSWERS = 4.0
"""Answers of even labels that are assumed to have been given before any: the first answers are always of few labels."""


class Room:
    """What is always there in one source. Estimated while running, without labels; for one thread.

    The model is ``z = mean + room + shift_label + noise``; the label is the answer given, as probabilities ``p``. The
    offset is the posterior mean ``sum(z - mean - label_shift * p @ shifts) / (n + k)``, where the sum and ``n`` decay
    so that they remember about ``window`` utterances, and ``k``, the noise over the rooms' variance, is
    ``pseudo_utterances``, and more the more of the answers are the same.
    """

    def __init__(self, population: Population, settings: RoomSettings) -> None:
        self._population, self._settings = population, settings
        self._contrast = population.contrast.astype(np.float64)
        self._sums = _Sums.empty(population)
        self._latest: deque[tuple[Matrix, Matrix]] = deque(maxlen=LATEST)

    @classmethod
    def of(
        cls, population: Population, settings: RoomSettings, embeddings: Sequence[Matrix], answers: Sequence[Matrix]
    ) -> Room:
        """Return the room of utterances that all weigh the same, in whatever order; types as in ``update``.

        They count as no more than ``window`` utterances: a stream's room is never trusted further either.
        """
        room = cls(population, settings)
        for embedding, probabilities in zip(embeddings, answers, strict=True):
            room._sums.add(embedding, probabilities)
        room._sums = room._sums.scaled(min(1.0, settings.window / max(len(answers), 1)))
        return room

    @property
    def share(self) -> float:
        """How far the estimate is trusted, ``n / (n + k)``, 0 with nothing heard."""
        even = max(EVEN, 1.5 / len(self._population.labels))
        commonest = (self._sums.answers.max() + EVEN_ANSWERS * even) / (self.utterances + EVEN_ANSWERS)
        k = self._settings.pseudo_utterances * (1 + ONE_SIDED * max(0.0, commonest - even))
        return float(self.utterances / (self.utterances + k))

    @property
    def utterances(self) -> float:
        """Effective number that the estimate rests on; at most ``window``."""
        return self._sums.utterances

    @property
    def is_known(self) -> bool:
        """The estimate is good enough to compare rooms by it, and for voice profiles to be moved."""
        return self.utterances >= self._settings.pseudo_utterances

    @property
    def label_shares(self) -> Matrix:
        """``float32[labels]``: how often each label was answered, summing to one; zeros with nothing heard."""
        shares: Matrix = (self._sums.labels / max(self.utterances, 1e-9)).astype(np.float32)
        return shares

    @property
    def mean(self) -> Matrix:
        """``float32[dim]``: the estimate as it would be if it were trusted fully; zeros with nothing heard."""
        return self._mean(self._sums).astype(np.float32)

    @property
    def distance(self) -> float:
        """Of the mean from the population's, 1 being that of a typical training corpus; see ``Population.contrast``."""
        return float(np.linalg.norm(self._contrast @ self.mean))

    def offset(self) -> Matrix:
        """Return what is subtracted from embeddings, ``float32[dim]``; zeros with nothing heard."""
        offset: Matrix = (self.share * self._mean(self._sums)).astype(np.float32)
        return offset

    def update(self, embedding: Matrix, probabilities: Matrix) -> None:
        """Take an utterance after it was answered.

        Args:
            embedding: ``float32[dim]`` as the encoder gave it, without what is known of the person's own.
            probabilities: ``float32[labels]`` of the answer.
        """
        self._latest.append((embedding, probabilities))
        self._sums.add(embedding, probabilities, self._keep)

    def differs_from(self, mean: Matrix) -> bool:
        """Return whether ``mean``, ``float32[dim]``, is that of another room; both should be known well."""
        return bool(np.linalg.norm(self._contrast @ (self.mean - mean)) > ANOTHER_ROOM)

    def has_changed(self) -> bool:
        """Return whether the latest ``LATEST`` utterances are from another room than all before them."""
        latest = self._sums_of_latest()
        earlier = self._sums.less(latest)
        if len(self._latest) < LATEST or earlier.utterances < LATEST:
            return False
        return bool(np.linalg.norm(self._contrast @ (self._mean(latest) - self._mean(earlier))) > ANOTHER_ROOM)

    def restart(self) -> None:
        """Start anew from the latter half of the latest utterances; those before may be from the room that was."""
        for _ in range(len(self._latest) // 2):
            self._latest.popleft()
        self._sums = self._sums_of_latest()

    def clear(self) -> None:
        """Forget everything."""
        self._sums = _Sums.empty(self._population)
        self._latest.clear()

    def tensors(self) -> dict[str, Doubles]:
        """Return all there is to keep, a few kilobytes: what a room has said, whatever the population is."""
        sums = self._sums
        utterances = np.array([sums.utterances])
        return {
            "embeddings": sums.embeddings, "labels": sums.labels, "answers": sums.answers, "utterances": utterances
        }  # fmt: skip

    def restore(self, tensors: Mapping[str, Doubles]) -> None:
        """Take over what ``tensors`` returned.

        Raises:
            ModelError: they are not those of a room of this model; it stays as it was.
        """
        own = self.tensors()
        fits = tensors.keys() == own.keys() and all(
            tensors[name].shape == own[name].shape and np.isfinite(tensors[name]).all() for name in own
        )
        if not fits or tensors["utterances"].item() < 0:
            raise ModelError("is no room of this model and version")
        self.clear()
        embeddings, labels, answers = (tensors[name].copy() for name in ("embeddings", "labels", "answers"))
        self._sums = _Sums(embeddings, labels, answers, tensors["utterances"].item())

    @property
    def _keep(self) -> float:
        return 1 - 1 / self._settings.window

    def _sums_of_latest(self) -> _Sums:
        sums = _Sums.empty(self._population)
        for embedding, probabilities in self._latest:
            sums.add(embedding, probabilities, self._keep)
        return sums

    def _mean(self, sums: _Sums) -> Doubles:
        shifts = self._settings.label_shift * (sums.labels @ self._population.shifts)
        around: Doubles = sums.embeddings - sums.utterances * self._population.mean - shifts
        return around / max(sums.utterances, 1e-9)


@dataclass
class _Sums:
    """Of utterances that may decay."""

    embeddings: Doubles
    """``float64[dim]``"""
    labels: Doubles
    """``float64[labels]``, of the answers' probabilities."""
    answers: Doubles
    """``float64[labels]``: how often each label was the most probable one."""
    utterances: float

    @classmethod
    def empty(cls, population: Population) -> _Sums:
        labels = len(population.labels)
        return cls(np.zeros(len(population.mean)), np.zeros(labels), np.zeros(labels), 0.0)

    def add(self, embedding: Matrix, probabilities: Matrix, keep: float = 1.0) -> None:
        self.embeddings = keep * self.embeddings + embedding
        self.labels = keep * self.labels + probabilities
        self.answers = keep * self.answers
        self.answers[probabilities.argmax()] += 1
        self.utterances = keep * self.utterances + 1

    def scaled(self, factor: float) -> _Sums:
        return _Sums(factor * self.embeddings, factor * self.labels, factor * self.answers, factor * self.utterances)

    def less(self, latest: _Sums) -> _Sums:
        """Return the sums of what was before the latest utterances, decayed as they are now."""
        return _Sums(
            self.embeddings - latest.embeddings,
            self.labels - latest.labels,
            self.answers - latest.answers,
            self.utterances - latest.utterances,
        )
