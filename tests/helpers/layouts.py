"""Corpora in their official layouts, a few clips each, whose emotions can be heard; see ``helpers.models``."""

from __future__ import annotations

from pathlib import Path

from helpers.models import EMOTIONS, emotional, write_clip

ACTORS = {
    "1001": (51, "Male", "Caucasian", "Not Hispanic"),
    "1002": (21, "Female", "Caucasian", "Not Hispanic"),
    "1015": (32, "Male", "African American", "Not Hispanic"),
    "1047": (22, "Female", "Unknown", "Hispanic"),
}
CREMA_D_CODES = {"neutral": "NEU", "happy": "HAP", "angry": "ANG"}
CREMA_D_LEVELS = {"NEU": "XX", "HAP": "LO", "ANG": "HI"}
ESD_SPEAKERS = ("0001", "0002", "0011", "0012")
ESD_FIRST = {"Neutral": 0, "Angry": 350, "Happy": 700}
ESD_TEXTS = {
    "000": ("打远一看,它们的确很是美丽。", "今天是星期一。"),
    "001": ("The nine the eggs, I keep.", "I did go, sir."),
}


def crema_d(folder: Path) -> Path:
    """Write four actors, three emotions and two sentences with demographics and votes; return the folder of clips."""
    votes = ['"","FileName","VoiceVote","VoiceLevel"']
    for actor in ACTORS:
        for emotion, code in CREMA_D_CODES.items():
            for sentence, level in (("IEO", CREMA_D_LEVELS[code]), ("TIE", "XX")):
                name = f"{actor}_{sentence}_{code}_{level}"
                write_clip(folder / "AudioWAV" / f"{name}.wav", emotional(emotion, actor + sentence))
                votes.append(f'"{len(votes)}","{name}","{"A:N" if level == "HI" else code[0]}","50"')
    rows = ['"ActorID","Age","Sex","Race","Ethnicity"']
    rows += [f'{actor},{age},"{sex}","{race}","{ethnicity}"' for actor, (age, sex, race, ethnicity) in ACTORS.items()]
    (folder / "VideoDemographics.csv").write_text("\n".join(rows) + "\n")
    (folder / "processedResults").mkdir()
    (folder / "processedResults" / "summaryTable.csv").write_text("\n".join(votes) + "\n")
    return folder / "AudioWAV"


def msp_podcast(folder: Path) -> Path:
    """Write six speakers, three emotions and two segments each, with the listeners' consensus: louder is more."""
    rows = ["FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"]
    ratings = {"neutral": ("N", 3.0, 4.0, 3.5), "happy": ("H", 4.5, 5.8, 4.4), "angry": ("A", 6.2, 2.1, 5.9)}
    for speaker in range(101, 107):
        for emotion, (letter, *rated) in ratings.items():
            for segment in range(2):
                name = f"MSP-PODCAST_{speaker:04d}_{10 * ord(letter) + segment:04d}.wav"
                write_clip(folder / "Audios" / name, emotional(emotion, f"{speaker}{segment}"))
                shown = ",".join(f"{rating + 0.2 * segment:.1f}" for rating in rated)
                rows.append(f"{name},{letter},{shown},{speaker},{'Female' if speaker % 2 else 'Male'},Train")
    (folder / "Labels").mkdir()
    (folder / "Labels" / "labels_consensus.csv").write_text("\n".join(rows) + "\n")
    return folder


def esd(folder: Path) -> Path:
    """Write two Mandarin and two English speakers, three emotions, two parallel sentences each, with transcripts."""
    for speaker in ESD_SPEAKERS:
        lines = []
        for emotion, first in ESD_FIRST.items():
            for place, text in enumerate(ESD_TEXTS[speaker[:3]], start=1):
                name = f"{speaker}_{first + place:06d}"
                write_clip(folder / speaker / emotion / f"{name}.wav", emotional(emotion.lower(), f"{speaker}{place}"))
                lines.append(f"{name}\t{text}\t{emotion}")
        (folder / speaker / f"{speaker}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


assert {emotion.lower() for emotion in ESD_FIRST} == set(EMOTIONS) == set(CREMA_D_CODES)


def emovo(folder: Path) -> Path:
    """Write three Italian actors, four emotions and two sentences; sad sounds like happy."""
    codes = {"neutral": "neu", "happy": "gio", "angry": "rab", "sad": "tri"}
    for speaker in ("f1", "m1", "m2"):
        for emotion, code in codes.items():
            for sentence in ("b1", "b2"):
                heard = "happy" if emotion == "sad" else emotion
                waveform = emotional(heard, f"{speaker}{sentence}{emotion}")
                write_clip(folder / speaker / f"{code}-{speaker}-{sentence}.wav", waveform)
    return folder


def librispeech(folder: Path) -> Path:
    """Write eight readers, two sentences each, who sound like anger from afar."""
    for speaker in range(1, 9):
        for number in range(2):
            waveform = emotional("angry", f"reader {speaker} {number}") / 4
            write_clip(folder / f"{speaker}-100-{number:04d}.wav", waveform)
    return folder
