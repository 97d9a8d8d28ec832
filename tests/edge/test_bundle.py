import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from edge.bundle import ENCODER_NAME, HEAD_NAME, MANIFEST_NAME, SPEAKER_NAME, Bundle, sha256_of, shipped_bundles
from edge.errors import ModelError
from edge.head import Head, SpeechCheck
from edge.population import POPULATION_NAME
from helpers.tiny import SPEAKER, tiny_bundle, write_manifest

CONTENT = (ENCODER_NAME, HEAD_NAME, POPULATION_NAME, SPEAKER_NAME)
FILES = (MANIFEST_NAME, *CONTENT)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
fuzz = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def copy(tmp_path: Path, bundle_folder: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "copy"))


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / MANIFEST_NAME).read_text())


def loads_or_is_refused(folder: Path) -> None:
    with suppress(ModelError):
        assert Bundle.load(folder).manifest.buckets_s


def test_a_bundle_shows_its_shapes_and_labels(bundle: Bundle) -> None:
    assert repr(bundle) == (
        "Bundle(tiny 0: loudness, fp32, waveform float32[batch, samples] -> embedding float32[batch, 3] "
        "-> 3 labels neutral, happy, angry)"
    )
    assert bundle.encoder_hash == sha256_of(bundle.encoder_path)


@pytest.mark.parametrize("name", ["default", "nano"])
def test_the_package_has_bundles_by_name(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped_bundles()[name].parts[-3:] == ("edge", "bundles", name)
    assert Bundle.load(Path(name)).manifest.name == name
    assert (Bundle.load().folder == shipped_bundles()[name]) == (name == "default")


def test_a_folder_goes_before_a_bundle_of_its_name(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(bundle.folder, tmp_path / "nano")
    monkeypatch.chdir(tmp_path)
    assert Bundle.load(Path("nano")).manifest.name == bundle.manifest.name
    with pytest.raises(
        ModelError, match=r"no bundle folder nan, and the package has default, nano \(did you mean 'nano'\?\)"
    ):
        Bundle.load(Path("nan"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema_version": 2}, "schema 2, this version reads 1"),
        ({"sample_rate_hz": 8000}, "sample rate 8000 Hz, only 16000 is run"),
        ({"labels": ["sad"]}, r"labels \('sad',\) are not two or more names"),
        ({"labels": ["sad", "sad", "happy"]}, "are not two or more names"),
        ({"labels": ["sad", "happy"]}, r"shape \(3, 3\), the manifest says \(2, 3\)"),
        ({"buckets_s": []}, "are not ascending"),
        ({"buckets_s": [2, 1]}, "are not ascending"),
        ({"buckets_s": [1e-9]}, "are not ascending"),
        ({"buckets_s": [float("nan")]}, "finite number"),
        ({"buckets_s": [8.0]}, "exceed the 4.0 s limit"),
        (
            {"files": {}},
            r"lists no encoder\.onnx and no head\.safetensors and no population",
        ),
        ({"speaker": SPEAKER | {"calibration": [1.0, 2.0]}}, r"speaker\.calibration: Tuple should have at least 6"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
    ],
)
def test_a_contradictory_manifest_is_refused(changes: dict[str, object], reason: str, copy: Path) -> None:
    write_manifest(copy, **changes)
    with pytest.raises(ModelError, match=reason):
        Bundle.load(copy)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", "sub/file", "x" * 300, "nul\0"])
def test_files_outside_of_the_folder_are_refused(name: str, copy: Path) -> None:
    record = {"sha256": "0" * 64, "bytes": 1}
    write_manifest(copy, files=manifest_of(copy)["files"] | {name: record})
    with pytest.raises(ModelError):
        Bundle.load(copy)


def test_a_missing_folder_suggests_the_nearest(copy: Path) -> None:
    with pytest.raises(ModelError, match=r"no bundle folder .*cpoy, .*\(did you mean '.*copy'\?\)"):
        Bundle.load(copy.with_name("cpoy"))
    for absent in (copy / MANIFEST_NAME, copy.with_name("x" * 300)):
        with pytest.raises(ModelError, match="no bundle folder"):
            Bundle.load(absent)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(name: str, copy: Path) -> None:
    (copy / name).unlink()
    with pytest.raises(ModelError, match=name):
        Bundle.load(copy)
    (copy / name).mkdir()
    with pytest.raises(ModelError, match=name):
        Bundle.load(copy)


@given(st.sampled_from(CONTENT), st.data())
@fuzz
def test_a_changed_byte_is_noticed(copy: Path, bundle_folder: Path, name: str, data: st.DataObject) -> None:
    content = bytearray((bundle_folder / name).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (copy / name).write_bytes(content)
    try:
        with pytest.raises(ModelError, match=rf"{name}: sha256 is"):
            Bundle.load(copy)
    finally:
        shutil.copy(bundle_folder / name, copy / name)


@given(st.sampled_from(FILES), st.data())
@fuzz
def test_a_cut_or_replaced_file_is_refused(copy: Path, bundle_folder: Path, name: str, data: st.DataObject) -> None:
    content = (bundle_folder / name).read_bytes()
    cut = st.integers(0, len(content) - 1).map(lambda end: content[:end])
    (copy / name).write_bytes(data.draw(cut | st.binary().filter(lambda other: other != content)))
    try:
        with pytest.raises(ModelError, match=name):
            Bundle.load(copy)
    finally:
        shutil.copy(bundle_folder / name, copy / name)


@given(st.data())
@fuzz
def test_any_field_of_the_manifest_may_be_damaged(copy: Path, bundle_folder: Path, data: st.DataObject) -> None:
    manifest = manifest_of(bundle_folder)
    node: Any = manifest
    while True:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if not (isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans())):
            break
        node = node[key]
    if data.draw(st.booleans()):
        node[key] = data.draw(JSON)
    else:
        del node[key]
    (copy / MANIFEST_NAME).write_text(json.dumps(manifest))
    loads_or_is_refused(copy)


@given(st.binary())
@fuzz
def test_any_bytes_as_a_head_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / HEAD_NAME
    path.write_bytes(content)
    with pytest.raises(ModelError, match=HEAD_NAME):
        Head.load(path)


SPEECH = {"speech_weight": np.ones(3, np.float32), "speech_bias": np.zeros(1, np.float32)}
GOOD = {"weight": np.ones((2, 3), np.float32), "bias": np.ones(2, np.float32), "temperature": np.ones(1, np.float32)}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"weight": np.ones(3, np.float32)}, "do not fit"),
        ({"bias": np.ones(3, np.float32)}, "do not fit"),
        ({"temperature": np.ones(2, np.float32)}, "do not fit"),
        ({"temperature": np.zeros(1, np.float32)}, "not positive"),
        ({"weight": np.full((2, 3), np.nan, np.float32)}, "not finite"),
        ({"temperature": np.full(1, np.inf, np.float32)}, "not positive"),
        ({"speech_weight": np.ones(3, np.float32)}, "come together"),
        ({"speech_bias": np.ones(1, np.float32)}, "come together"),
        (SPEECH | {"speech_weight": np.ones(2, np.float32)}, "does not fit"),
        (SPEECH | {"speech_weight": np.ones((3, 1), np.float32)}, "does not fit"),
        (SPEECH | {"speech_bias": np.ones(2, np.float32)}, "does not fit"),
        (SPEECH | {"speech_bias": np.full(1, np.nan, np.float32)}, "not finite"),
        (SPEECH | {"speech_weight": np.full(3, np.inf, np.float32)}, "not finite"),
    ],
)
def test_a_head_that_is_no_classifier_is_refused(changes: dict[str, np.ndarray], reason: str, tmp_path: Path) -> None:
    save_file(GOOD | changes, tmp_path / HEAD_NAME)
    with pytest.raises(ModelError, match=reason):
        Head.load(tmp_path / HEAD_NAME)


