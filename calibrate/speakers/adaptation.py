"""What enrolment is worth: recognition of speakers never trained on, against the number and kind of enrolment clips."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import matplotlib as mpl
import numpy as np

from calibrate.dataset import Part, Rows, read_parts
from calibrate.metrics import unweighted_accuracy
from calibrate.run import load_run
from calibrate.speakers.factor_model import embed_part, population_of
from calibrate.splits import Split
from edge.adapt import VoiceProfile, adapted_probabilities
from edge.arrays import Matrix
from edge.errors import UsageError
from edge.head import Head
from edge.population import Population

mpl.use("Agg")
from matplotlib import pyplot as plt

Condition = Literal["unlabelled", "one-sided", "neutral", "labelled"]
Method = Literal["none", "naive", "profile"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
METHODS: tuple[Method, ...] = get_args(Method)
CLIPS = (0, 1, 2, 4, 8, 16)
DRAWS = 20
NAIVE_CLIPS = 3.0
"""The baseline subtracts ``Σ (z - mean) / (clips + NAIVE_CLIPS)``."""
PROTOCOL = (
    f"mean of {DRAWS} seeded draws of enrolment clips, tested on the speaker's other clips; of each clip what the "
    "device's segmenter keeps; torch; UA is the mean recall over the corpus's labels, its speakers pooled; none, naive "
    "and profile see the same test clips. unlabelled: drawn at random; one-sided: all of one emotion, mean over the "
    "emotions; neutral: known to be neutral; labelled: drawn at random, labels known. At least one clip of every "
    "emotion stays in the test, so that the smallest emotions enrol with fewer clips than the column says"
)

Predict = Callable[[Matrix], Rows]


@dataclass(frozen=True)
class Gain:
    """UA of one corpus under one kind of enrolment."""

    corpus: str
    condition: Condition
    clips: int
    ua: dict[Method, float]


@dataclass(frozen=True)
class Enrolment:
    """One draw: rows that enrol, and rows that are tested."""

    key: tuple[int, int]
    """The draw, and the emotion of a one-sided enrolment or -1."""
    enrolled: Rows
    tested: Rows


def evaluate_adaptation(
    run_folder: Path,
    data: Path,
    out: Path,
    *,
    split: Split = "test",
    encoder: str | None = None,
    cache: Path = Path("cache"),
) -> list[Gain]:
    """Measure a run's adaptation and write ``adaptation.md``, ``.json`` and ``.png`` to ``out``."""
    run = load_run(run_folder, encoder)
    parts = read_parts(run.recipe, data)
    source = run.source(cache)
    population = population_of(run, parts["train"], parts["validation"], source)
    if set(parts[split].speakers).intersection(run.speakers):
        raise UsageError(f"the {split} speakers were trained on; adaptation is measured on others")
    part, embeddings = embed_part(run, parts[split], source)
    output = run.classifier.output
    head = Head(output.weight.detach().cpu().numpy(), output.bias.detach().cpu().numpy(), run.temperature)
    gains, speakers = measure(population, head, part, embeddings)
    protocol = f"{split} speakers of {run.recipe.splits.file or 'a seeded draw'}, never trained on; {PROTOCOL}"
    write_adaptation(out, gains, speakers, protocol)
    return gains


def measure(
    population: Population,
    head: Head,
    part: Part,
    embeddings: Matrix,
    clips: Sequence[int] = CLIPS,
    draws: int = DRAWS,
) -> tuple[list[Gain], dict[str, float]]:
    """Return UA per corpus, condition and number of clips, and per speaker what 8 unlabelled clips gain in UA.

    Args:
        population: of the run.
        head: for strangers.
        part: utterances of speakers never trained on.
        embeddings: ``float32[n, dim]``, theirs.
        clips: numbers of enrolment clips.
        draws: seeded draws to take the mean of.
    """
    gains = []
    speaker_gains: dict[str, list[float]] = defaultdict(list)
    for corpus in np.unique(part.corpora):
        speakers = np.unique(part.speakers[part.corpora == corpus])
        for condition in CONDITIONS:
            for count in clips:
                pooled: dict[tuple[int, int], list[tuple[Rows, dict[Method, Rows]]]] = defaultdict(list)
                for speaker in speakers:
                    rows = np.flatnonzero(part.speakers == speaker)
                    for draw in enrolments(part.labels[rows], condition, count, draws, str(speaker)):
                        names = [
                            population.labels[label] if condition in ("neutral", "labelled") else None
                            for label in part.labels[rows[draw.enrolled]]
                        ]
                        predicted = _predict(population, head, embeddings[rows], draw, names)
                        true = part.labels[rows[draw.tested]]
                        pooled[draw.key].append((true, predicted))
                        if (condition, count) == ("unlabelled", 8):
                            better, before = (unweighted_accuracy(predicted[how], true) for how in ("profile", "none"))
                            speaker_gains[str(speaker)].append(better - before)
                gains.append(Gain(str(corpus), condition, count, _mean_ua(list(pooled.values()))))
    return gains, {speaker: float(np.mean(values)) for speaker, values in speaker_gains.items()}


