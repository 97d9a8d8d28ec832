"""What enrolment gains: UA of speakers never trained on, against the number and kind of their enrolment clips."""

from __future__ import annotations

import logging
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from calibrate.bootstrap import Interval, Tally
from calibrate.dataset import Part, Rows
from calibrate.experiments.clip_counts import listed
from calibrate.metrics import unweighted_accuracy
from calibrate.streams import DeviceModel
from edge.adapt import VoiceProfile
from edge.arrays import Matrix

logger = logging.getLogger(__name__)

Condition = Literal["unlabelled", "one-sided", "neutral", "labelled"]
Method = Literal["none", "room", "naive", "profile"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
METHODS: tuple[Method, ...] = get_args(Method)
CLIPS = (0, 1, 2, 4, 8, 16)
DRAWS = 20
LEAST_CLIPS = 2
PURPOSE = "one to enrol with and one to be tested on"
"""What so many clips of a speaker are for."""
KINDS: Mapping[Condition, str] = {"one-sided": "of one emotion", "neutral": "that are neutral"}
"""What all clips of an enrolment are, by condition."""
ROOM_UTTERANCES = 64
"""Of a corpus, that the room is estimated from."""
NAIVE_CLIPS = 3.0
"""The baseline subtracts ``Σ (z - mean) / (clips + NAIVE_CLIPS)``."""
PROTOCOL = (
    f"mean of {DRAWS} seeded draws of enrolment clips, tested on the speaker's other clips; of each clip what the "
    "device's segmenter keeps; torch; UA is the mean recall over the corpus's labels, its speakers pooled; all methods "
    "see the same test clips. none: as strangers, no room; room: as strangers in a room known from up to "
    f"{ROOM_UTTERANCES} utterances of the corpus's tested speakers, drawn anew each time; profile: enrolled, in that "
    "room; naive: by mean subtraction alone. unlabelled: drawn at random; one-sided: all of one emotion, mean over the "
    "emotions; neutral: known to be neutral; labelled: drawn at random, labels known. At least one clip of every "
    "emotion stays in the test, so that the smallest emotions enrol with fewer clips than the column says"
)


@dataclass(frozen=True)
class Gain:
    """UA of one corpus under one kind of enrolment."""

    corpus: str
    condition: Condition
    clips: int
    ua: dict[Method, float]
    speakers: int
    """Who were tested, once for each training."""
    interval: Interval | None = None
    """Of UA with the profile, over speakers; None for one speaker, and for a mean over folds."""


@dataclass(frozen=True)
class Enrolment:
    """One draw: rows that enrol, and rows that are tested."""

    key: tuple[int, int]
    """The draw, and the emotion of a one-sided enrolment or -1."""
    enrolled: Rows
    tested: Rows


@dataclass(frozen=True)
class Answer:
    """What was predicted for one speaker's test clips in one draw."""

    corpus: str
    speaker: str
    key: tuple[int, int]
    """Of the draw."""
    true: Rows
    """``int64[tested]``."""
    predicted: Mapping[str, Rows]
    """Method to ``int64[tested]``."""


def tally_of(answers: Sequence[Answer], method: str) -> Tally:
    """Count the answers of a method by draw and speaker."""
    keys = {key: number for number, key in enumerate(dict.fromkeys(answer.key for answer in answers))}
    lengths = [len(answer.true) for answer in answers]
    true = np.concatenate([answer.true for answer in answers])
    right = np.concatenate([answer.predicted[method] for answer in answers]) == true
    speakers = np.repeat([answer.speaker for answer in answers], lengths)
    return Tally.of(right, true, speakers, np.repeat([keys[answer.key] for answer in answers], lengths))


def ua_of_draws(answers: Sequence[Answer], method: str) -> list[float]:
    """Return UA of every draw, its speakers pooled."""
    draws: dict[tuple[int, int], list[Answer]] = defaultdict(list)
    for answer in answers:
        draws[answer.key].append(answer)
    return [
        unweighted_accuracy(
            np.concatenate([answer.predicted[method] for answer in pooled]),
            np.concatenate([answer.true for answer in pooled]),
        )
        for pooled in draws.values()
    ]


def measure(
    model: DeviceModel,
    part: Part,
    embeddings: Matrix,
    clips: Sequence[int] = CLIPS,
    draws: int = DRAWS,
) -> tuple[list[Gain], dict[str, float]]:
    """Return UA per corpus, condition and number of clips, and per speaker what 8 unlabelled clips gain in UA.

    A condition under which nobody of a corpus can enrol has no gain, see ``cannot_enrol``.

    Args:
        model: what answers.
        part: utterances of speakers never trained on.
        embeddings: ``float32[n, dim]``, theirs.
        clips: numbers of enrolment clips.
        draws: seeded draws to take the mean of.
    """
    gains = []
    speaker_gains: dict[str, float] = {}
    neutral = neutral_of(model.population.labels)
    for corpus in np.unique(part.corpora):
        mine = np.flatnonzero(part.corpora == corpus)
        rooms = [room_of(model, embeddings[mine], draw) for draw in range(draws)]
        for condition in CONDITIONS:
            for count in clips:
                answers: list[Answer] = []
                for speaker in np.unique(part.speakers[mine]):
                    rows = mine[part.speakers[mine] == speaker]
                    own = [
                        Answer(
                            str(corpus), str(speaker), draw.key, part.labels[rows[draw.tested]],
                            _predict(model, embeddings[rows], part.labels[rows], draw, condition, rooms[draw.key[0]]),
                        )
                        for draw in enrolments(part.labels[rows], condition, count, draws, str(speaker), neutral)
                    ]  # fmt: skip
                    if (condition, count) == ("unlabelled", 8) and own:
                        gained = [ua_of_draws([each], "profile")[0] - ua_of_draws([each], "none")[0] for each in own]
                        speaker_gains[str(speaker)] = float(np.mean(gained))
                    answers += own
                if answers:
                    ua = {method: float(np.mean(ua_of_draws(answers, method))) for method in METHODS}
                    speakers, interval = {each.speaker for each in answers}, tally_of(answers, "profile").interval()
                    gains.append(Gain(str(corpus), condition, count, ua, len(speakers), interval))
    return gains, speaker_gains


def mean_gains(gains: Sequence[Gain]) -> list[Gain]:
    """Return the mean of each corpus, condition and number of clips, weighted by speakers."""
    rows: dict[tuple[str, Condition, int], list[Gain]] = defaultdict(list)
    for gain in gains:
        rows[gain.corpus, gain.condition, gain.clips].append(gain)
    pooled = []
    for key, same in rows.items():
        weights = [gain.speakers for gain in same]
        ua = {method: float(np.average([gain.ua[method] for gain in same], weights=weights)) for method in METHODS}
        pooled.append(Gain(*key, ua, sum(weights), same[0].interval if len(same) == 1 else None))
    return pooled


def neutral_of(labels: Sequence[str]) -> int:
    """Return the index of the neutral label; -1, which no utterance has, where there is none."""
    return list(labels).index("neutral") if "neutral" in labels else -1


def cannot_enrol(part: Part, labels: Sequence[str]) -> list[str]:
    """Say, and log, how speakers of a corpus cannot enrol, all of whom have ``LEAST_CLIPS`` clips."""
    found = []
    for corpus in dict.fromkeys(part.corpora.tolist()):
        mine = part.select(part.corpora == corpus)
        speakers = np.unique(mine.speakers).tolist()
        for condition, kind in KINDS.items():
            few = [
                name
                for name in speakers
                if not _pools(mine.labels[mine.speakers == name], condition, neutral_of(labels))
            ]
            if few:
                of_whom = "" if len(few) == len(speakers) else f" of {listed(few)}"
                found.append(
                    f"{corpus}: no {condition} enrolment{of_whom}: it takes {LEAST_CLIPS} clips {kind}, {PURPOSE}"
                )
    for text in found:
        logger.warning("%s", text)
    return found


def _pools(labels: Rows, condition: Condition, neutral: int) -> dict[int, Rows]:
    """Return the clips that a speaker may enrol with, by the emotion of a one-sided enrolment or -1."""
    if condition in ("unlabelled", "labelled"):
        pools = {-1: np.arange(len(labels))}
    else:
        emotions = np.unique(labels).tolist() if condition == "one-sided" else [neutral]
        pools = {emotion: np.flatnonzero(labels == emotion) for emotion in emotions}
    return {emotion: pool for emotion, pool in pools.items() if len(pool) >= LEAST_CLIPS}


def enrolments(
    labels: Rows, condition: Condition, count: int, draws: int, speaker: str, neutral: int = 0
) -> Iterator[Enrolment]:
    """Draw enrolments of one speaker with labels ``int64[n]``, of which ``neutral`` is one; see ``PROTOCOL``."""
    for draw in range(draws):
        rng = np.random.default_rng([draw, count, zlib.crc32(speaker.encode())])
        for emotion, pool in _pools(labels, condition, neutral).items():
            enrolled = rng.permutation(pool)[: min(count, len(pool) - 1)]
            yield Enrolment((draw, emotion), enrolled, np.setdiff1d(np.arange(len(labels)), enrolled))


def room_of(model: DeviceModel, embeddings: Matrix, seed: int) -> Matrix:
    """Return the offset ``float32[dim]`` of a room in which some of ``float32[n, dim]`` have been said."""
    room = model.room()
    model.answer(np.random.default_rng(seed).permutation(embeddings)[:ROOM_UTTERANCES], room)
    return room.offset()


def _predict(
    model: DeviceModel, embeddings: Matrix, labels: Rows, draw: Enrolment, condition: Condition, room: Matrix
) -> dict[str, Rows]:
    """Return the predictions of every method for one speaker and draw."""
    enrolled, tested = embeddings[draw.enrolled], embeddings[draw.tested]
    population, head = model.population, model.head
    known = condition in ("neutral", "labelled")
    names = [population.labels[label] if known else None for label in labels[draw.enrolled]]
    profile = VoiceProfile.estimate(population, head, enrolled, names, room)
    naive = (enrolled - population.mean).sum(axis=0) / (len(enrolled) + NAIVE_CLIPS)
    offsets: dict[Method, Matrix] = {"room": room, "naive": naive, "profile": profile.offset(room)}
    predicted = {method: head.probabilities(tested - offset) for method, offset in offsets.items()}
    return {
        method: shares.argmax(axis=1) for method, shares in (predicted | {"none": head.probabilities(tested)}).items()
    }
