"""End to end: a household enrols, then talks; who speaks is recognised, and each with their own voice profile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from calibrate.bootstrap import Interval, Tally
from calibrate.dataset import Part, Rows, read_parts, require_speakers
from calibrate.experiments.clip_counts import speakers_with_clips
from calibrate.experiments.household_setup import HOUSEHOLD, HOUSEHOLD_CLIPS, STAYS, TURNS
from calibrate.progress import progress_bar
from calibrate.recipe import read_recipe
from calibrate.report import Report, Table, points
from calibrate.workspace import Workspace
from edge.adapt import VoiceProfile
from edge.analyze import whole_file_waveform
from edge.arrays import Integers
from edge.bundle import Bundle
from edge.people.conversation import Conversation
from edge.people.household import Household, Member
from edge.people.store.person import Consent, Person
from edge.recognizer import Encoding, Recognizer
from edge.settings import EncoderSettings, SpeakerSettings

DRAWS = 20
LEAST_GAIN = 0.01
PAUSE_S = 2.0
"""Between two utterances of a conversation."""
COLUMNS = (
    "corpus", "speakers", "UA, strangers", "UA, own profile", "UA, identified", "gain", "kept", "attributed", "right",
)  # fmt: skip
PROTOCOL = (
    f"the bundle through the device's code; mean of {DRAWS} seeded draws; households of up to {HOUSEHOLD} speakers of "
    f"a corpus, each enrolled with {HOUSEHOLD_CLIPS} random clips, unlabelled; their other clips as conversations of "
    f"{TURNS} utterances in which the last voice goes on {STAYS:.0%} of the time; open set, the settings' defaults; UA "
    "is the mean recall over the corpus's labels"
)


@dataclass(frozen=True)
class HouseholdFigures:
    """What one corpus's households came to."""

    speakers: int
    utterances: int
    ua_none: float
    """Everyone is a stranger."""
    ua_bound: float
    """Each is recognised with their own profile."""
    ua_identified: float
    """Each is recognised with the profile of whom they are taken for, if anyone."""
    attributed: float
    """Share of the utterances with a name."""
    right: float
    """Share of the names that are right."""
    gain: Interval | None = None
    """What identification adds to UA, 95 % interval over speakers; None for one."""

    @property
    def kept(self) -> float:
        """Share of the true profiles' gain that identification keeps; not a number where that is below a point."""
        gain = self.ua_bound - self.ua_none
        return (self.ua_identified - self.ua_none) / gain if gain >= LEAST_GAIN else float("nan")