def enrolments(labels: Rows, condition: Condition, count: int, draws: int, speaker: str) -> Iterator[Enrolment]:
    """Draw enrolments of one speaker with labels ``int64[n]``, neutral being 0; see ``PROTOCOL``."""
    everything = np.arange(len(labels))
    for draw in range(draws):
        rng = np.random.default_rng([draw, count, zlib.crc32(speaker.encode())])
        if condition in ("unlabelled", "labelled"):
            pools = {-1: everything}
        else:
            emotions = np.unique(labels) if condition == "one-sided" else [0]
            pools = {int(emotion): np.flatnonzero(labels == emotion) for emotion in emotions}
        for emotion, pool in pools.items():
            if len(pool) > 1:
                enrolled = rng.permutation(pool)[: min(count, len(pool) - 1)]
                yield Enrolment((draw, emotion), enrolled, np.setdiff1d(everything, enrolled))


def _predict(
    population: Population, head: Head, embeddings: Matrix, draw: Enrolment, names: Sequence[str | None]
) -> dict[Method, Rows]:
    enrolled, tested = embeddings[draw.enrolled], embeddings[draw.tested]
    profile = VoiceProfile.estimate(population, enrolled, names)
    offset = (enrolled - population.mean).sum(axis=0) / (len(enrolled) + NAIVE_CLIPS)
    probabilities: dict[Method, Matrix] = {
        "none": head.probabilities(tested),
        "naive": head.probabilities(tested - offset),
        "profile": adapted_probabilities(head, population, profile, tested),
    }
    return {method: shares.argmax(axis=1) for method, shares in probabilities.items()}


def _mean_ua(draws: Sequence[Sequence[tuple[Rows, dict[Method, Rows]]]]) -> dict[Method, float]:
    return {
        method: float(
            np.mean(
                [
                    unweighted_accuracy(
                        np.concatenate([predicted[method] for _, predicted in draw]),
                        np.concatenate([true for true, _ in draw]),
                    )
                    for draw in draws
                ]
            )
        )
        for method in METHODS
    }


def write_adaptation(out: Path, gains: Sequence[Gain], speakers: dict[str, float], protocol: str) -> None:
    """Write the table, the plot, and both as JSON."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "adaptation.md").write_text(adaptation_table(gains, speakers, protocol))
    described = {"protocol": protocol, "gains": [asdict(gain) for gain in gains], "speaker_gains": speakers}
    (out / "adaptation.json").write_text(json.dumps(described, indent=2) + "\n")
    draw_adaptation(out / "adaptation.png", gains)


def adaptation_table(gains: Sequence[Gain], speakers: dict[str, float], protocol: str) -> str:
    """Return UA as Markdown, a row a corpus and kind of enrolment, ``profile (naive)`` in the cells."""
    counts = sorted({gain.clips for gain in gains})
    lines = [f"UA by enrolment clips, in brackets naive mean subtraction. Protocol: {protocol}.", ""]
    lines += ["| corpus | enrolment | " + " | ".join(map(str, counts)) + " |", "|---|---|" + "---|" * len(counts)]
    for corpus, condition in dict.fromkeys((gain.corpus, gain.condition) for gain in gains):
        row = [gain for gain in gains if (gain.corpus, gain.condition) == (corpus, condition)]
        cells = [f"{gain.ua['profile']:.3f} ({gain.ua['naive']:.3f})" for gain in row]
        lines.append(f"| {corpus} | {condition} | " + " | ".join(cells) + " |")
    if speakers:
        worse = sum(gain < -0.03 for gain in speakers.values())
        name, least = min(speakers.items(), key=lambda item: item[1])
        lines += ["", f"With 8 unlabelled clips {worse} of {len(speakers)} speakers lose more than 3 points of UA; "]
        lines[-1] += f"the least gain is {100 * least:+.1f} points, {name}."
    return "\n".join(lines) + "\n"


def draw_adaptation(path: Path, gains: Sequence[Gain]) -> None:
    """Draw UA against the number of clips: a picture a corpus, a line a kind of enrolment, dashes for naive."""
    corpora = list(dict.fromkeys(gain.corpus for gain in gains))
    picture, axes = plt.subplots(
        1, len(corpora), figsize=(4.2 * len(corpora), 3.8), layout="constrained", squeeze=False
    )
    for place, corpus in zip(axes[0], corpora, strict=True):
        for index, condition in enumerate(CONDITIONS):
            row = [gain for gain in gains if (gain.corpus, gain.condition) == (corpus, condition)]
            counts = [gain.clips for gain in row]
            place.plot(counts, [gain.ua["profile"] for gain in row], f"C{index}.-", label=condition)
            place.plot(counts, [gain.ua["naive"] for gain in row], f"C{index}:", linewidth=1)
        place.set_xscale("symlog", base=2, linthresh=1)
        place.set_xticks(sorted({gain.clips for gain in gains}), sorted({str(gain.clips) for gain in gains}, key=int))
        place.set_title(corpus)
        place.set_xlabel("enrolment clips")
    axes[0][0].set_ylabel("UA, dotted: naive mean subtraction")
    axes[0][0].legend()
    picture.savefig(path, dpi=120)
    plt.close(picture)
