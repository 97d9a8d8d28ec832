"""Train encoders and heads on some people, and answer to others: told who speaks, calibrated to them, or both."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from calibrate.cache import content_of, key_of
from calibrate.dataset import Part, read_whole, require_labels
from calibrate.experiments.corpus_trainer import emotional_corpora, may_train
from calibrate.experiments.enrolment import room_of
from calibrate.experiments.personalisation.encoders import TOLD_BY, Heard, Setting, pretrained, vanilla
from calibrate.experiments.personalisation.findings import Findings, kept_findings
from calibrate.experiments.personalisation.gap import measure_gaps
from calibrate.experiments.personalisation.heads import Fitted, fit_head
from calibrate.experiments.personalisation.report import personalisation_report
from calibrate.experiments.pldc.categorical import Belief, restricted, score_conditions
from calibrate.experiments.pldc.experiment import enough_clips
from calibrate.experiments.pldc.figures import Case, Collected
from calibrate.experiments.pldc.skew import LEAST_CLIPS, draws
from calibrate.experiments.selection import join_parts
from calibrate.pretraining.recordings import Recordings
from calibrate.progress import progress_bar
from calibrate.recipe import Recipe, SpeakerPlace, read_recipe
from calibrate.report import Report
from calibrate.splits import make_splits
from calibrate.training.audio_store import AudioStore
from calibrate.workspace import Workspace
from edge.errors import UsageError

TEST_SHARE = 0.3
"""Of the speakers of each corpus."""
FINDINGS_NAME = "findings.json"
"""In the folder of a seed."""
DRAWS = 3
"""Enrolments of each kind and raised label, of each speaker."""


def measure_personalisation(
    workspace: Workspace,
    recipe_path: Path,
    out: Path,
    *,
    seeds: int,
    places: Sequence[SpeakerPlace],
    epochs: int | None,
    encoder: str | None,
) -> Report:
    """Compare encoders, and what is known of people, on speakers whom nothing has learned from.

    Args:
        workspace: data, cache and threads.
        recipe_path: corpora, encoder, head and pre-training.
        out: folder under which the encoders' checkpoints lie; what is finished there is not done again.
        seeds: draws of the speakers, and trainings.
        places: of the speakers' embeddings that are compared, beside TAPT.
        epochs: of every round; None: the recipe's.
        encoder: over the recipe's.

    Raises:
        UsageError: there are not enough speakers or recordings.
    """
    recipe = read_recipe(recipe_path).with_pretraining(None, epochs)
    whole = join_parts([part for part in read_whole(recipe, workspace.data) if part.paths])
    whole = whole.select(may_train(whole))
    recordings = Recordings.open(whole.utterances, AudioStore(recipe.pretraining.memory_gb * 1e9))
    known = {utterance.path for utterance in recordings.utterances}
    whole = whole.select(np.array([path in known for path in whole.paths], bool))
    findings = Findings()
    name = encoder or recipe.encoder.name
    files = [content_of(path) for path in whole.paths]
    with progress_bar() as progress:
        for seed in progress.track(range(recipe.seed, recipe.seed + seeds), description="seeds"):
            trial = recipe.model_copy(update={"seed": seed})
            setting = draw_setting(trial, name, recordings, whole, out, workspace.cache)
            described = key_of(trial.model_dump(mode="json"), name, list(places), files)
            measure = partial(_measure_seed, setting, places)
            findings.add(kept_findings(setting.folder / FINDINGS_NAME, described, measure))
    if not findings.scores.scores:
        raise UsageError(
            f"no speaker who is tested has {LEAST_CLIPS} clips of each of two labels beside those that tell who it is"
        )
    return personalisation_report(recipe, findings, seeds, name)


def draw_setting(
    recipe: Recipe, encoder_name: str, recordings: Recordings, whole: Part, out: Path, cache: Path
) -> Setting:
    """Draw who is learned from and who is tested, and by which recordings the latter are known.

    Raises:
        UsageError: a corpus has too few speakers, or there is one label only.
    """
    emotional = emotional_corpora(whole)
    if not emotional:
        raise UsageError("no corpus of the recipe has several labels")
    tested: set[str] = set()
    for corpus in emotional:
        utterances = whole.select(whole.corpora == corpus).utterances
        splits = make_splits(utterances, (1 - TEST_SHARE, 0.0, TEST_SHARE), recipe.seed)
        tested |= {speaker for speaker, split in splits.items() if split == "test"}
    part = whole.select(np.isin(whole.corpora, emotional))
    require_labels(part, recipe.labels)
    rng = np.random.default_rng([recipe.seed, 3])
    spoken_by = np.array([utterance.speaker for utterance in recordings.utterances])
    told_by = {}
    for speaker in sorted(tested):
        rows = np.flatnonzero(spoken_by == speaker)
        told_by[speaker] = np.sort(rng.permutation(rows)[: max(1, min(TOLD_BY, len(rows) // 3))])
    training = set(spoken_by.tolist()) - tested
    folder = out / f"seed-{recipe.seed}"
    return Setting(recipe, encoder_name, recordings, part, training, told_by, folder, cache)


def _measure_seed(setting: Setting, places: Sequence[SpeakerPlace]) -> Findings:
    torch.manual_seed(setting.recipe.seed)
    findings = Findings(tested=set(setting.told_by))
    plain = vanilla(setting)
    _score(findings.scores, setting, plain)
    findings.gaps += measure_gaps(setting, plain)
    for place in ("none", *places):
        heard, losses = pretrained(setting, place)
        for name, loss in losses.items():
            findings.losses[name].append(loss)
        for each in heard:
            _score(findings.scores, setting, each)
    return findings


def _score(scores: Collected, setting: Setting, heard: Heard) -> None:
    """Fit a head on the training speakers and score every test speaker, enrolled with labels in balance or not."""
    fitted = fit_head(setting, heard, np.isin(setting.part.speakers, list(setting.training)))
    for corpus in np.unique(setting.part.corpora):
        _score_corpus(scores, setting, heard.name, fitted, str(corpus))


def tested_rows(setting: Setting, corpus: str) -> np.ndarray:
    """Return which utterances of a corpus are tested, ``bool[n]``."""
    told = {setting.recordings.utterances[row].path for rows in setting.told_by.values() for row in rows}
    part = setting.part
    return np.array([
        utterance.corpus == corpus and utterance.speaker in setting.told_by and utterance.path not in told
        for utterance in part.utterances
    ])  # fmt: skip


def _score_corpus(scores: Collected, setting: Setting, name: str, fitted: Fitted, corpus: str) -> None:
    tested = tested_rows(setting, corpus)
    part, embeddings = setting.part.select(tested), fitted.embeddings[tested]
    own = np.unique(part.labels)
    room = room_of(fitted.model, embeddings, setting.recipe.seed)
    model = restricted(fitted.model, own)
    for speaker in np.unique(part.speakers):
        rows = enough_clips(part, str(speaker))
        if not len(rows):
            continue
        labels = np.searchsorted(own, part.labels[rows])
        for draw in draws(labels, len(own), str(speaker), DRAWS):
            scored = score_conditions(model, embeddings[rows], labels, draw, room, Belief())
            case = Case(name, "own labels", corpus, draw.kind)
            scores.add(case, str(speaker), scored, len(draw.enrolled))
