"""Two models on the same utterances: is the one better for speakers in general, or for these by chance?

The speaker is the unit, since clips of one speaker are not independent: per speaker the difference of UA, its mean, a
sign-flip permutation test of no difference, and a bootstrap interval over speakers (Good 2005, "Permutation, Parametric
and Bootstrap Tests of Hypotheses").
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from calibrate.metrics import unweighted_accuracy
from calibrate.trained import Answers
from edge.errors import UsageError

mpl.use("Agg")
from matplotlib import pyplot as plt

EXACT_SPEAKERS = 16
"""Up to so many the permutation test goes through all sign flips; beyond, through ``DRAWS`` of them."""
DRAWS = 20_000
EVERYONE = "all speakers"
MEANING = "Gain: of B over A, mean over speakers, with its 95 % interval; better : worse: speakers"

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Two models on the same utterances of some speakers."""

    speakers: int
    utterances: int
    ua: tuple[float, float]
    """Of all utterances together, A and B."""
    speaker_ua: tuple[float, float]
    """Mean over speakers of their UA, A and B."""
    gain: float
    """Mean over speakers of UA of B minus UA of A."""
    low: float
    high: float
    """95 % bootstrap interval of the gain, over speakers."""
    p: float
    """Two-sided, of a gain at least as large when neither model is better; at best 2 / 2^speakers."""
    better: int
    """Speakers for whom B is better."""
    worse: int


def compare(a: Answers, b: Answers, seed: int = 0) -> tuple[dict[str, Comparison], dict[str, tuple[float, float]]]:
    """Compare per corpus, and over all speakers when there are several corpora; returns UA by speaker as well.

    Args:
        a: answers of the one model.
        b: answers of the other, with the same labels in the same order, to any of the same utterances.
        seed: of the draws.

    Raises:
        UsageError: the models could read no utterance in common.
    """
    a, b = in_common(a, b)
    part, first, second = a.part, a.probabilities.argmax(axis=1), b.probabilities.argmax(axis=1)
    by_speaker = {
        str(speaker): (
            unweighted_accuracy(first[rows], part.labels[rows]),
            unweighted_accuracy(second[rows], part.labels[rows]),
        )
        for speaker in np.unique(part.speakers)
        if (rows := part.speakers == speaker).any()
    }
    corpora = list(dict.fromkeys(part.corpora.tolist()))
    groups = {corpus: part.corpora == corpus for corpus in corpora}
    if len(corpora) > 1:
        groups[EVERYONE] = np.ones(len(part.labels), bool)
    found = {}
    for name, rows in groups.items():
        pairs = np.array([by_speaker[speaker] for speaker in np.unique(part.speakers[rows]).tolist()])
        gains = pairs[:, 1] - pairs[:, 0]
        low, high = bootstrap_interval(gains, seed)
        found[name] = Comparison(
            speakers=len(pairs),
            utterances=int(rows.sum()),
            ua=(
                unweighted_accuracy(first[rows], part.labels[rows]),
                unweighted_accuracy(second[rows], part.labels[rows]),
            ),
            speaker_ua=(float(pairs[:, 0].mean()), float(pairs[:, 1].mean())),
            gain=float(gains.mean()),
            low=low,
            high=high,
            p=sign_flip_test(gains, seed),
            better=int((gains > 0).sum()),
            worse=int((gains < 0).sum()),
        )
    return found, by_speaker


def in_common(a: Answers, b: Answers) -> tuple[Answers, Answers]:
    """Return both answers on the utterances that both could read, in the order of the first."""
    places = {path: row for row, path in enumerate(b.part.paths)}
    rows = [row for row, path in enumerate(a.part.paths) if path in places]
    if not rows:
        raise UsageError("the models have no readable utterance in common")
    kept = np.zeros(len(a.part.paths), bool)
    kept[rows] = True
    part = a.part.select(kept)
    return (
        Answers(part, a.probabilities[rows]),
        Answers(part, b.probabilities[[places[path] for path in part.paths]]),
    )


def sign_flip_test(differences: Shares, seed: int = 0) -> float:
    """Return the two-sided p of a mean difference that is zero in truth, by flipping the signs of ``float64[n]``.

    All flips for few speakers, which is exact; a seeded draw of them, itself counted as one, for many.
    """
    count = len(differences)
    if count <= EXACT_SPEAKERS:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        extra = 0
    else:
        signs = np.random.default_rng(seed).choice((-1, 1), size=(DRAWS, count))
        extra = 1
    # Rounding must not make a flip smaller than the sum that it equals.
    reached = np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12
    return float((reached.sum() + extra) / (len(signs) + extra))


