"""What manifest and model card say of a bundle's speaker encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from calibrate.report import Table
from calibrate.speakers.verifier import SpeakerModel
from edge.bundle import SpeakerRecord

NOBODY = "There is no speaker encoder: this bundle recognises nobody, but adapts to whom a source is bound.\n"
COLUMNS = {
    "equal_error_rate": "equal error rate, 4 clips", "named": "named", "names_right": "names right",
    "strangers_named": "strangers named",
}  # fmt: skip


def speaker_record(speaker: SpeakerModel) -> SpeakerRecord:
    """Return what the manifest says of a speaker encoder."""
    return SpeakerRecord(
        architecture=speaker.architecture,
        licence=speaker.licence,
        voiceprint_dim=speaker.dim,
        calibration=tuple(speaker.calibration.weights.tolist()),
    )


def who_speaks(speaker: SpeakerModel | None) -> str:
    """Return the section of the model card."""
    if speaker is None:
        return NOBODY
    cohort = speaker.calibration.cohort
    compared = "" if cohort is None else f", relative to {len(cohort.prints)} voices of other people,"
    lines = [
        f"{speaker.architecture} ({speaker.licence}): voiceprints of {speaker.dim} numbers. What a cosine of two of "
        f"them means{compared} was fitted on the training and validation speakers."
    ]
    if speaker.figures:
        lines += ["", f"`affectd-calibrate verification`: {speaker.figures['protocol']}.", ""]
        lines += _table(speaker.figures["corpora"])
        lines += ["", "Named: with a name, in a household of four who speak in turns while strangers may speak too."]
    return "\n".join(lines) + "\n"


def _table(corpora: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [(corpus, *(found[key] for key in COLUMNS)) for corpus, found in corpora.items()]
    return Table(("corpus", *COLUMNS.values()), rows).markdown()
