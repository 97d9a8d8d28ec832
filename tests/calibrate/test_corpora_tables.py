import csv
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from calibrate.corpora import read_corpus
from calibrate.corpora.base import read_rows
from calibrate.corpora.msp_podcast import plain_row
from calibrate.corpora.table import COLUMNS
from edge.errors import UsageError

HEADER = "path,speaker,emotion,gender,intensity,text,valence,arousal,dominance\n"
MSP_LABELS = """FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set
MSP-PODCAST_0001_0008.wav,N,2.2,4,4.4,127,Male,Test1
MSP-PODCAST_0001_0019.wav,X,3.0,3.4,3.2,127,Male,Test1
MSP-PODCAST_0002_0033.wav,C,5.0,2.6,5.6,Unknown,Female,Train
MSP-PODCAST_0003_0001.wav,H,5.0,6.0,5.0,8,Unknown,Train
"""


@pytest.fixture
def office(tmp_path: Path) -> Path:
    for name in ("b.wav", "clips/a.wav"):
        clip(tmp_path / name)
    return tmp_path / "office.csv"


def clip(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(800, np.float32), 16_000)


def test_a_plain_table(office: Path) -> None:
    office.write_text(HEADER + 'b.wav,anna,Joy,F,,"Well, well",,,\nclips/a.wav,ben,anger,male,1.5,,2,-0.5,7\n')
    first, second = read_corpus("csv", office, strict=True).utterances
    assert (first.path, first.corpus, first.speaker) == (office.parent / "b.wav", "office", "office-anna")
    assert (first.emotion, first.gender, first.text, first.intensity) == ("Joy", "f", "Well, well", None)
    assert (second.path, second.gender, second.intensity) == (office.parent / "clips" / "a.wav", "m", 1.5)
    assert (second.valence, second.arousal, second.dominance) == (2.0, -0.5, 7.0)


def test_three_columns_suffice_and_others_are_ignored(office: Path) -> None:
    office.write_text("\ufeffspeaker, emotion, path, room\nanna, sad, b.wav, kitchen\n", encoding="utf-8")
    (utterance,) = read_corpus("csv", office.parent, strict=True).utterances
    assert (utterance.speaker, utterance.emotion, utterance.gender) == ("office-anna", "sad", None)


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ("clips/a.wav,anna,angryy,,,,,,", "emotion 'angryy' is not known.*did you mean 'angry'"),
        ("clips/a.wav,,sad,,,,,,", "has no speaker"),
        ("clips/a.wav,anna,sad,man,,,,,", r"gender 'man' is not empty or one of f, m, female, male"),
        ("clips/a.wav,anna,sad,,,,high,,", "valence 'high' is not a finite number"),
        ("clips/a.wav,anna,sad,,,,,nan,", "arousal 'nan' is not a finite number"),
        ("clips/z.wav,anna,sad,,,,,,", "no such file"),
        ("clips,anna,sad,,,,,,", "'' is not one of .8svx, .aif"),
        ("office.csv,anna,sad,,,,,,", "'.csv' is not one of .8svx, .aif"),
        ("b.wav,anna,sad,,,,,,", "is listed twice"),
        (f"{'a' * 300}.wav,anna,sad,,,,,,", "no such file"),
        ("clips/a.wav", "has no speaker"),
    ],
)
def test_bad_rows_are_refused_by_number_with_the_rule(office: Path, row: str, rule: str) -> None:
    office.write_text(f"{HEADER}b.wav,anna,sad,,,,,,\n{row}\n")
    listing = read_corpus("csv", office)
    assert len(listing.utterances) == 1
    (refusal,) = listing.refused
    path = row.partition(",")[0]
    assert refusal.reason.startswith(f"office.csv, row 2: {path!r}: ")
    with pytest.raises(UsageError, match=rule):
        read_corpus("csv", office, strict=True)


def test_a_misspelt_column_is_an_error_with_the_nearest(office: Path) -> None:
    office.write_text("path,speakr,emotion\nb.wav,anna,sad\n")
    with pytest.raises(UsageError, match=r"no column 'speaker', only .*did you mean 'speakr'"):
        read_corpus("csv", office)


def test_a_folder_must_hold_exactly_one_table(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be a CSV file or a folder that holds exactly one; found none"):
        read_corpus("csv", tmp_path)
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text(HEADER)
    with pytest.raises(UsageError, match=r"found one\.csv, two\.csv"):
        read_corpus("csv", tmp_path)
    with pytest.raises(UsageError, match=r"holds no recording of csv; expected a CSV with columns path,speaker"):
        read_corpus("csv", tmp_path / "one.csv")


@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda text: (HEADER + text).encode("utf-8", "replace")))
def test_any_table_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    table = tmp_path_factory.getbasetemp() / "fuzz.csv"
    table.write_bytes(content)
    with pytest.raises(UsageError):
        read_corpus("csv", table)


@pytest.fixture
def msp_podcast(tmp_path: Path) -> Path:
    folder = tmp_path / "MSP-PODCAST-Publish-1.11"
    (folder / "Labels").mkdir(parents=True)
    (folder / "Labels" / "labels_consensus.csv").write_text(MSP_LABELS)
    for line in MSP_LABELS.splitlines()[1:]:
        clip(folder / "Audios" / line.split(",")[0])
    return folder


def test_msp_podcast(msp_podcast: Path) -> None:
    listing = read_corpus("msp-podcast", msp_podcast)
    neutral, disputed, happy = listing.utterances
    assert neutral.path == msp_podcast / "Audios" / "MSP-PODCAST_0001_0008.wav"
    assert (neutral.corpus, neutral.speaker, neutral.emotion) == ("msp-podcast", "msp-podcast-127", "neutral")
    assert (neutral.gender, neutral.arousal, neutral.valence, neutral.dominance) == ("m", 2.2, 4.0, 4.4)
    assert disputed.emotion == "no agreement"
    assert (happy.emotion, happy.gender) == ("happiness", None)
    (refusal,) = listing.refused
    assert refusal.path.name == "MSP-PODCAST_0002_0033.wav"
    assert "has no speaker" in refusal.reason


def convert_labels(labels: Path, audio: Path, plain: Path) -> None:
    """Write the label file as a plain CSV, with paths to the ``audio`` folder relative to where it is written."""
    with plain.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for row in map(plain_row, read_rows(labels, ("FileName",))):
            writer.writerow(row | {"path": os.path.relpath(audio / row["path"], plain.parent)})


def test_msp_podcast_converts_to_the_plain_table(msp_podcast: Path, tmp_path: Path) -> None:
    plain = tmp_path / "msp-podcast.csv"
    convert_labels(msp_podcast / "Labels" / "labels_consensus.csv", msp_podcast / "Audios", plain)
    converted, direct = read_corpus("csv", plain), read_corpus("msp-podcast", msp_podcast)
    assert converted.utterances == direct.utterances
    assert len(converted.refused) == len(direct.refused) == 1


def test_msp_podcast_without_labels_or_with_unknown_classes(msp_podcast: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no labels_consensus\.csv; expected Labels/"):
        read_corpus("msp-podcast", tmp_path)
    labels = msp_podcast / "Labels" / "labels_consensus.csv"
    labels.write_text(MSP_LABELS.replace(",H,", ",Q,"))
    with pytest.raises(UsageError, match=r"row 4: .*emotion 'Q' is not known"):
        read_corpus("msp-podcast", msp_podcast, strict=True)