def bootstrap_interval(values: Shares, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of the mean of ``float64[n]``, drawn with replacement (Efron 1979)."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(DRAWS, len(values)))].mean(axis=1)
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def write_comparison(
    out: Path,
    found: Mapping[str, Comparison],
    by_speaker: Mapping[str, tuple[float, float]],
    names: tuple[str, str],
    protocol: str,
) -> None:
    """Write ``comparison.md``, ``.json`` and ``.png`` to ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    text = markdown(found, by_speaker, names, protocol)
    (out / "comparison.md").write_text(text, encoding="utf-8")
    described = as_json(found, by_speaker, names, protocol)
    (out / "comparison.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    draw(out / "comparison.png", by_speaker, names)


def as_json(
    found: Mapping[str, Comparison],
    by_speaker: Mapping[str, tuple[float, float]],
    names: tuple[str, str],
    protocol: str,
) -> dict[str, object]:
    """Return everything as JSON values, rounded to four digits."""
    described = {"protocol": protocol, "a": names[0], "b": names[1]}
    corpora = {name: asdict(row) for name, row in found.items()}
    rounded: dict[str, object] = json.loads(
        json.dumps({"comparisons": corpora, "speaker_ua": dict(by_speaker)}),
        parse_float=lambda number: round(float(number), 4),
    )
    return described | rounded


COLUMNS = ("corpus", "speakers", "clips", "UA A", "UA B", "gain, points", "p", "better : worse")


def rows(found: Mapping[str, Comparison]) -> list[list[str]]:
    """Return the cells under ``COLUMNS``, a row a corpus."""
    return [
        [
            name,
            str(row.speakers),
            str(row.utterances),
            *(f"{share:.3f}" for share in row.ua),
            f"{100 * row.gain:+.1f} ({100 * row.low:+.1f} to {100 * row.high:+.1f})",
            f"{row.p:.4f}" if row.p >= 1e-4 else f"{row.p:.1e}",
            f"{row.better} : {row.worse}",
        ]
        for name, row in found.items()
    ]


def markdown(
    found: Mapping[str, Comparison],
    by_speaker: Mapping[str, tuple[float, float]],
    names: tuple[str, str],
    protocol: str,
) -> str:
    """Return the report as Markdown."""
    lines = [f"A: {names[0]}. B: {names[1]}.", "", f"Protocol: {protocol}.", ""]
    lines += [*_table(COLUMNS, rows(found)), "", f"{MEANING}."]
    lines += ["", *(reading(name, row) for name, row in found.items())]
    cells = [[speaker, *(f"{share:.3f}" for share in pair)] for speaker, pair in sorted(by_speaker.items())]
    lines += ["", "![UA by speaker](comparison.png)", "", *_table(("speaker", "UA A", "UA B"), cells)]
    return "\n".join(lines) + "\n"


def reading(name: str, row: Comparison) -> str:
    """Return what a row says, in a sentence."""
    least = 2.0 ** (1 - row.speakers)
    if row.p < 0.05:
        return f"{name}: {'B' if row.gain > 0 else 'A'} is better for speakers like these (p = {row.p:.2g})."
    if least > 0.05:
        return f"{name}: {row.speakers} speakers cannot show a difference: p cannot be below {least:.2g}."
    return f"{name}: no difference is shown (p = {row.p:.2g})."


def draw(path: Path, by_speaker: Mapping[str, tuple[float, float]], names: tuple[str, str]) -> None:
    """Draw UA of B against UA of A, a point a speaker."""
    corpora = list(dict.fromkeys(speaker.rpartition("-")[0] for speaker in by_speaker))
    picture, axes = plt.subplots(figsize=(5, 4.6), layout="constrained")
    least = math.floor(10 * min(min(pair) for pair in by_speaker.values())) / 10
    axes.plot((least, 1), (least, 1), color="0.6", linewidth=1)
    for corpus in corpora:
        pairs = [pair for speaker, pair in by_speaker.items() if speaker.rpartition("-")[0] == corpus]
        axes.scatter([a for a, _ in pairs], [b for _, b in pairs], label=corpus, s=22)
    axes.set_xlabel(f"UA of A: {names[0]}")
    axes.set_ylabel(f"UA of B: {names[1]}")
    axes.legend(title="a point a speaker")
    picture.savefig(path, dpi=120)
    plt.close(picture)


def _table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *cells)]
