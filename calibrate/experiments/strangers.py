"""What telling a head who speaks is worth for people it never trained on, against enrolment, from the same clips."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from calibrate.dataset import Part, Rows, read_parts
from calibrate.experiments.clip_counts import speakers_with_clips
from calibrate.experiments.enrolment import (
    DRAWS,
    LEAST_CLIPS,
    PURPOSE,
    Answer,
    enrolments,
    tally_of,
    ua_of_draws,
)  # fmt: skip
from calibrate.experiments.retraining import Retrainer
from calibrate.experiments.selection import held_out_folds
from calibrate.progress import progress_bar
from calibrate.recipe import Recipe, read_recipe
from calibrate.report import Note, Report, Table, deviation, interval, rounded
from calibrate.run import Run
from calibrate.speakers.factor_model import device_head, embed_part, fit_population
from calibrate.training.clip_mfcc import speaker_mfcc
from calibrate.training.heads import Classifier
from calibrate.training.sources import FeatureSource
from calibrate.workspace import Workspace
from edge.adapt import VoiceProfile, adapted_probabilities

CLIPS = 8
MEANING = {
    "untold": "the head is not told who speaks",
    "untold, enrolled": "and a profile of the clips is applied, as on the device",
    "learned, mean": "told a learned vector a training speaker; a stranger is the mean of all",
    "learned, nearest": "the same; a stranger is the training speaker whose mean MFCC is nearest to that of the clips",
    "MFCC, mean": "told the scaled mean MFCC; a stranger is the mean of all",
    "MFCC, own": "the same; a stranger is the mean MFCC of the clips",
}
SPEAKERS = {"untold": "none", "learned": "id", "MFCC": "mfcc"}

Predictions = dict[str, Rows]
"""Way of informing the head to predicted labels ``int64[tested]``."""
Spread = dict[str, Any]
"""Mean and deviation over draws, and interval over speakers."""


def measure_strangers(workspace: Workspace, recipe_path: Path, *, head: str, folds: int, encoder: str | None) -> Report:
    """Cross-validate a head without speakers, one that learns its speakers, and one that gets their mean MFCC.

    Raises:
        UsageError: a corpus has fewer speakers than folds, or nobody has clips enough.
    """
    recipe = read_recipe(recipe_path, head).with_finetune(0)
    parts = read_parts(recipe, workspace.data)
    trainer = Retrainer(recipe, encoder, workspace.cache, [parts["train"], parts["validation"]])
    whole = trainer.whole
    enough, left_out = speakers_with_clips(whole.corpora, whole.speakers, LEAST_CLIPS, PURPOSE)
    is_tested = np.isin(whole.speakers, enough)
    answers: list[Answer] = []
    with progress_bar() as progress:
        for held in progress.track(held_out_folds(whole, folds, recipe.seed), description="folds"):
            if (held & is_tested).any():
                answers += _answers(trainer, whole.select(~held), whole.select(held & is_tested))
    protocol = (
        f"recipe {recipe.name} with head {head}; {folds} folds over the {len(np.unique(whole.speakers))} training and "
        f"validation speakers of {recipe.splits.origin}, each heard by heads that were trained without them; "
        f"{CLIPS} unlabelled clips of each, drawn {DRAWS} times, tested on the speaker's other clips; UA of the "
        "corpus's speakers pooled, mean over the draws with its 95 % interval over speakers; what is spoken in each "
        "file; temperatures 1"
    )
    return strangers_report(_ua(answers), "; ".join([protocol, *left_out]))


def strangers_report(found: Mapping[str, Mapping[str, Spread]], protocol: str) -> Report:
    """Return the report that is ``strangers.md`` and ``.json``.

    Args:
        found: corpus to way of informing the head to UA.
        protocol: how the figures came about.
    """
    rows = [[way, *(_cell(ways[way]) for ways in found.values())] for way in MEANING]
    meaning = "\n".join(f"- {way}: {meaning}" for way, meaning in MEANING.items())
    return Report(
        ("strangers.md", "strangers.json"),
        f"UA of strangers, {CLIPS} clips",
        protocol,
        {"ua": found},
        [Table(("", *found), rows), Note(meaning, medium="file")],
    )


def _cell(found: Spread) -> str:
    return interval(found["mean"], *found["interval"]) if found["interval"] else f"{found['mean']:.3f}"


def _answers(trainer: Retrainer, train: Part, held: Part) -> list[Answer]:
    """Train on some speakers, and return the answers to the others: a speaker and draw of enrolment clips each."""
    runs = {}
    for name, speaker in SPEAKERS.items():
        recipe = _informed(trainer.recipe, speaker)
        runs[name], source = trainer.with_recipe(recipe).train(train, None, recipe.seed)
    voices = speaker_mfcc(train, trainer.clips)
    heads = _Heads(runs, source, train, np.stack([voices[name] for name in np.unique(train.speakers)]))
    found = []
    for speaker in np.unique(held.speakers):
        part = held.select(held.speakers == speaker)
        features = source.clean(part, spoken_only=True)[1]
        clips = np.stack([trainer.clips[path] for path in part.paths])
        embeddings = embed_part(runs["untold"], part, source)[1]
        for draw in enrolments(part.labels, "unlabelled", CLIPS, DRAWS, str(speaker)):
            predicted = heads.informed(features[draw.tested], clips[draw.enrolled].mean(axis=0))
            predicted["untold, enrolled"] = heads.enrolled(embeddings, draw.enrolled, draw.tested)
            found.append(Answer(str(part.corpora[0]), str(speaker), draw.key, part.labels[draw.tested], predicted))
    return found


def _informed(recipe: Recipe, speaker: str) -> Recipe:
    head = recipe.head.model_copy(update={"speaker": speaker, "scale_mfcc": True})
    return recipe.model_copy(update={"head": head})


class _Heads:
    """The three heads of a fold, and what they need to recognise a stranger."""

    def __init__(self, runs: Mapping[str, Run], source: FeatureSource, train: Part, voices: np.ndarray) -> None:
        self.runs, self.voices = runs, torch.from_numpy(voices)
        untold = runs["untold"]
        self.head = device_head(untold)
        part, embeddings = embed_part(untold, train, source)
        labels = untold.recipe.labels
        self.population = fit_population(embeddings, part, labels, self.head)

    def informed(self, features: Tensor, voice: np.ndarray) -> Predictions:
        """Answer to ``float32[n, layers, width]`` of one speaker with the mean MFCC ``float32[coefficients]``."""
        own = torch.from_numpy(voice)
        deviations = self.voices.std(0, correction=0) + 1e-5
        nearest = ((self.voices - own) / deviations).square().sum(1).argmin().expand(len(features))
        learned, measured = self.runs["learned"].classifier, self.runs["MFCC"].classifier
        with torch.inference_mode():
            logits = {
                "untold": self.runs["untold"].classifier(features),
                "learned, mean": learned(features),
                "learned, nearest": learned(features, nearest),
                "MFCC, mean": measured(features),
                "MFCC, own": _with_voice(measured, features, own),
            }
        return {way: answer.argmax(1).numpy() for way, answer in logits.items()}

    def enrolled(self, embeddings: np.ndarray, enrolled: Rows, tested: Rows) -> Rows:
        """Answer to some of one speaker's embeddings ``float32[n, dim]`` with the voice profile of others."""
        profile = VoiceProfile.estimate(self.population, self.head, embeddings[enrolled])
        shares = adapted_probabilities(self.head, embeddings[tested], profile.offset())
        return np.asarray(shares.argmax(axis=1), np.int64)


def _with_voice(classifier: Classifier, features: Tensor, voice: Tensor) -> Tensor:
    assert classifier.speaker is not None
    informed = classifier.features(features) + classifier.speaker.of(voice[None])
    return cast(Tensor, classifier.output(classifier.embed_features(informed)))


def _ua(answers: Sequence[Answer]) -> dict[str, dict[str, Spread]]:
    """Return UA by corpus and way, the speakers of a draw pooled: mean and deviation over the draws."""
    found: dict[str, dict[str, Spread]] = defaultdict(dict)
    for corpus in sorted({answer.corpus for answer in answers}):
        for way in MEANING:
            mine = [answer for answer in answers if answer.corpus == corpus]
            values, over = ua_of_draws(mine, way), tally_of(mine, way).interval()
            found[corpus][way] = rounded(
                {"mean": float(np.mean(values)), "deviation": deviation(values), "interval": over}
            )
    return found
