"""Another speaker encoder for a finished bundle; encoder, head and population stay as they are, byte for byte."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from calibrate.speakers.verifier import SpeakerModel
from edge.bundle import MANIFEST_NAME, SPEAKER_NAME, Bundle, FileRecord, Manifest, SpeakerRecord, sha256_of
from edge.cohort import COHORT_NAME, save_cohort
from edge.errors import ModelError
from export.bundle.card import CARD_NAME
from export.bundle.check import limit_size
from export.bundle.contents import speaker_record
from export.bundle.install import check_target, install
from export.speaker.ge2e import write_speaker


def replace_speaker(
    source: Path, speaker: SpeakerModel, target: Path, version: str, figures: dict[str, Any], max_mb: float | None
) -> Bundle:
    """Write a bundle with another speaker encoder, calibration and cohort to ``target``.

    Voiceprints of the old encoder do not fit the new one: who is enrolled must enrol again to be recognised.

    Args:
        source: finished bundle.
        speaker: what ``affectd-calibrate verification`` wrote.
        target: bundle folder, which may be ``source``.
        version: of the new bundle.
        figures: of the speaker encoder, for the manifest, with the command that gives them.
        max_mb: most megabytes of the whole bundle.

    Raises:
        ModelError: the bundle does not load, has no card to change, or is too large.
        UsageError: ``target`` holds something else than a bundle, or cannot be written.
    """
    check_target(target)
    old = Bundle.load(source)
    record = speaker_record(speaker)
    with tempfile.TemporaryDirectory(prefix="affectd-") as scratch:
        folder = Path(scratch, "bundle")
        shutil.copytree(old.folder, folder)
        write_speaker(folder / SPEAKER_NAME, speaker)
        (folder / SPEAKER_NAME).chmod(0o644)
        (folder / COHORT_NAME).unlink(missing_ok=True)
        if speaker.calibration.cohort is not None:
            save_cohort(folder / COHORT_NAME, speaker.calibration.cohort)
        _change_card(folder / CARD_NAME, old.manifest, record, version)
        metrics = old.manifest.metrics | {"speaker": figures}
        files = {
            path.name: FileRecord(sha256=sha256_of(path), bytes=path.stat().st_size)
            for path in sorted(folder.iterdir())
            if path.name != MANIFEST_NAME
        }
        manifest = old.manifest.model_copy(
            update={"version": version, "speaker": record, "metrics": metrics, "files": files}
        )
        (folder / MANIFEST_NAME).write_text(json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n")
        Bundle.load(folder)
        limit_size(folder, max_mb)
        install(folder, target)
    return Bundle.load(target)


def _change_card(path: Path, manifest: Manifest, record: SpeakerRecord, version: str) -> None:
    """Change title and speaker encoder in a model card, which names both exactly as the manifest does."""
    if manifest.speaker is None:
        raise ModelError(f"{path.parent}: has no speaker encoder to replace")
    card = path.read_text()
    for old, new in (
        (f"# {manifest.name} {manifest.version}\n", f"# {manifest.name} {version}\n"),
        (_described(manifest.speaker), _described(record)),
    ):
        if old not in card:
            raise ModelError(f"{path}: does not say {old.strip()!r}, as its manifest does")
        card = card.replace(old, new, 1)
    path.write_text(card)


def _described(speaker: SpeakerRecord) -> str:
    """Return how the card introduces a speaker encoder."""
    return f"{speaker.architecture} ({speaker.licence}): voiceprints of {speaker.voiceprint_dim} numbers."
