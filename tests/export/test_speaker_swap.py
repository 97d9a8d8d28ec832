"""Another speaker encoder for a finished bundle."""

from pathlib import Path

import numpy as np
import pytest

from calibrate.speakers.verifier import SpeakerModel
from edge.arrays import unit
from edge.bundle import Bundle, shipped_bundles
from edge.errors import ModelError
from edge.speaker import VoiceCalibration
from export.bundle.speaker_swap import replace_speaker

DEFAULT = shipped_bundles()["default"]


def model(voices: int = 24) -> SpeakerModel:
    cohort = unit(np.random.default_rng(0).standard_normal((voices, 416)).astype(np.float32))
    return SpeakerModel.of_onnx(VoiceCalibration(np.arange(6.0), cohort), DEFAULT / "speaker.onnx")


def test_everything_else_stays(tmp_path: Path) -> None:
    written = replace_speaker(DEFAULT, model(), tmp_path / "new", "4", {"command": "so"}, 20)
    old = Bundle.load(DEFAULT)
    for name in ("encoder.onnx", "head.safetensors", "population.safetensors"):
        assert written.manifest.files[name] == old.manifest.files[name]
    assert written.manifest.version == "4"
    assert written.manifest.metrics["speaker"] == {"command": "so"}
    assert written.manifest.metrics["corpora"] == old.manifest.metrics["corpora"]
    assert written.calibration is not None
    assert written.calibration.cohort is not None
    assert written.calibration.cohort.shape == (24, 416)
    assert (tmp_path / "new" / "MODEL_CARD.md").read_text().startswith("# default 4\n")


def test_a_verifier_keeps_its_cohort(tmp_path: Path) -> None:
    model().save(tmp_path)
    cohort = SpeakerModel.load(tmp_path).calibration.cohort
    assert cohort is not None
    assert cohort.shape == (24, 416)


def test_a_bundle_too_large_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="MB of at most 1"):
        replace_speaker(DEFAULT, model(), tmp_path / "new", "4", {}, 1)
    assert not (tmp_path / "new").exists()
