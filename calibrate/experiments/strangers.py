"""What telling a head who speaks is worth for people it never trained on, against enrolment, from the same clips."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from calibrate.dataset import Part, Rows, read_parts
from calibrate.experiments.crossvalidation import Retrainer, speaker_folds
from calibrate.metrics import unweighted_accuracy
from calibrate.progress import progress_bar
from calibrate.recipe import Recipe, read_recipe
from calibrate.run import Run
from calibrate.speakers.adaptation import DRAWS, enrolments
from calibrate.speakers.factor_model import embed_part, fit_population, learned_regulars
from calibrate.training.clip_mfcc import speaker_mfcc
from calibrate.training.heads import Classifier
from calibrate.training.sources import FeatureSource
from edge.adapt import VoiceProfile, adapted_probabilities
from edge.head import Head

NAME = "strangers"
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

Answers = dict[str, Rows]
"""Way of telling to predicted labels ``int64[tested]``."""


def measure_strangers(
    recipe_path: Path,
    data: Path,
    out: Path,
    *,
    head: str,
    folds: int,
    encoder: str | None,
    cache: Path,
    threads: int,
    json_only: bool,
) -> None:
    """Cross-validate the three heads, write ``strangers.md`` and ``.json`` to ``out`` and show them."""
    torch.set_num_threads(threads)
    recipe = read_recipe(recipe_path, head).with_finetune(0)
    parts = read_parts(recipe, data)
    trainer = Retrainer(recipe, encoder, cache, [parts["train"], parts["validation"]])
    whole = trainer.whole
    fold_of = speaker_folds(whole, folds, recipe.seed)
    answered: list[tuple[Rows, str, int, Answers]] = []
    with progress_bar() as progress:
        for fold in progress.track(range(folds), description="folds"):
            held = np.array([fold_of[str(speaker)] == fold for speaker in whole.speakers])
            answered += _answers(trainer, whole.select(~held), whole.select(held))
    found = _ua(answered)
    protocol = (
        f"recipe {recipe.name} with head {head}; {folds} folds over the {len(fold_of)} training and validation "
        f"speakers of {recipe.splits.file or 'a seeded draw'}, each heard by heads that were trained without them; "
        f"{CLIPS} unlabelled clips of each, drawn {DRAWS} times, tested on the speaker's other clips; UA of the "
        "corpus's speakers pooled, mean and deviation over the draws; what is spoken in each file; temperatures 1"
    )
    described = {"protocol": protocol, "ua": found}
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{NAME}.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    (out / f"{NAME}.md").write_text(markdown(found, protocol), encoding="utf-8")
    if json_only:
        print(json.dumps(described))
        return
    table = Table("", *found, title=f"strangers, {CLIPS} clips")
    for row in cells(found):
        table.add_row(*row)
    Console().print(table)
    print(f"report written to {out}")


def markdown(found: Mapping[str, Mapping[str, Any]], protocol: str) -> str:
    """Return the report as Markdown."""
    lines = ["# Telling a head who speaks", "", f"UA. Protocol: {protocol}.", ""]
    lines += [f"| {' | '.join(row)} |" for row in (["", *found], ["---"] * (len(found) + 1), *cells(found))]
    return "\n".join([*lines, "", *(f"- {name}: {meaning}" for name, meaning in MEANING.items())]) + "\n"


def cells(found: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Return a row a way of telling, a cell a corpus."""
    return [
        [name, *(f"{ways[name]['mean']:.3f} ± {ways[name]['deviation']:.3f}" for ways in found.values())]
        for name in MEANING
    ]


def _told(recipe: Recipe, speaker: str) -> Recipe:
    head = recipe.head.model_copy(update={"speaker": speaker, "scale_mfcc": True})
    return recipe.model_copy(update={"head": head})


