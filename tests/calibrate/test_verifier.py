from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from calibrate.speakers.verifier import VERIFIER_NAME, SpeakerModel
from edge.errors import ModelError
from edge.speaker import FEATURES, VoiceCalibration
from helpers.tiny import tiny_encoder, tiny_speaker_encoder

CALIBRATION = VoiceCalibration(np.linspace(-1, 1, FEATURES))


@pytest.fixture
def brightness(tmp_path: Path) -> Path:
    path = tmp_path / "brightness.onnx"
    onnx.save(tiny_speaker_encoder(), path)
    return path


def test_an_onnx_file_is_copied_and_named(brightness: Path, tmp_path: Path) -> None:
    folder = tmp_path / "verifier"
    SpeakerModel.of_onnx(CALIBRATION, brightness).save(folder)
    again = SpeakerModel.load(folder)
    assert again.onnx == folder / "speaker.onnx"
    assert (again.calibration.weights == CALIBRATION.weights).all()
    assert again.onnx.read_bytes() == brightness.read_bytes()
    assert (again.dim, again.architecture, again.licence) == (2, "brightness.onnx", "not stated")
    again.save(folder)
    assert SpeakerModel.load(folder).dim == 2


def test_metadata_names_architecture_and_licence(brightness: Path, tmp_path: Path) -> None:
    model = onnx.load(brightness)
    onnx.helper.set_model_props(model, {"architecture": "Brightness 2", "licence": "MIT"})
    onnx.save(model, brightness)
    found = SpeakerModel.of_onnx(CALIBRATION, brightness)
    assert (found.architecture, found.licence) == ("Brightness 2", "MIT")


def test_a_graph_of_another_contract_is_refused(tmp_path: Path) -> None:
    onnx.save(tiny_encoder(), tmp_path / "emotion.onnx")
    (tmp_path / "text.onnx").write_text("not a model")
    for name, reason in (("emotion", r"outputs \{'embedding'.*affectd-export speaker"), ("text", "cannot load it")):
        with pytest.raises(ModelError, match=reason):
            SpeakerModel.of_onnx(CALIBRATION, tmp_path / f"{name}.onnx")


def test_another_onnx_file_than_the_calibrated_one_is_refused(brightness: Path, tmp_path: Path) -> None:
    folder = tmp_path / "verifier"
    SpeakerModel.of_onnx(CALIBRATION, brightness).save(folder)
    model = onnx.load(brightness)
    model.doc_string = "another"
    onnx.save(model, folder / "speaker.onnx")
    with pytest.raises(ModelError, match=r"not the file that verifier.safetensors was calibrated for"):
        SpeakerModel.load(folder)
    (folder / "speaker.onnx").unlink()
    with pytest.raises(ModelError, match="is missing"):
        SpeakerModel.load(folder)


@pytest.mark.parametrize(
    ("changes", "metadata", "reason"),
    [
        ({"voice.weights": np.zeros(3)}, {}, r"voice.weights must be \(6\) and finite; it is \(3,\)"),
        ({"voice.weights": np.full(FEATURES, np.nan)}, {}, "not finite"),
        ({"voice.weights": None}, {}, "voice.weights must be .* it is missing"),
        ({"voice.cohort": np.zeros((5, 3))}, {}, r"voice.cohort must be \(any, 2\)"),
        ({}, {"dim": "417"}, "says dim 417, but speaker.onnx gives 2"),
        ({}, {"dim": "many"}, "must name architecture, licence, dim, onnx_sha256"),
        ({}, {"onnx_sha256": ""}, "must name architecture, licence, dim, onnx_sha256"),
    ],
)
def test_damage_is_named(
    brightness: Path,
    changes: dict[str, np.ndarray | None],
    metadata: dict[str, str],
    reason: str,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "verifier"
    SpeakerModel.of_onnx(CALIBRATION, brightness).save(folder)
    with safe_open(folder / VERIFIER_NAME, "numpy") as file:
        known = file.metadata()
    tensors = load_file(folder / VERIFIER_NAME) | changes
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, folder / VERIFIER_NAME, known | metadata)
    with pytest.raises(ModelError, match=reason):
        SpeakerModel.load(folder)


def test_a_missing_or_torn_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="affectd-calibrate verification writes it"):
        SpeakerModel.load(tmp_path)
    (tmp_path / VERIFIER_NAME).write_bytes(b"torn")
    with pytest.raises(ModelError, match="cannot be read"):
        SpeakerModel.load(tmp_path)
