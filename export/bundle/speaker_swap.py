"""Another speaker encoder for a finished bundle; encoder, head and population stay as they are, byte for byte."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from calibrate.speakers.verifier import SpeakerModel
from edge.bundle import MANIFEST_NAME, SPEAKER_NAME, Bundle, FileRecord, sha256_of
from edge.cohort import COHORT_NAME, save_cohort
from edge.errors import ModelError
from export.bundle.card import CARD_NAME, with_speaker
from export.bundle.check import limit_size
from export.bundle.install import check_target, install
from export.bundle.who_speaks import speaker_record


def replace_speaker(source: Path, speaker: SpeakerModel, target: Path, version: str, max_mb: float | None) -> Bundle:
    """Write a bundle with another speaker encoder, calibration and cohort to ``target``.

    Voiceprints of the old encoder do not fit the new one: who is enrolled must enrol again to be recognised.

    Args:
        source: finished bundle.
        speaker: what ``affectd-calibrate verification`` wrote.
        target: bundle folder, which may be ``source``.
        version: of the new bundle.
        max_mb: most megabytes of the whole bundle.

    Raises:
        ModelError: the bundle does not load, has no card to change, or is too large.
        UsageError: ``target`` holds something else than a bundle, or cannot be written.
    """
    check_target(target)
    old = Bundle.load(source)
    with tempfile.TemporaryDirectory(prefix="affectd-") as scratch:
        folder = Path(scratch, "bundle")
        shutil.copytree(old.folder, folder)
        shutil.copyfile(speaker.onnx, folder / SPEAKER_NAME)
        (folder / SPEAKER_NAME).chmod(0o644)
        (folder / COHORT_NAME).unlink(missing_ok=True)
        if speaker.calibration.cohort is not None:
            save_cohort(folder / COHORT_NAME, speaker.calibration.cohort)
        card = folder / CARD_NAME
        try:
            card.write_text(with_speaker(card.read_text(), f"{old.manifest.name} {version}", speaker))
        except ValueError as error:
            raise ModelError(f"{old.folder / CARD_NAME}: {error}") from None
        metrics = {key: value for key, value in old.manifest.metrics.items() if key != "speaker"}
        metrics |= {"speaker": speaker.figures} if speaker.figures else {}
        files = {
            path.name: FileRecord(sha256=sha256_of(path), bytes=path.stat().st_size)
            for path in sorted(folder.iterdir())
            if path.name != MANIFEST_NAME
        }
        manifest = old.manifest.model_copy(
            update={"version": version, "speaker": speaker_record(speaker), "metrics": metrics, "files": files}
        )
        (folder / MANIFEST_NAME).write_text(json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n")
        Bundle.load(folder)
        limit_size(folder, max_mb)
        install(folder, target)
    return Bundle.load(target)