def _answers(trainer: Retrainer, train: Part, held: Part) -> list[tuple[Rows, str, int, Answers]]:
    """Return true labels, corpus, draw of the enrolment clips and all answers, a speaker and draw each."""
    runs = {}
    for name, speaker in SPEAKERS.items():
        runs[name], source = trainer.with_recipe(_told(trainer.recipe, speaker)).train(train, None, trainer.recipe.seed)
    voices = speaker_mfcc(train, trainer.clips)
    hearing = _Hearing(runs, source, train, np.stack([voices[name] for name in np.unique(train.speakers)]))
    found = []
    for speaker in np.unique(held.speakers):
        part = held.select(held.speakers == speaker)
        features = source.clean(part, spoken_only=True)[1]
        clips = np.stack([trainer.clips[path] for path in part.paths])
        embeddings = embed_part(runs["untold"], part, source)[1]
        for draw in enrolments(part.labels, "unlabelled", CLIPS, DRAWS, str(speaker)):
            voice = clips[draw.enrolled].mean(axis=0)
            answers = hearing.told(features[draw.tested], voice) | hearing.enrolled(
                embeddings, draw.enrolled, draw.tested
            )
            found.append((part.labels[draw.tested], str(part.corpora[0]), draw.key[0], answers))
    return found


class _Hearing:
    """The three heads of a fold, and what they need to hear a stranger."""

    def __init__(self, runs: Mapping[str, Run], source: FeatureSource, train: Part, voices: np.ndarray) -> None:
        self.runs, self.voices = runs, torch.from_numpy(voices)
        untold = runs["untold"]
        output = untold.classifier.output
        self.head = Head(output.weight.detach().numpy(), output.bias.detach().numpy(), temperature=1.0)
        part, embeddings = embed_part(untold, train, source)
        labels = untold.recipe.labels
        self.population = fit_population(embeddings, part, labels, self.head.weight, learned_regulars(untold))

    def told(self, features: Tensor, voice: np.ndarray) -> Answers:
        """Answer to ``float32[n, layers, width]`` of one speaker with the mean MFCC ``float32[coefficients]``."""
        own = torch.from_numpy(voice)
        deviation = self.voices.std(0, correction=0) + 1e-5
        nearest = ((self.voices - own) / deviation).square().sum(1).argmin().expand(len(features))
        learned, measured = self.runs["learned"].classifier, self.runs["MFCC"].classifier
        with torch.inference_mode():
            logits = {
                "untold": self.runs["untold"].classifier(features),
                "learned, mean": learned(features),
                "learned, nearest": learned(features, nearest),
                "MFCC, mean": measured(features),
                "MFCC, own": _told_voice(measured, features, own),
            }
        return {way: answer.argmax(1).numpy() for way, answer in logits.items()}

    def enrolled(self, embeddings: np.ndarray, enrolled: Rows, tested: Rows) -> Answers:
        """Answer to some of one speaker's embeddings ``float32[n, dim]`` with the profile of others."""
        profile = VoiceProfile.estimate(self.population, embeddings[enrolled], [None] * len(enrolled))
        shares = adapted_probabilities(self.head, self.population, profile, embeddings[tested])
        return {"untold, enrolled": shares.argmax(axis=1)}


def _told_voice(classifier: Classifier, features: Tensor, voice: Tensor) -> Tensor:
    assert classifier.speaker is not None
    told = classifier.features(features) + classifier.speaker.of(voice[None])
    return cast(Tensor, classifier.output(classifier.embed_features(told)))


def _ua(answered: Sequence[tuple[Rows, str, int, Answers]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return UA by corpus and way, the speakers of a draw pooled: mean and deviation over the draws."""
    pooled: dict[tuple[str, int], list[tuple[Rows, Answers]]] = defaultdict(list)
    for true, corpus, draw, answers in answered:
        pooled[corpus, draw].append((true, answers))
    by_draw: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (corpus, _), rows in sorted(pooled.items()):
        true = np.concatenate([labels for labels, _ in rows])
        for way in MEANING:
            predicted = np.concatenate([answers[way] for _, answers in rows])
            by_draw[corpus][way].append(unweighted_accuracy(predicted, true))
    return {
        corpus: {
            way: {"mean": round(float(np.mean(values)), 4), "deviation": round(float(np.std(values, ddof=1)), 4)}
            for way, values in ways.items()
        }
        for corpus, ways in by_draw.items()
    }
