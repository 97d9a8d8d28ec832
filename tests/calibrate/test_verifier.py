from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from calibrate.speakers.verifier import VERIFIER_NAME, SpeakerModel
from calibrate.speakers.voices import HIDDEN, SPECTRUM_DIM, SpectrumProjection
from edge.errors import ModelError
from edge.speaker import FEATURES, VoiceCalibration
from helpers.tiny import tiny_encoder, tiny_speaker_encoder

CALIBRATION = VoiceCalibration(np.linspace(-1, 1, FEATURES))
METADATA = {"architecture": "a", "licence": "b", "dim": "416"}


@pytest.fixture
def projected() -> SpeakerModel:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((SPECTRUM_DIM, SPECTRUM_DIM)).astype(np.float32)
    nuisance = rng.standard_normal((2, HIDDEN)).astype(np.float32)
    return SpeakerModel.of_projection(CALIBRATION, SpectrumProjection(matrix[0], matrix, 0.25, nuisance))


@pytest.fixture
def brightness(tmp_path: Path) -> Path:
    path = tmp_path / "brightness.onnx"
    onnx.save(tiny_speaker_encoder(), path)
    return path


def test_a_projection_comes_back(projected: SpeakerModel, tmp_path: Path) -> None:
    projected.save(tmp_path / "verifier")
    again = SpeakerModel.load(tmp_path / "verifier")
    assert (again.calibration.weights == CALIBRATION.weights).all()
    assert again.projection is not None
    assert projected.projection is not None
    assert (again.projection.matrix == projected.projection.matrix).all()
    assert (again.projection.mean == projected.projection.mean).all()
    assert (again.projection.nuisance == projected.projection.nuisance).all()
    assert again.projection.weight == 0.25
    assert (again.dim, again.licence, again.onnx) == (416, "Apache-2.0", None)
    assert "GE2E" in again.architecture


def test_an_onnx_file_is_copied_and_named(brightness: Path, tmp_path: Path) -> None:
    folder = tmp_path / "verifier"
    SpeakerModel.of_onnx(CALIBRATION, brightness).save(folder)
    again = SpeakerModel.load(folder)
    assert again.onnx == folder / "speaker.onnx"
    assert again.onnx.read_bytes() == brightness.read_bytes()
    assert (again.dim, again.architecture, again.licence, again.projection) == (
        2,
        "brightness.onnx",
        "not stated",
        None,
    )
    again.save(folder)
    assert SpeakerModel.load(folder).dim == 2


def test_a_projection_takes_the_place_of_an_onnx_file(
    projected: SpeakerModel, brightness: Path, tmp_path: Path
) -> None:
    SpeakerModel.of_onnx(CALIBRATION, brightness).save(tmp_path / "verifier")
    projected.save(tmp_path / "verifier")
    assert [path.name for path in (tmp_path / "verifier").iterdir()] == [VERIFIER_NAME]


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
        ({"voice.weights": np.zeros(3)}, METADATA, r"voice.weights must be \(6\) and finite; it is \(3,\)"),
        ({"voice.weights": np.full(FEATURES, np.nan)}, METADATA, "not finite"),
        ({"projection.nuisance": np.zeros((2, 3))}, METADATA, r"must be \(any, 256\) and finite; it is \(2, 3\)"),
        ({"projection.matrix": None}, METADATA, "projection.matrix must be .* it is missing"),
        ({}, METADATA | {"dim": "417"}, "says dim 417, but GE2E with a projection gives 416"),
        ({}, METADATA | {"dim": "many"}, "must name architecture, licence and dim"),
        ({}, {}, "must name architecture, licence and dim"),
    ],
)
def test_damage_is_named(
    projected: SpeakerModel,
    changes: dict[str, np.ndarray | None],
    metadata: dict[str, str],
    reason: str,
    tmp_path: Path,
) -> None:
    projected.save(tmp_path)
    tensors = load_file(tmp_path / VERIFIER_NAME) | changes
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, tmp_path / VERIFIER_NAME, metadata)
    with pytest.raises(ModelError, match=reason):
        SpeakerModel.load(tmp_path)


def test_a_missing_or_torn_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="affectd-calibrate verification writes it"):
        SpeakerModel.load(tmp_path)
    (tmp_path / VERIFIER_NAME).write_bytes(b"torn")
    with pytest.raises(ModelError, match="cannot be read"):
        SpeakerModel.load(tmp_path)
