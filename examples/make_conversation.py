"""Make the example conversation: ``python examples/make_conversation.py DATA examples`` (see README.md).

Clips are chosen by a rule that knows nothing of any model, and joined over one quiet room tone.
"""

from __future__ import annotations

import csv
import shutil
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer

from calibrate.corpora import Utterance, read_corpus
from calibrate.corpora.labels import EMOTIONS, to_label
from calibrate.splits import read_splits
from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.cli.kit.entry import new_app, run
from edge.errors import UsageError
from export.measure.recordings import MARGIN_S, room_tone, voiced_span

GENDERS = ("f", "m")
"""Who speaks in turn: the first test speaker of each, women first."""
TURN_EMOTIONS = EMOTIONS[:6]
SENTENCE, TAKE = "Kids are talking by the door", "01"
NAMES = ("Ann", "Ben")
"""That the people are enrolled under, in the order in which they begin."""
PAUSES_S = (0.6, 0.9, 1.3, 0.8, 1.1, 1.4, 1.0)
"""Before the first voice, between voices, and after the last."""
app = new_app("python examples/make_conversation.py", "Make the example conversation.", "")


@dataclass(frozen=True)
class Turn:
    """A line of the script."""

    start_s: float
    end_s: float
    speaker: str
    emotion: str
    corpus: str
    clip: str


@app.command()
def make(
    data: Annotated[Path, typer.Argument(help="Folder with ravdess/ and splits.csv.")],
    out: Annotated[Path, typer.Argument(help="Folder for conversation.flac and conversation.csv.")],
) -> None:
    """Write the conversation and its script, and for each person clips to enrol with."""
    utterances = choose(data)
    for name, clips in enrolment_clips(data, utterances).items():
        (out / "people" / name).mkdir(parents=True, exist_ok=True)
        for clip in clips:
            shutil.copyfile(clip.path, out / "people" / name / clip.path.name)
    samples, turns = join(utterances)
    soundfile.write(out / "conversation.flac", samples, SAMPLE_RATE_HZ, "PCM_16")
    with (out / "conversation.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Turn))
        writer.writerows(
            (f"{turn.start_s:.2f}", f"{turn.end_s:.2f}", turn.speaker, turn.emotion, turn.corpus, turn.clip)
            for turn in turns
        )


def choose(data: Path) -> list[Utterance]:
    """Return one clip per turn: one sentence, first take, strong intensity where the corpus has it (neutral has not).

    Raises:
        UsageError: the data lacks a clip or a test speaker that the rule asks for.
    """
    splits = read_splits(data / "splits.csv")
    # RAVDESS's calm is a second kind of our neutral.
    listed = [
        utterance
        for utterance in read_corpus("ravdess", data / "ravdess").utterances
        if splits.get(utterance.speaker) == "test" and utterance.emotion != "calm" and utterance.text == SENTENCE
    ]
    chosen = []
    for turn, emotion in enumerate(TURN_EMOTIONS):
        gender = GENDERS[turn % len(GENDERS)]
        speaker = min((utterance.speaker for utterance in listed if utterance.gender == gender), default="none")
        takes = [
            utterance
            for utterance in listed
            if utterance.speaker == speaker
            and to_label(utterance.emotion) == emotion
            and utterance.path.stem.split("-")[5] == TAKE
        ]
        if not takes:
            raise UsageError(f"{data}: no {emotion} clip of {SENTENCE!r}, take {TAKE}, by test speaker {speaker}")
        chosen.append(max(takes, key=lambda utterance: utterance.intensity or 0))
    return chosen


def enrolment_clips(data: Path, turns: list[Utterance]) -> dict[str, list[Utterance]]:
    """Return name and clips of who speaks: the other sentence, first take, normal intensity, each of eight emotions."""
    listed = read_corpus("ravdess", data / "ravdess").utterances
    found = {}
    for name, speaker in zip(NAMES, dict.fromkeys(turn.speaker for turn in turns), strict=True):
        found[name] = [
            utterance
            for utterance in listed
            if utterance.speaker == speaker
            and utterance.text != SENTENCE
            and utterance.intensity == 1
            and utterance.path.stem.split("-")[5] == TAKE
        ]
    return found


def join(utterances: list[Utterance]) -> tuple[Waveform, list[Turn]]:
    """Return ``float32[samples]`` (16 kHz) with the clips at their recorded level in one room, and who is where."""
    clips = [read_audio(utterance.path) for utterance in utterances]
    spans = [voiced_span(clip) for clip in clips]
    pauses = [round(pause_s * SAMPLE_RATE_HZ) for pause_s in PAUSES_S]
    margin = round(MARGIN_S * SAMPLE_RATE_HZ)
    fade = np.linspace(0, 1, margin, dtype=np.float32)
    joined = room_tone(sum(pauses) + sum(end - start for start, end in spans))
    turns, now = [], 0
    for utterance, clip, (start, end), pause in zip(utterances, clips, spans, pauses[:-1], strict=True):
        now += pause
        voice = np.pad(clip, margin)[start : end + 2 * margin].copy()
        voice[:margin] *= fade
        voice[-margin:] *= fade[::-1]
        joined[now - margin : now + end - start + margin] += voice
        turns.append(
            Turn(
                start_s=now / SAMPLE_RATE_HZ,
                end_s=(now + end - start) / SAMPLE_RATE_HZ,
                speaker=utterance.speaker,
                emotion=str(to_label(utterance.emotion)),
                corpus=utterance.corpus,
                clip=utterance.path.stem,
            )
        )
        now += end - start
    return joined, turns


if __name__ == "__main__":
    sys.exit(run(app, "python examples/make_conversation.py"))
