"""Streams: a corpus as one source would send it, its speakers mixed, and the answers without and with the room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from calibrate.dataset import Rows
from calibrate.metrics import Probabilities
from edge.arrays import Matrix
from edge.head import Head
from edge.population import Population
from edge.room import Room
from edge.settings import RoomSettings

Kind = Literal["balanced", "half", "four fifths"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SHARES: Mapping[Kind, float] = {"half": 0.5, "four fifths": 0.8}
"""Share of one label in a stream that is not balanced."""
LENGTH = 300
"""Utterances of a stream, fewer where a corpus has not so many of a label."""


@dataclass(frozen=True)
class DeviceModel:
    """What answers: a head, and what rooms and voice profiles are estimated with."""

    head: Head
    population: Population
    settings: RoomSettings = field(default_factory=RoomSettings)

    def room(self) -> Room:
        """Return a room in which nothing has been said."""
        return Room(self.population, self.settings)

    def answer(self, embeddings: Matrix, room: Room | None = None) -> Probabilities:
        """Return ``float32[n, labels]`` for the utterances of one source, in the order in which they are said.

        Args:
            embeddings: ``float32[n, dim]`` as the encoder gave them.
            room: applied to each and then updated by it; None leaves the embeddings as they are.
        """
        if room is None:
            return self.head.probabilities(embeddings)
        answers = np.empty((len(embeddings), len(self.head.bias)), np.float32)
        for row, embedding in enumerate(embeddings):
            answers[row] = self.head.probabilities((embedding - room.offset())[None])[0]
            room.update(embedding, answers[row])
        return answers


@dataclass(frozen=True)
class Answers:
    """Answers to the utterances of one or many streams."""

    stream: Rows
    """``int64[n]``: number of the stream."""
    rows: Rows
    """``int64[n]``: which utterance."""
    probabilities: Probabilities
    """``float32[n, labels]``."""


def draw_streams(labels: Rows, kind: Kind, seeds: Sequence[int], length: int = LENGTH) -> list[Rows]:
    """Draw the streams of a kind: a balanced one a seed, or one a seed and label that is raised to its share.

    Args:
        labels: ``int64[n]`` of the utterances to draw from, whoever speaks.
        kind: balanced: every label as often as any other; otherwise the others share equally what is left.
        seeds: of the draws.
        length: most utterances of a stream.

    Returns:
        The utterances of each stream in random order, ``int64[length]``; none is in a stream twice. Of a single label
        nothing can be raised, and there is no stream that is not balanced.
    """
    present = np.unique(labels)
    raised = [None] if kind == "balanced" else present.tolist() if len(present) > 1 else []
    streams = []
    for label in raised:
        shares = np.full(len(present), 1 / len(present))
        if label is not None:
            shares[:] = (1 - SHARES[kind]) / (len(present) - 1)
            shares[present == label] = SHARES[kind]
        counts = [int((labels == each).sum()) for each in present]
        total = min(length, *(int(count / share) for count, share in zip(counts, shares, strict=True)))
        wanted = np.clip(np.rint(total * shares).astype(int), 1, counts)
        for seed in seeds:
            rng = np.random.default_rng([seed, 0 if label is None else label + 1])
            drawn = [
                rng.permutation(np.flatnonzero(labels == each))[:count]
                for each, count in zip(present, wanted, strict=True)
            ]
            streams.append(rng.permutation(np.concatenate(drawn)))
    return streams


def answer_streams(model: DeviceModel, embeddings: Matrix, streams: Sequence[Rows], with_room: bool) -> Answers:
    """Answer to streams of utterances ``float32[n, dim]``, each in a room of its own, or without one."""
    answered = [model.answer(embeddings[stream], model.room() if with_room else None) for stream in streams]
    numbers = np.repeat(np.arange(len(streams)), [len(stream) for stream in streams])
    return Answers(numbers, np.concatenate(streams), np.concatenate(answered))


def answer_files(model: DeviceModel, embeddings: Matrix) -> Answers:
    """Answer to each utterance ``float32[n, dim]`` alone."""
    rows = np.arange(len(embeddings))
    return Answers(np.zeros_like(rows), rows, model.answer(embeddings))


def cold_start(
    model: DeviceModel, embeddings: Matrix, counts: Sequence[int], seeds: Sequence[int]
) -> dict[int, Answers]:
    """Answer in rooms in which so many utterances have been said, and which learn no more.

    Args:
        model: what answers.
        embeddings: ``float32[n, dim]`` of one source.
        counts: ascending numbers of utterances; those beyond half of ``n`` are left out.
        seeds: of the order, a stream each; whatever the count, the same utterances are answered to, none of which is
            among those that the room was estimated from.

    Returns:
        Answers by count.
    """
    counts = [count for count in counts if count <= len(embeddings) // 2]
    found: dict[int, list[tuple[Rows, Probabilities]]] = {count: [] for count in counts}
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(len(embeddings))
        tested = order[counts[-1] :]
        room, said = model.room(), 0
        for count in counts:
            model.answer(embeddings[order[said:count]], room)
            said = count
            found[count].append((tested, model.answer(embeddings[tested] - room.offset())))
    return {
        count: Answers(
            np.repeat(np.arange(len(each)), [len(rows) for rows, _ in each]),
            np.concatenate([rows for rows, _ in each]),
            np.concatenate([probabilities for _, probabilities in each]),
        )
        for count, each in found.items()
    }
