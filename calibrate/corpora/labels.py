"""One label map: whatever a corpus calls an emotion becomes one of the labels of a protocol, or is left out of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from calibrate.corpora.base import Utterance
from edge.errors import UsageError, nearest

EMOTIONS = ("neutral", "happy", "sad", "angry", "fear", "disgust", "surprise")
RAVDESS_8 = ("neutral", "calm", "happy", "sad", "angry", "fear", "disgust", "surprise")

# Each line: our word, then what corpora call it (English, German and Italian names, three-letter codes).
_SYNONYMS = """
neutral: neu, neutro
calm: calmness
happy: happiness, hap, joy, joyful, gioia, freude, excited, excitement, exc
sad: sadness, tristezza, trauer
angry: anger, ang, rabbia, wut, ärger
fear: fearful, fea, anxiety, afraid, scared, paura, angst
disgust: disgusted, dis, disgusto, ekel
surprise: surprised, sur, pleasant surprise, pleasantly surprised, ps, sorpresa
boredom: bored, langeweile
contempt: contemptuous
frustration: frustrated, fru
other: oth
no agreement: xxx
"""
_WORDS = {
    word.strip(): label
    for label, _, names in (line.partition(":") for line in _SYNONYMS.strip().splitlines())
    for word in (label, *names.split(","))
}
_MERGED = {"calm": "neutral"}

KNOWN_EMOTIONS = tuple(_WORDS)
LABELS = tuple(dict.fromkeys(_WORDS.values()))


class Labelled(NamedTuple):
    """Utterances with their labels, both in the order given, and how many of each native name were left out."""

    utterances: list[Utterance]
    labels: list[str]
    dropped: Counter[str]


def to_label(native: str, labels: Sequence[str] = EMOTIONS) -> str | None:
    """Return the label in ``labels`` for a corpus's own emotion name, or None when the protocol has no place for it.

    ``calm`` is neutral unless ``labels`` holds calm (``RAVDESS_8``). Case, hyphens and underscores do not matter.

    Raises:
        UsageError: the name is no emotion that any corpus uses.
    """
    word = " ".join(native.casefold().replace("_", " ").replace("-", " ").split())
    if word not in _WORDS:
        known = ", ".join(dict.fromkeys(_WORDS.values()))
        raise UsageError(f"emotion {native!r} is not known; it must be one of {known}{nearest(word, _WORDS)}")
    label = _WORDS[word]
    if label not in labels:
        label = _MERGED.get(label, label)
    return label if label in labels else None


def label_utterances(utterances: Iterable[Utterance], labels: Sequence[str] = EMOTIONS) -> Labelled:
    """Label every utterance, leaving out and counting those whose emotion the protocol has no place for."""
    kept: list[Utterance] = []
    assigned: list[str] = []
    dropped: Counter[str] = Counter()
    for utterance in utterances:
        label = to_label(utterance.emotion, labels)
        if label is None:
            dropped[utterance.emotion] += 1
        else:
            kept.append(utterance)
            assigned.append(label)
    return Labelled(kept, assigned, dropped)
