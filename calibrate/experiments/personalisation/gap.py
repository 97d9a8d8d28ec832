"""How much worse a model is about people it never met, by the number of people that it learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrate.experiments.enrolment import room_of
from calibrate.experiments.personalisation.encoders import Heard, Setting
from calibrate.experiments.personalisation.heads import Fitted, fit_head
from calibrate.experiments.selection import Mask
from edge.adapt import VoiceProfile

SIZES = (5, 10, 20, 40)
"""Speakers learned from; fewer where there are not so many."""
SEEN_SHARE = 0.25
"""Of each one's recordings, kept back to test on people who were learned from."""
ENROLLED = 8
"""Recordings, without labels, by which a person is enrolled; a third of theirs where there are few."""


@dataclass(frozen=True)
class Gap:
    """One model; each figure is the mean over speakers of their UA."""

    speakers: int
    """That were learned from."""
    seen: float
    """On other recordings of people who were learned from."""
    unseen: float
    """On people who were not."""
    enrolled: float
    """On the same, enrolled in their room."""


def measure_gaps(setting: Setting, heard: Heard) -> list[Gap]:
    """Fit heads to ever more training speakers, corpora in turn; test on other recordings of theirs, and on others."""
    part = setting.part
    rng = np.random.default_rng([setting.recipe.seed, 4])
    order = _in_turn(setting, rng)
    kept_back = rng.uniform(size=len(part.labels)) < SEEN_SHARE
    unseen = np.isin(part.speakers, list(setting.told_by))
    gaps = []
    for count in sorted({min(size, len(order)) for size in (*SIZES, len(order))}):
        mine = np.isin(part.speakers, order[:count])
        learned = mine & ~kept_back
        if len(np.unique(part.labels[learned])) < 2:
            continue
        fitted = fit_head(setting, heard, learned)
        seen, others = (_mean_ua(setting, fitted, rows) for rows in (mine & kept_back, unseen))
        if seen and others:
            gaps.append(Gap(count, seen[0], *others))
    return gaps


def _in_turn(setting: Setting, rng: np.random.Generator) -> list[str]:
    """Return the training speakers in random order, one corpus after the other."""
    part = setting.part
    queues = []
    for corpus in np.unique(part.corpora):
        names = np.unique(part.speakers[part.corpora == corpus])
        queues.append([str(name) for name in rng.permutation(names) if name in setting.training])
    longest = max(map(len, queues))
    return [queue[place] for place in range(longest) for queue in queues if place < len(queue)]


def _mean_ua(setting: Setting, fitted: Fitted, rows: Mask) -> tuple[float, float] | None:
    """Return mean UA over speakers, as they come and once enrolled in their room; None where none has two labels."""
    part, model = setting.part, fitted.model
    alone: list[float] = []
    enrolled: list[float] = []
    for corpus in np.unique(part.corpora[rows]):
        in_corpus = rows & (part.corpora == corpus)
        room = room_of(model, fitted.embeddings[in_corpus], setting.recipe.seed)
        for speaker in np.unique(part.speakers[in_corpus]):
            mine = np.random.default_rng(setting.recipe.seed).permutation(
                np.flatnonzero(in_corpus & (part.speakers == speaker))
            )
            known, tested = np.split(mine, [min(ENROLLED, len(mine) // 3)])
            if len(np.unique(part.labels[tested])) < 2:
                continue
            profile = VoiceProfile.estimate(model.population, model.head, fitted.embeddings[known], room=room)
            labels = part.labels[tested]
            for found, offset in ((alone, np.zeros_like(room)), (enrolled, profile.offset(room))):
                answers = model.head.probabilities(fitted.embeddings[tested] - offset).argmax(axis=1)
                found.append(float(np.mean([(answers[labels == each] == each).mean() for each in np.unique(labels)])))
    return (float(np.mean(alone)), float(np.mean(enrolled))) if alone else None
