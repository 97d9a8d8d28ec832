"""End to end: a household enrols, then talks; its voices are told apart, and each is heard by who knows it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibrate.dataset import Part, Rows
from calibrate.metrics import unweighted_accuracy
from calibrate.progress import progress_bar
from calibrate.speakers.verification import STAYS
from edge.adapt import VoiceProfile, adapted_probabilities
from edge.analyze import whole_file_waveform
from edge.bundle import Bundle
from edge.people.conversation import Conversation
from edge.people.household import Household, Member
from edge.people.store.person import Consent, Person
from edge.recognizer import Encoding, Recognizer
from edge.settings import SpeakerSettings

HOUSEHOLD, CLIPS, TURNS, DRAWS = 4, 8, 5, 20
LEAST_GAIN = 0.01
PAUSE_S = 2.0
"""Between two utterances of a conversation."""
COLUMNS = ("corpus", "speakers", "UA, strangers", "UA, own profile", "UA, identified", "kept", "attributed", "right")
PROTOCOL = (
    f"the bundle through the device's code; mean of {DRAWS} seeded draws; households of up to {HOUSEHOLD} speakers of "
    f"a corpus, each enrolled with {CLIPS} random clips, unlabelled; their other clips as conversations of {TURNS} "
    f"utterances in which the last voice goes on {STAYS:.0%} of the time; open set, the settings' defaults; UA is the "
    "mean recall over the corpus's labels"
)


@dataclass(frozen=True)
class HouseholdFigures:
    """What one corpus's households came to."""

    speakers: int
    utterances: int
    ua_none: float
    """Everyone is a stranger."""
    ua_bound: float
    """Each is heard with their own profile."""
    ua_identified: float
    """Each is heard with the profile of whom they are taken for, if anyone."""
    attributed: float
    """Share of the utterances with a name."""
    right: float
    """Share of the names that are right."""

    @property
    def kept(self) -> float:
        """Share of the true profiles' gain that identification keeps; not a number where that is below a point."""
        gain = self.ua_bound - self.ua_none
        return (self.ua_identified - self.ua_none) / gain if gain >= LEAST_GAIN else float("nan")


def encode_part(recognizer: Recognizer, part: Part) -> list[Encoding]:
    """Return what the device's segmenter and encoders make of each utterance."""
    encodings = []
    with progress_bar() as progress:
        for path in progress.track(part.paths, description="encoding"):
            encodings += recognizer.encode([whole_file_waveform(path)], voiceprints=True)
    return encodings


def evaluate_households(
    bundle: Bundle, part: Part, encodings: Sequence[Encoding], draws: int = DRAWS
) -> dict[str, HouseholdFigures]:
    """Return figures per corpus; see ``PROTOCOL``.

    Args:
        bundle: with a speaker encoder.
        part: utterances of speakers never trained on.
        encodings: theirs, with voiceprints.
        draws: to take the mean of.
    """
    found = {}
    for corpus in dict.fromkeys(part.corpora.tolist()):
        rows = np.flatnonzero(part.corpora == corpus)
        drawn = [_draw(bundle, part, encodings, rows, np.random.default_rng(seed)) for seed in range(draws)]
        values = {key: float(np.mean([one[key] for one in drawn])) for key in drawn[0]}
        found[corpus] = HouseholdFigures(
            speakers=len(np.unique(part.speakers[rows])), utterances=round(values.pop("utterances")), **values
        )
    return found