def measure_households(workspace: Workspace, folder: Path, *, recipe_path: Path, split: str) -> Report:
    """Measure the whole chain on a bundle, with a speaker encoder, on the speakers of a recipe's split.

    Raises:
        UsageError: nobody is in the split, or nobody has clips enough to enrol with and one more.
    """
    recognizer = Recognizer(Bundle.load(folder), EncoderSettings(threads=workspace.threads))
    recognizer.load(voiceprints=True)
    bundle = recognizer.bundle
    recipe = read_recipe(recipe_path).model_copy(update={"labels": bundle.manifest.labels})
    part = require_speakers(read_parts(recipe, workspace.data), split)
    purpose = f"{HOUSEHOLD_CLIPS} to enrol with and one to say"
    speakers, left_out = speakers_with_clips(part.corpora, part.speakers, HOUSEHOLD_CLIPS + 1, purpose)
    part = part.select(np.isin(part.speakers, speakers))
    found = evaluate_households(bundle, part, encode_part(recognizer, part))
    return household_report(found, "; ".join([f"{split} speakers of {recipe.splits.origin}", PROTOCOL, *left_out]))


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
        part: utterances of speakers never trained on, more of each than one enrols with.
        encodings: theirs, with voiceprints.
        draws: to take the mean of.
    """
    found = {}
    for corpus in dict.fromkeys(part.corpora.tolist()):
        rows = np.flatnonzero(part.corpora == corpus)
        drawn = [_draw(bundle, part, encodings, rows, np.random.default_rng(seed)) for seed in range(draws)]
        found[corpus] = HouseholdFigures(
            speakers=len(np.unique(part.speakers[rows])),
            utterances=round(float(np.mean([len(one["true"]) for one in drawn]))),
            **{f"ua_{how}": _tally(drawn, how).ua for how in ("none", "bound", "identified")},
            attributed=float(np.mean([one["attributed"].mean() for one in drawn])),
            right=float(np.mean([one["right"].sum() / max(1, one["attributed"].sum()) for one in drawn])),
            gain=_tally(drawn, "identified").gain_interval(_tally(drawn, "none")),
        )
    return found


def _draw(
    bundle: Bundle, part: Part, encodings: Sequence[Encoding], rows: Rows, rng: np.random.Generator
) -> dict[str, Integers]:
    """Return what came of each utterance, ``int64[utterances]`` a column; its speaker is a row of all speakers."""
    everyone = np.unique(part.speakers).tolist()
    speakers = rng.permutation(np.unique(part.speakers[rows])).tolist()
    columns: dict[str, list[int]] = defaultdict(list)
    for start in range(0, len(speakers), HOUSEHOLD):
        clips = {
            speaker: rng.permutation(rows[part.speakers[rows] == speaker])
            for speaker in speakers[start : start + HOUSEHOLD]
        }
        household = _household(
            bundle, {name: [encodings[row] for row in mine[:HOUSEHOLD_CLIPS]] for name, mine in clips.items()}
        )
        for talk in _conversations({name: mine[HOUSEHOLD_CLIPS:].tolist() for name, mine in clips.items()}, rng):
            conversation = Conversation(household)
            now_s = 0.0
            for row in talk:
                encoding, name = encodings[row], str(part.speakers[row])
                start_s, now_s = now_s + PAUSE_S, now_s + PAUSE_S + encoding.duration_s
                recognition = conversation.recognize(encoding, start_s, now_s)
                conversation.follow(recognition)
                labels = bundle.manifest.labels
                columns["speaker"].append(everyone.index(name))
                columns["true"].append(int(part.labels[row]))
                columns["identified"].append(labels.index(recognition.emotion))
                columns["none"].append(int(bundle.head.probabilities(encoding.embedding[None]).argmax()))
                columns["bound"].append(_bound(household, name, encoding))
                columns["attributed"].append(int(recognition.speaker is not None))
                columns["right"].append(int(recognition.speaker is not None and recognition.speaker.name == name))
    return {key: np.array(values, np.int64) for key, values in columns.items()}


def _tally(drawn: Sequence[dict[str, Integers]], how: str) -> Tally:
    """Count the answers of all draws by draw and speaker."""
    true = np.concatenate([one["true"] for one in drawn])
    right = np.concatenate([one[how] for one in drawn]) == true
    speakers = np.concatenate([one["speaker"] for one in drawn]).astype(np.str_)
    return Tally.of(right, true, speakers, np.repeat(np.arange(len(drawn)), [len(one["true"]) for one in drawn]))


def _household(bundle: Bundle, enrolments: dict[str, list[Encoding]]) -> Household:
    """Return a household that is only in memory."""
    household = Household(bundle, SpeakerSettings())
    for name, clips in enrolments.items():
        person = Person(name=name, consent=Consent(text_version="evaluation", how="--yes"))
        profile = VoiceProfile.estimate(bundle.population, bundle.head, np.stack([clip.embedding for clip in clips]))
        prints = np.stack([clip.voiceprint for clip in clips if clip.voiceprint is not None])
        household.members[name] = Member(person, profile, prints)
    return household


def _bound(household: Household, name: str, encoding: Encoding) -> int:
    bundle, profile = household.bundle, household.voice_profile(name)
    assert profile is not None
    shares = bundle.head.probabilities((encoding.embedding - profile.offset())[None])
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


def household_report(found: dict[str, HouseholdFigures], protocol: str) -> Report:
    """Return the report that is ``household.md`` and ``.json``."""
    rows = [
        (
            corpus, row.speakers, row.ua_none, row.ua_bound, row.ua_identified,
            points(row.ua_identified - row.ua_none, *(row.gain or ())), row.kept, row.attributed, row.right,
        )
        for corpus, row in found.items()
    ]  # fmt: skip
    caption = "gain: of identified over strangers, in points, 95 % over speakers; kept: of what one's own profile gains"
    content = {"corpora": {name: asdict(row) for name, row in found.items()}}
    table = Table(COLUMNS, rows, caption=caption)
    return Report(("household.md", "household.json"), "Households", protocol, content, [table])
