"""Figures of answers to files and streams, with intervals over speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibrate.bootstrap import Estimate, Tally
from calibrate.dataset import Part, Rows
from calibrate.metrics import Probabilities, calibration_error
from calibrate.streams import Answers

DRAWS = 1_000
"""Of speakers, for an interval."""
SURE = 0.8
"""Probability from which on the device asks for no review."""


@dataclass(frozen=True)
class Outcome:
    """Answers to one corpus, each with what is true."""

    stream: Rows
    speakers: Any
    """``str[n]``."""
    labels: Rows
    probabilities: Probabilities

    @classmethod
    def of(cls, answers: Answers, part: Part) -> Outcome:
        """Return answers to the utterances of a part."""
        return cls(answers.stream, part.speakers[answers.rows], part.labels[answers.rows], answers.probabilities)

    @classmethod
    def joined(cls, outcomes: Sequence[Outcome]) -> Outcome:
        """Return all answers; streams of the same number become one."""
        return cls(*(
            np.concatenate([getattr(each, name) for each in outcomes])
            for name in ("stream", "speakers", "labels", "probabilities")
        ))  # fmt: skip

    def renumbered(self, first: int) -> Outcome:
        """Return the same with its streams numbered from ``first`` on."""
        return Outcome(self.stream + first, self.speakers, self.labels, self.probabilities)

    def ua(self, allowed: Sequence[int] | None, seed: int = 0) -> Estimate:
        """Return UA, the mean over streams of the mean recall over the labels that are in the stream.

        Args:
            allowed: labels that may be answered; None: all.
            seed: of the bootstrap: the same speakers are drawn for the same seed.
        """
        tally = Tally.of(self.predicted(allowed) == self.labels, self.labels, self.speakers, self.stream)
        return Estimate(tally.ua, tally.draws(DRAWS, seed))

    def predicted(self, allowed: Sequence[int] | None) -> Rows:
        """Return the most probable of the labels that may be answered, ``int64[n]``."""
        if allowed is None:
            allowed = range(self.probabilities.shape[1])
        best: Rows = np.asarray(allowed, np.int64)[self.probabilities[:, list(allowed)].argmax(axis=1)]
        return best

    @property
    def sure(self) -> Any:
        """Which answers need no review, ``bool[n]``."""
        return self.probabilities.max(axis=1) >= SURE

    def confidence(self) -> tuple[float, float, float]:
        """Return expected calibration error, share of sure answers, and how many of these are right; of any label."""
        sure, right = self.sure, self.predicted(None) == self.labels
        error = calibration_error(self.probabilities, self.labels)
        return error, float(sure.mean()), float(right[sure].mean()) if sure.any() else float("nan")


@dataclass(frozen=True)
class Side:
    """Figures without the room, or with it."""

    ua: Estimate
    """Answers restricted to the corpus's labels, as far as somebody taught them."""
    any_label: Estimate
    """UA where any label may be answered, as on the device."""
    ece: float
    """Expected calibration error, 15 bins; this and the next two are of any label."""
    sure: float
    """Share of answers at ``SURE`` or more."""
    right: float
    """How many of these are right; not a number where there are none."""

    @classmethod
    def of(cls, outcome: Outcome, allowed: Sequence[int], seed: int) -> Side:
        """Return the figures of answers of which ``allowed`` may count where they are restricted."""
        return cls(outcome.ua(allowed, seed), outcome.ua(None, seed), *outcome.confidence())

    def values(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        right = None if np.isnan(self.right) else self.right
        estimates = {"ua": self.ua.values(), "ua_any_label": self.any_label.values()}
        return estimates | {"ece": self.ece, "sure": self.sure, "right": right}

    @classmethod
    def mean(cls, sides: Sequence[Side]) -> Side:
        """Return the means over corpora."""
        known = [side.right for side in sides if not np.isnan(side.right)]
        return cls(
            Estimate.mean([side.ua for side in sides]),
            Estimate.mean([side.any_label for side in sides]),
            float(np.mean([side.ece for side in sides])),
            float(np.mean([side.sure for side in sides])),
            float(np.mean(known)) if known else float("nan"),
        )


@dataclass(frozen=True)
class Row:
    """A corpus as files, or as streams of one kind."""

    corpus: str
    kind: str
    without: Side
    room: Side | None
    """None for files, which are in no room."""

    @property
    def gain(self) -> Estimate | None:
        """What the room adds to UA."""
        return None if self.room is None else self.room.ua - self.without.ua

    def values(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        room, gain = self.room and self.room.values(), self.gain and self.gain.values()
        return {"corpus": self.corpus, "as": self.kind, "without": self.without.values(), "room": room, "gain": gain}

    @classmethod
    def mean(cls, rows: Sequence[Row]) -> Row:
        """Return the mean over corpora of rows of one kind."""
        rooms = [row.room for row in rows if row.room is not None]
        return cls("mean", rows[0].kind, Side.mean([row.without for row in rows]), Side.mean(rooms) if rooms else None)


@dataclass(frozen=True)
class Everyday:
    """Speech that is neutral throughout, as files or as one stream."""

    corpus: str
    kind: str
    speakers: int
    label: str
    """What all of it is."""
    without: tuple[Estimate, float]
    """Share that is answered so, and share that is surely something else."""
    room: tuple[Estimate, float] | None

    @staticmethod
    def side(outcome: Outcome) -> tuple[Estimate, float]:
        """Return the two shares."""
        return outcome.ua(None), float((outcome.sure & (outcome.predicted(None) != outcome.labels)).mean())

    def values(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        sides = {
            name: side and {"share": side[0].values(), "surely_else": side[1]}
            for name, side in (("without", self.without), ("room", self.room))
        }
        return {"corpus": self.corpus, "as": self.kind, "speakers": self.speakers, "label": self.label, **sides}