def _draw(
    bundle: Bundle, part: Part, encodings: Sequence[Encoding], rows: Rows, rng: np.random.Generator
) -> dict[str, float]:
    speakers = rng.permutation(np.unique(part.speakers[rows])).tolist()
    heard: dict[str, list[int]] = defaultdict(list)
    for start in range(0, len(speakers), HOUSEHOLD):
        clips = {
            speaker: rng.permutation(rows[part.speakers[rows] == speaker])
            for speaker in speakers[start : start + HOUSEHOLD]
        }
        household = _household(bundle, {name: [encodings[row] for row in mine[:CLIPS]] for name, mine in clips.items()})
        for talk in _conversations({name: mine[CLIPS:].tolist() for name, mine in clips.items()}, rng):
            conversation = Conversation(household)
            now_s = 0.0
            for row in talk:
                encoding, name = encodings[row], str(part.speakers[row])
                start_s, now_s = now_s + PAUSE_S, now_s + PAUSE_S + encoding.duration_s
                recognition = conversation.recognize(encoding, start_s, now_s)
                labels = bundle.manifest.labels
                heard["true"].append(int(part.labels[row]))
                heard["identified"].append(labels.index(recognition.emotion))
                heard["none"].append(int(bundle.head.probabilities(encoding.embedding[None]).argmax()))
                heard["bound"].append(_bound(household, name, encoding))
                heard["attributed"].append(int(recognition.speaker is not None))
                heard["right"].append(int(recognition.speaker is not None and recognition.speaker.name == name))
    columns = {key: np.array(values, np.int64) for key, values in heard.items()}
    return {
        **{f"ua_{how}": unweighted_accuracy(columns[how], columns["true"]) for how in ("none", "bound", "identified")},
        "utterances": float(len(columns["true"])),
        "attributed": float(columns["attributed"].mean()),
        "right": float(columns["right"].sum() / max(1, columns["attributed"].sum())),
    }


def _household(bundle: Bundle, enrolments: dict[str, list[Encoding]]) -> Household:
    """Return a household that is only in memory."""
    household = Household(bundle, SpeakerSettings())
    for name, clips in enrolments.items():
        person = Person(name=name, consent=Consent(text_version="evaluation", how="--yes"))
        profile = VoiceProfile.estimate(bundle.population, np.stack([clip.embedding for clip in clips]))
        prints = np.stack([clip.voiceprint for clip in clips if clip.voiceprint is not None])
        household.members[name] = Member(person, profile, prints)
    return household


def _bound(household: Household, name: str, encoding: Encoding) -> int:
    bundle, profile = household.bundle, household.voice_profile(name)
    assert profile is not None
    shares = adapted_probabilities(bundle.head, bundle.population, profile, encoding.embedding[None])
    return int(shares.argmax())


def _conversations(clips: dict[str, list[int]], rng: np.random.Generator) -> Iterator[list[int]]:
    """Yield conversations until every clip was said once."""
    left = {name: list(mine) for name, mine in clips.items() if mine}
    while left:
        talk: list[int] = []
        speaker = str(rng.choice(list(left)))
        while left and len(talk) < TURNS:
            if speaker not in left or rng.random() >= STAYS:
                speaker = str(rng.choice(list(left)))
            talk.append(left[speaker].pop())
            left = {name: mine for name, mine in left.items() if mine}
        yield talk


def rows(found: dict[str, HouseholdFigures]) -> Iterator[list[str]]:
    """Yield the cells under ``COLUMNS``."""
    for corpus, row in found.items():
        shares = (row.ua_none, row.ua_bound, row.ua_identified, row.kept, row.attributed, row.right)
        yield [corpus, str(row.speakers), *("-" if np.isnan(share) else f"{share:.3f}" for share in shares)]


def households_table(found: dict[str, HouseholdFigures], protocol: str) -> str:
    """Return the figures as Markdown."""
    lines = [f"Protocol: {protocol}.", "", "| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows(found))]) + "\n"


def as_json(found: dict[str, HouseholdFigures], protocol: str) -> dict[str, Any]:
    """Return the figures for programs."""
    return {"protocol": protocol, "corpora": {name: asdict(row) for name, row in found.items()}}


def write_households(out: Path, found: dict[str, HouseholdFigures], protocol: str) -> None:
    """Write ``household.md`` and ``household.json``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "household.md").write_text(households_table(found, protocol))
    (out / "household.json").write_text(json.dumps(as_json(found, protocol), indent=2) + "\n")
