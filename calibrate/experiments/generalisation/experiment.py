"""Leave out each corpus in turn, and each fold of speakers, and evaluate on what was left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from calibrate.dataset import Part, Rows, read_whole
from calibrate.experiments.corpus_trainer import CorpusTrainer
from calibrate.experiments.enrolment import DRAWS, Gain, mean_gains, measure
from calibrate.experiments.generalisation.figures import Everyday, Outcome, Row, Side
from calibrate.experiments.generalisation.report import COUNTS, ENROLLED, Findings, generalisation_report
from calibrate.experiments.retraining import Retrained, Retrainer
from calibrate.experiments.selection import held_out_folds
from calibrate.progress import progress_bar
from calibrate.recipe import read_recipe
from calibrate.report import Report
from calibrate.streams import KINDS, answer_files, answer_streams, cold_start, draw_streams
from calibrate.workspace import Workspace
from edge.errors import UsageError

FILES, ONE_STREAM = "files", "one stream"
MOST_STREAMS = 10_000
"""Numbers of one training's streams are below this."""
QUICK_DRAWS = 4
"""Enrolments drawn a speaker, where it has to be quick."""


@dataclass(frozen=True)
class Effort:
    """How often everything is repeated."""

    seeds: int = 3
    """Trainings of each model."""
    streams: int = 5
    """Of each kind, and of each raised label."""
    folds: int = 5
    """Over the speakers of all corpora that train."""
    draws: int = DRAWS
    """Enrolments of a speaker."""

    def quick(self) -> Effort:
        """Return the least that says anything: one training, one stream of each kind."""
        return Effort(1, 1, self.folds, QUICK_DRAWS)


Sides = tuple[list[Outcome], list[Outcome]]
"""Answers without the room, and with it."""


