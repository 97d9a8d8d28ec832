"""MSP-Podcast: natural speech from podcasts, labelled by listeners (Lotfian and Busso, 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from calibrate.corpora.table import Source, TableCorpus
from edge.errors import UsageError

LAYOUT = "Labels/labels_consensus.csv and Audios/MSP-PODCAST_0001_0008.wav"
LABELS = "labels_consensus.csv"

_REQUIRED = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender")
_SCALES = dict.fromkeys(("arousal", "valence", "dominance"), (1.0, 7.0))
_EMOTIONS = {
    "A": "anger",
    "S": "sadness",
    "H": "happiness",
    "U": "surprise",
    "F": "fear",
    "D": "disgust",
    "C": "contempt",
    "N": "neutral",
    "O": "other",
    "X": "no agreement",
}


def plain_row(row: Mapping[str, str]) -> dict[str, str]:
    """Turn a row of the label file into one of the plain CSV; arousal, valence and dominance keep their 1 to 7."""
    known = {column: "" if value == "Unknown" else value for column, value in row.items()}
    return {
        "path": known["FileName"],
        "speaker": known["SpkrID"],
        "emotion": _EMOTIONS.get(known["EmoClass"], known["EmoClass"]),
        "gender": known["Gender"],
        "valence": known["EmoVal"],
        "arousal": known["EmoAct"],
        "dominance": known["EmoDom"],
    }


def _locate(folder: Path) -> Source:
    """Accept the release's folder; files lying flat in one folder are accepted too."""
    table = next((path for path in (folder / "Labels" / LABELS, folder / LABELS) if path.is_file()), None)
    if table is None:
        raise UsageError(f"{folder}: holds no {LABELS}; expected {LAYOUT}")
    audio = folder / "Audios"
    return Source(table, audio if audio.is_dir() else folder, "msp-podcast")


MSP_PODCAST = TableCorpus("msp-podcast", LAYOUT, tuple(_EMOTIONS.values()), _REQUIRED, _locate, plain_row, _SCALES)
