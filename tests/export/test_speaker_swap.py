"""Another speaker encoder for a finished bundle."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calibrate.speakers.verifier import SpeakerModel
from edge.arrays import unit
from edge.bundle import Bundle, sha256_of, shipped_bundles
from edge.cohort import Cohort
from edge.errors import ModelError
from edge.speaker import VoiceCalibration
from export.bundle.speaker_swap import replace_speaker

NAMED = {"equal_error_rate": 0.0431, "named": 0.9, "names_right": 0.99, "strangers_named": None}
FIGURES = {"protocol": "every corpus left out", "corpora": {"ravdess": NAMED}}
DEFAULT = shipped_bundles()["default"]


def model(voices: int = 24) -> SpeakerModel:
    cohort = Cohort(unit(np.random.default_rng(0).standard_normal((voices, 192)).astype(np.float32)), 0.6)
    found = SpeakerModel.of_onnx(VoiceCalibration(np.arange(6.0), cohort), DEFAULT / "speaker.onnx")
    return replace(found, figures=FIGURES)


def test_everything_else_stays(tmp_path: Path) -> None:
    written = replace_speaker(DEFAULT, model(), tmp_path / "new", "5", 20)
    old = Bundle.load(DEFAULT)
    for name in ("encoder.onnx", "head.safetensors", "population.safetensors"):
        assert written.manifest.files[name] == old.manifest.files[name]
    assert written.manifest.version == "5"
    assert written.manifest.metrics["speaker"] == FIGURES
    assert written.manifest.metrics["corpora"] == old.manifest.metrics["corpora"]
    assert written.calibration is not None
    assert written.calibration.cohort is not None
    assert written.calibration.cohort.prints.shape == (24, 192)
    card = (tmp_path / "new" / "MODEL_CARD.md").read_text()
    assert card.startswith("# default 5\n")
    assert (
        "voiceprints of 192 numbers. What a cosine of two of them means, relative to 24 voices of other people," in card
    )
    assert "`affectd-calibrate verification`: every corpus left out.\n" in card
    assert "| ravdess | 0.043 | 0.900 | 0.990 | - |\n" in card
    before = (DEFAULT / "MODEL_CARD.md").read_text()
    for part in ("## Training data", "## Figures", "## Limits"):
        start = before.index(part)
        assert before[start : start + 200] in card


def test_a_card_without_the_section_is_refused(tmp_path: Path) -> None:
    shutil.copytree(DEFAULT, tmp_path / "old")
    card, manifest = tmp_path / "old" / "MODEL_CARD.md", tmp_path / "old" / "bundle.json"
    card.write_text(card.read_text().replace("## Who speaks", "## Voices"))
    described = json.loads(manifest.read_text())
    described["files"][card.name] = {"sha256": sha256_of(card), "bytes": card.stat().st_size}
    manifest.write_text(json.dumps(described))
    with pytest.raises(ModelError, match=r"MODEL_CARD.md: has 1 titles and 0 sections '## Who speaks'"):
        replace_speaker(tmp_path / "old", model(), tmp_path / "new", "4", 20)


def test_a_verifier_keeps_its_cohort(tmp_path: Path) -> None:
    model().save(tmp_path)
    cohort = SpeakerModel.load(tmp_path).calibration.cohort
    assert cohort is not None
    assert cohort.prints.shape == (24, 192)


def test_a_bundle_too_large_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="MB of at most 1"):
        replace_speaker(DEFAULT, model(), tmp_path / "new", "4", 1)
    assert not (tmp_path / "new").exists()