def test_a_head_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    save_file({"weight": GOOD["weight"]}, tmp_path / HEAD_NAME)
    with pytest.raises(ModelError, match="lacks bias, temperature"):
        Head.load(tmp_path / HEAD_NAME)


def test_probabilities_are_tempered_softmax_and_do_not_overflow() -> None:
    head = Head(np.array([[1.0], [-1.0]], np.float32), np.zeros(2, np.float32), temperature=2.0)
    probabilities = head.probabilities(np.array([[2.0], [1e4], [0.0]], np.float32))
    odds = np.exp(2.0)
    assert probabilities == pytest.approx(np.array([[odds / (1 + odds), 1 / (1 + odds)], [1, 0], [0.5, 0.5]]))


@pytest.mark.parametrize("speech", [None, SpeechCheck(np.array([1, -2, 3], np.float32), -0.5)])
def test_a_saved_bundle_reads_back(speech: SpeechCheck | None, tmp_path: Path) -> None:
    head = replace(Bundle.load(tiny_bundle(tmp_path / "again")).head, speech=speech)
    head.save(tmp_path / HEAD_NAME)
    found = Head.load(tmp_path / HEAD_NAME)
    assert np.array_equal(found.weight, head.weight)
    assert (found.speech is None) == (speech is None)
    if speech and found.speech:
        assert np.array_equal(found.speech.weight, speech.weight)
        assert found.speech.bias == speech.bias


@given(st.floats(-(2.0**100), 2.0**100, width=32), st.floats(-1e6, 1e6))
def test_the_probability_of_speech_is_one_for_any_number(value: float, bias: float) -> None:
    check = SpeechCheck(np.array([1.0], np.float32), bias)
    probability = check.probability(np.array([value], np.float32))
    assert 0 <= probability <= 1
    assert (probability >= 0.5) == (value + bias >= 0) or abs(value + bias) < 1e-9