@dataclass
class Collected:
    """What was answered, of all trainings."""

    answered: dict[tuple[str, str], Sides] = field(default_factory=lambda: defaultdict(lambda: ([], [])))
    """By corpus and kind."""
    cold: dict[str, dict[int, list[Outcome]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    """By corpus and number of utterances."""

    def add(self, trained: Retrained, part: Part, number: int, streams: Mapping[str, Sequence[Rows]]) -> None:
        """Answer to a part as files and as streams of each kind; ``number`` is that of the training."""
        readable, embeddings = trained.embed(part)
        first, corpus = number * MOST_STREAMS, str(part.corpora[0])
        files = Outcome.of(answer_files(trained.model, embeddings), readable).renumbered(first)
        self.answered[corpus, FILES][0].append(files)
        for kind, drawn in streams.items():
            for room, side in enumerate(self.answered[corpus, kind]):
                answers = answer_streams(trained.model, embeddings, drawn, with_room=bool(room))
                side.append(Outcome.of(answers, readable).renumbered(first))

    def add_cold_start(self, trained: Retrained, part: Part, number: int, seeds: Sequence[int]) -> None:
        """Answer in rooms in which little has been said."""
        readable, embeddings = trained.embed(part)
        for count, answers in cold_start(trained.model, embeddings, COUNTS, seeds).items():
            outcome = Outcome.of(answers, readable).renumbered(number * MOST_STREAMS)
            self.cold[str(part.corpora[0])][count].append(outcome)

    def rows(self, allowed: Mapping[str, Sequence[int]]) -> list[Row]:
        """Return the figures of every corpus and kind, and their means over the corpora.

        A corpus has none of a kind where whoever was left out together has one label only.
        """
        found = []
        for kind in (FILES, *KINDS):
            of_kind = []
            for seed, corpus in enumerate(allowed):
                sides = [
                    Side.of(Outcome.joined(side), allowed[corpus], seed) for side in self.answered[corpus, kind] if side
                ]
                if sides:
                    of_kind.append(Row(corpus, kind, sides[0], sides[1] if len(sides) > 1 else None))
            found += [*of_kind, Row.mean(of_kind)] if of_kind else []
        return found

    def cold_ua(self, allowed: Mapping[str, Sequence[int]]) -> dict[str, dict[int, float]]:
        """Return UA by corpus and number of utterances."""
        return {
            corpus: {count: Outcome.joined(outcomes).ua(allowed[corpus]).value for count, outcomes in by_count.items()}
            for corpus, by_count in self.cold.items()
        }

    def everyday(self, labels: Sequence[str]) -> list[Everyday]:
        """Return the figures of corpora of one label, of which ``labels`` has the names."""
        found = []
        for (corpus, kind), sides in self.answered.items():
            without, *room = [Outcome.joined(side) for side in sides if side]
            speakers, label = len(np.unique(without.speakers)), labels[without.labels[0]]
            shares = Everyday.side(room[0]) if room else None
            found.append(Everyday(corpus, kind, speakers, label, Everyday.side(without), shares))
        return found


def measure_generalisation(
    workspace: Workspace,
    recipe_path: Path,
    *,
    effort: Effort,
    without: Sequence[str] = (),
    encoder: str | None,
) -> Report:
    """Leave out each corpus of a recipe in turn, and each fold of speakers, and evaluate on what was left out.

    Args:
        effort: trainings, streams, folds and draws.
        without: corpora of the recipe that take no part at all.

    Raises:
        UsageError: the recipe trains on one corpus only, or a corpus has fewer speakers than folds.
    """
    recipe = read_recipe(recipe_path).leave_out(without)
    trainer = Retrainer(recipe, encoder, workspace.cache, read_whole(recipe, workspace.data))
    seeds = range(recipe.seed, recipe.seed + effort.seeds)
    corpora = CorpusTrainer(trainer, recipe.seed)
    if len(corpora.names) < 2:
        names = ", ".join(corpora.names) or "none"
        raise UsageError(
            f"leaving a corpus out takes at least two that train and have several labels: there is {names}"
        )
    measured = _Measured(trainer, effort)
    with progress_bar() as progress:
        for number, seed in enumerate(progress.track(seeds, description="trainings")):
            measured.leave_out_corpora(CorpusTrainer(trainer, seed), number)
            measured.leave_out_speakers(corpora.part_of(corpora.names), number, seed)
    return generalisation_report(recipe, measured.findings(corpora), effort.seeds, effort.streams, effort.folds)


class _Measured:
    """Collects the answers of every training."""

    def __init__(self, trainer: Retrainer, effort: Effort) -> None:
        self._trainer, self._effort = trainer, effort
        self._seeds = range(effort.streams)
        self._left_out, self._folds, self._everyday = Collected(), Collected(), Collected()
        self._gains: list[Gain] = []
        self._speaker_gains: dict[str, list[float]] = defaultdict(list)
        self._temperatures: dict[str, list[float]] = defaultdict(list)

    def leave_out_corpora(self, corpora: CorpusTrainer, number: int) -> None:
        """Evaluate on every corpus by a model that it had no part in, and on everyday speech by one of all corpora."""
        whole = self._trainer.whole
        for corpus in corpora.tested:
            trained = corpora.calibrated(corpora.names - {corpus})
            part = whole.select(whole.corpora == corpus)
            self._temperatures[corpus].append(trained.model.head.temperature)
            self._left_out.add(trained, part, number, self._streams(trained.embed(part)[0]))
            self._left_out.add_cold_start(trained, part, number, self._seeds)
        for corpus in corpora.everyday:
            part = whole.select((whole.corpora == corpus) & corpora.only_tested)
            if part.utterances:
                trained = corpora.calibrated(corpora.names)
                orders = [np.random.default_rng(seed).permutation(len(part.labels)) for seed in self._seeds]
                self._everyday.add(trained, part, number, {ONE_STREAM: orders})

    def leave_out_speakers(self, part: Part, number: int, seed: int) -> None:
        """Evaluate on every speaker by a model that was trained without them."""
        emotional = part.select(np.isin(part.corpora, list(CorpusTrainer(self._trainer, seed).names)))
        for held in held_out_folds(emotional, self._effort.folds, self._trainer.recipe.seed):
            left_out = emotional.select(held)
            trained = self._trainer.train_for_device(part.select(~np.isin(part.speakers, left_out.speakers)), seed)
            for corpus in np.unique(left_out.corpora):
                mine = left_out.select(left_out.corpora == corpus)
                self._folds.add(trained, mine, number, self._streams(trained.embed(mine)[0]))
            gains, speakers = measure(trained.model, *trained.embed(left_out), (ENROLLED,), self._effort.draws)
            self._gains += gains
            for speaker, gain in speakers.items():
                self._speaker_gains[speaker].append(gain)

    def _streams(self, part: Part) -> dict[str, Sequence[Rows]]:
        drawn = {kind: draw_streams(part.labels, kind, self._seeds) for kind in KINDS}
        return {kind: streams for kind, streams in drawn.items() if streams}

    def findings(self, corpora: CorpusTrainer) -> Findings:
        """Return the figures of all that was collected."""
        whole, labels = self._trainer.whole, self._trainer.recipe.labels
        present = {corpus: np.unique(whole.labels[whole.corpora == corpus]) for corpus in corpora.tested}
        taught = {corpus: np.unique(corpora.part_of(corpora.names - {corpus}).labels) for corpus in corpora.tested}
        allowed = {corpus: np.intersect1d(present[corpus], taught[corpus]).tolist() for corpus in corpora.tested}
        own = {corpus: present[corpus].tolist() for corpus in corpora.tested if corpus in corpora.names}
        return Findings(
            left_out=self._left_out.rows(allowed),
            untaught={
                corpus: [labels[label] for label in np.setdiff1d(present[corpus], taught[corpus])]
                for corpus in corpora.tested
            },
            taught_by={corpus: sorted(corpora.names - {corpus}) for corpus in corpora.tested},
            temperatures=self._temperatures,
            speakers={corpus: len(np.unique(whole.speakers[whole.corpora == corpus])) for corpus in corpora.tested},
            cold_start=self._left_out.cold_ua(allowed),
            everyday=self._everyday.everyday(labels),
            folds=self._folds.rows(own),
            enrolment=mean_gains(self._gains),
            speaker_gains={speaker: float(np.mean(gains)) for speaker, gains in self._speaker_gains.items()},
        )
