"""CREMA-D: 91 American actors, 6 emotions, 12 sentences, 4 levels (Cao et al., 2014)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from calibrate.corpora.base import GENDERS, Corpus, Gender, Utterance, code, fields, find_beside, read_rows
from edge.errors import UsageError

LAYOUT = "ACTOR_SENTENCE_EMOTION_LEVEL, such as 1001_IEO_DIS_LO.wav"
DEMOGRAPHICS = "VideoDemographics.csv"
VOTES = "summaryTable.csv"
SENTENCES = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}

_NAME = re.compile(r"([0-9]{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{1,2})")
_ACTORS = {str(actor): f"crema-d-{actor}" for actor in range(1001, 1092)}
_EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
_LETTERS = {name[0]: emotion for name, emotion in _EMOTIONS.items()}
# One file of the release, 1040_ITH_SAD_X.wav, spells the unspecified level with one X.
_LEVELS = {"LO": 0.0, "MD": 1.0, "HI": 2.0, "XX": None, "X": None}


@dataclass(frozen=True)
class Demographics:
    """One actor as ``VideoDemographics.csv`` describes them."""

    gender: Gender | None
    age: int
    """In years, at the recording."""
    race: str
    ethnicity: str


def parse(path: PurePath) -> Utterance:
    """Read ``ACTOR_SENTENCE_EMOTION_LEVEL``; the emotion is the one the actor meant to show."""
    actor, sentence, emotion, level = fields(_NAME, path, LAYOUT)
    return Utterance(
        path=Path(path),
        corpus="crema-d",
        speaker=code(_ACTORS, actor, "actor", path),
        emotion=code(_EMOTIONS, emotion, "emotion", path),
        intensity=code(_LEVELS, level, "level", path),
        text=code(SENTENCES, sentence, "sentence", path),
        sentence=sentence,
    )


def read_demographics(folder: Path) -> dict[str, Demographics]:
    """Return speaker → demographics, empty when ``VideoDemographics.csv`` is neither in nor above the folder."""
    table = find_beside(folder, DEMOGRAPHICS)
    if table is None:
        return {}
    speakers = {}
    for row in read_rows(table, ("ActorID", "Age", "Sex", "Race", "Ethnicity")):
        if not row["Age"].isdecimal():
            raise UsageError(f"{table}: actor {row['ActorID']}: age {row['Age']!r} is not a whole number of years")
        gender = GENDERS.get(row["Sex"].lower())
        speakers[f"crema-d-{row['ActorID']}"] = Demographics(gender, int(row["Age"]), row["Race"], row["Ethnicity"])
    return speakers


def read_votes(folder: Path) -> dict[str, str]:
    """Return name → what most listeners perceived in the voice alone, empty when ``summaryTable.csv`` is not there.

    It is looked for in the folder, above it, and in ``processedResults`` beside it, as in the release.
    """
    table = find_beside(folder, VOTES, f"processedResults/{VOTES}")
    rows = read_rows(table, ("FileName", "VoiceVote")) if table else []
    votes = {}
    for row in rows:
        letters = row["VoiceVote"].split(":")
        for letter in letters:
            if letter not in _LETTERS:
                raise UsageError(f"{table}: {row['FileName']}: vote {letter!r} is not one of {', '.join(_LETTERS)}")
        votes[row["FileName"]] = ":".join(_LETTERS[letter] for letter in letters)
    return votes


def annotator(folder: Path) -> Callable[[Utterance], Utterance]:
    """Add the actor's demographics and the listeners' votes."""
    speakers, votes = read_demographics(folder), read_votes(folder)

    def annotate(utterance: Utterance) -> Utterance:
        rated = replace(utterance, perceived=votes.get(utterance.path.stem))
        actor = speakers.get(utterance.speaker)
        if actor is None:
            return rated
        race = None if actor.race == "Unknown" else actor.race or None
        return replace(rated, gender=actor.gender, age=actor.age, race=race, ethnicity=actor.ethnicity or None)

    return annotate


CREMA_D = Corpus("crema-d", LAYOUT, tuple(_EMOTIONS.values()), parse, annotator, scales={"intensity": (0.0, 2.0)})
