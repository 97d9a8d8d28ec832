from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from calibrate.encoders.pretrained import PooledEncoder
from calibrate.encoders.shapes import WhisperStudentShape
from calibrate.encoders.students import build_student
from calibrate.run import Run
from edge.buckets import Buckets
from edge.bundle import ENCODER_NAME
from edge.encoder import Encoder
from edge.errors import ModelError
from edge.settings import EncoderSettings
from export.graph import quantise
from export.graph.copies import quantise_before_copies
from export.graph.encoder_graph import OPSET, EmbeddingGraph, write_onnx
from export.graph.equalise import equalise
from export.graph.nodes import front_end
from export.graph.parity import batch_error, bucketed_embeddings, least_cosine, padding_errors, torch_embeddings
from export.graph.quantise import activation_extremes, calibration_feeds, quantise_int8, store_half
from export.graph.unmask import drop_masks
from helpers.graphs import DIM, Projected
from helpers.signals import speech_like

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
BUCKETS = Buckets((1.0, 2.0, 3.0))
SPEECH = [speech_like(duration_s, seed) for seed, duration_s in enumerate((0.4, 1.0, 1.7, 3.0))]


@pytest.fixture(scope="session")
def float_path(exported: object) -> Path:
    return exported.folder / ENCODER_NAME  # type: ignore[attr-defined, no-any-return]


@pytest.fixture(scope="session")
def int8_paths(float_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("int8")
    quantise_int8(float_path, folder / "dynamic.onnx")
    quantise_int8(float_path, folder / "static.onnx", calibration_feeds(SPEECH, BUCKETS))
    return {way: folder / f"{way}.onnx" for way in ("dynamic", "static")}


def operators(model: onnx.ModelProto, name: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == name]


def tensors(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def opened(path: Path, dim: int = 16) -> Encoder:
    encoder = Encoder(path, dim, BUCKETS, EncoderSettings(provider="cpu", threads=1))
    encoder.load()
    return encoder


@pytest.mark.parametrize("way", ["dynamic", "static"])
def test_products_with_constant_weights_become_int8_but_not_the_front_end(
    float_path: Path, int8_paths: dict[str, Path], way: str
) -> None:
    before, after = onnx.load(float_path), onnx.load(int8_paths[way])
    attention = 2  # of one layer: queries by keys, weights by values
    pooling = 2 * 2  # mean and deviation of two states
    front = [node for node in front_end(before.graph) if node.op_type in ("Conv", "MatMul")]
    assert len(front) >= 2, "Fourier and mel"
    assert [node.input for node in front] == [
        node.input for node in front_end(after.graph) if node.op_type in ("Conv", "MatMul")
    ]
    assert len(operators(after, "MatMulInteger")) == 2 + 6 + 1, "convolutions, a layer, the projection"
    assert len(operators(after, "MatMul") + operators(after, "Conv")) == len(front) + attention + pooling
    assert not operators(after, "Gemm") + operators(after, "ConvInteger") + operators(after, "QLinearConv")
    measuring = len(operators(after, "DynamicQuantizeLinear"))
    assert (measuring > 0) == (way == "dynamic")
    assert len(operators(after, "QuantizeLinear")) == (0 if way == "dynamic" else 7), "queries, keys and values share"


@pytest.mark.parametrize("way", ["dynamic", "static"])
def test_weights_are_int8_per_output_channel_and_symmetric(int8_paths: dict[str, Path], way: str) -> None:
    model = onnx.load(int8_paths[way])
    held = tensors(model)
    for node in operators(model, "MatMulInteger"):
        weight, zero = held[node.input[1]], held[node.input[3]]
        assert weight.data_type == TensorProto.INT8
        assert list(zero.dims) == [weight.dims[1]]
        assert not numpy_helper.to_array(zero).any()
        scale = held[f"{weight.name.removesuffix('_quantized')}_scale"]
        assert list(scale.dims) == [weight.dims[1]]
        assert len(np.unique(numpy_helper.to_array(scale))) > 1


def test_the_int8_graph_says_what_it_is(float_path: Path, int8_paths: dict[str, Path]) -> None:
    before = onnx.load(float_path)
    for path in int8_paths.values():
        after = onnx.load(path)
        assert after.producer_name == "affectd-export"
        assert after.producer_version == before.producer_version
        assert after.doc_string == before.doc_string == "whisper, layers [0, 1] pooled"
        assert [(opset.domain, opset.version) for opset in after.opset_import if not opset.domain] == [("", OPSET)]
        names = [value.name for value in (*after.graph.input, *after.graph.output)]
        assert names == ["waveform", "lengths", "embedding"]


@pytest.mark.parametrize("way", ["dynamic", "static"])
def test_int8_stays_close_and_feels_no_padding(run: Run, int8_paths: dict[str, Path], way: str) -> None:
    encoder = opened(int8_paths[way])
    expected = torch_embeddings(EmbeddingGraph.of(run), SPEECH)
    assert least_cosine(bucketed_embeddings(encoder, SPEECH), expected) > 0.97
    assert max(padding_errors(encoder, SPEECH).values()) < 0.02


def test_only_static_ranges_are_blind_to_batch_mates(int8_paths: dict[str, Path]) -> None:
    mates = [SPEECH[1], 30 * SPEECH[3], *SPEECH]
    dynamic, static = (batch_error(opened(int8_paths[way]), mates) for way in ("dynamic", "static"))
    assert static < 1e-4 < dynamic


def test_the_same_run_exports_to_the_same_bytes(
    run: Run, float_path: Path, int8_paths: dict[str, Path], tmp_path: Path
) -> None:
    found = {name: tmp_path / f"{name}.onnx" for name in ("float", "dynamic", "static")}
    # The process that exported has another hash seed.
    write_onnx(EmbeddingGraph.of(run), found["float"], f"{run.encoder_label}, layers {list(run.encoder.pooled)} pooled")
    assert found["float"].read_bytes() == float_path.read_bytes()
    quantise_int8(found["float"], found["dynamic"])
    assert found["dynamic"].read_bytes() == int8_paths["dynamic"].read_bytes()
    quantise_int8(float_path, found["static"], calibration_feeds(SPEECH, BUCKETS))
    assert found["static"].read_bytes() == int8_paths["static"].read_bytes()


def test_no_graph_tells_where_it_was_made(float_path: Path, int8_paths: dict[str, Path]) -> None:
    for path in (float_path, *int8_paths.values()):
        content = path.read_bytes()
        assert b'File "' not in content
        assert str(ROOT).encode() not in content


def spectral(path: Path, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Write samples in frames of 400 to |x| W1, log, W2, tanh, W3 and its mean; both families of weights are large."""
    weights = {
        "basis": np.abs(rng.standard_normal((400, 300))).astype(np.float32) / 400,
        "hidden": rng.standard_normal((300, 400)).astype(np.float32) / 300,
        "last": rng.standard_normal((400, 300)).astype(np.float32) / 20,
    }
    constants = weights | {"shape": np.array([0, -1, 400]), "floor": np.float32(1e-6), "one": np.array([1])}
    nodes = [
        helper.make_node("Reshape", ["waveform", "shape"], ["frames"]),
        helper.make_node("Abs", ["frames"], ["magnitudes"]),
        helper.make_node("MatMul", ["magnitudes", "basis"], ["bands"], name="spectrum"),
        helper.make_node("Add", ["bands", "floor"], ["positive"]),
        helper.make_node("Log", ["positive"], ["levels"]),
        helper.make_node("MatMul", ["levels", "hidden"], ["first"], name="first_product"),
        helper.make_node("Tanh", ["first"], ["bent"]),
        helper.make_node("MatMul", ["bent", "last"], ["second"], name="second_product"),
        helper.make_node("ReduceMean", ["second", "one"], ["embedding"], keepdims=0),
    ]
    inputs = [
        helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"]),
        helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
    ]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 300])]
    initialisers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "spectral", inputs, outputs, initialisers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9), path)
    return weights


@pytest.mark.parametrize("calibrated", [False, True])
def test_what_leads_to_a_logarithm_stays_as_it_is(tmp_path: Path, calibrated: bool) -> None:
    weights = spectral(tmp_path / "float.onnx", np.random.default_rng(0))
    feeds = calibration_feeds(SPEECH, BUCKETS) if calibrated else []
    quantise_int8(tmp_path / "float.onnx", tmp_path / "int8.onnx", feeds)
    model = onnx.load(tmp_path / "int8.onnx")
    held = tensors(model)
    np.testing.assert_array_equal(numpy_helper.to_array(held["basis"]), weights["basis"])
    assert [node.name for node in operators(model, "MatMul")] == ["spectrum"]
    quantised = [node.input[1] for node in operators(model, "MatMulInteger")]
    assert [name.partition("_")[0] for name in quantised] == ["hidden", "last"]
    found, expected = (
        bucketed_embeddings(opened(tmp_path / name, 300), SPEECH) for name in ("int8.onnx", "float.onnx")
    )
    assert least_cosine(found, expected) > 0.99


def test_a_graph_of_nothing_but_a_front_end_has_nothing_to_quantise(tmp_path: Path) -> None:
    spectral(tmp_path / "float.onnx", np.random.default_rng(0))
    model = onnx.load(tmp_path / "float.onnx")
    del model.graph.node[5:]
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("levels", TensorProto.FLOAT, ["batch", "time", 300]))
    onnx.save(model, tmp_path / "front.onnx")
    with pytest.raises(ModelError, match=r"front\.onnx: has no matrix product with constant weights"):
        quantise_int8(tmp_path / "front.onnx", tmp_path / "int8.onnx")


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=5))
def test_the_extremes_are_those_of_99_in_100_utterances_and_hold_zero(levels: list[float]) -> None:
    node = helper.make_node("Identity", ["waveform"], ["copy"])
    value = helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"])
    output = helper.make_tensor_value_info("copy", TensorProto.FLOAT, ["batch", "samples"])
    graph = helper.make_graph([node], "copy", [value], [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    feeds: list[dict[str, Any]] = [{"waveform": np.full((1, 3), level, np.float32)} for level in levels]
    low, high = activation_extremes(model, ["copy"], feeds)["copy"]
    np.testing.assert_allclose(low, [min(0.0, np.quantile(np.float32(levels), 0.01))] * 3, rtol=1e-5)
    np.testing.assert_allclose(high, [max(0.0, np.quantile(np.float32(levels), 0.99))] * 3, rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), masked=st.booleans(), shared=st.booleans(), elsewhere=st.booleans())
def test_equalising_changes_ranges_but_not_what_is_computed(
    seed: int, masked: bool, shared: bool, elsewhere: bool
) -> None:
    rng = np.random.default_rng(seed)
    constants = {
        "gamma": rng.uniform(-5, 5, 6).astype(np.float32) ** 3,
        "beta": rng.standard_normal(6).astype(np.float32),
        "left": rng.standard_normal((6, 4)).astype(np.float32),
        "right": (rng.standard_normal((6, 4)) * rng.uniform(0, 3, (6, 1))).astype(np.float32),
        "other": rng.standard_normal((6, 4)).astype(np.float32),
        "mask": np.array([[1], [1], [0]], np.float32),
    }
    normed = "kept" if masked else "normed"
    nodes = [
        helper.make_node("LayerNormalization", ["waveform", "gamma", "beta"], ["normed"], name="norm"),
        helper.make_node("MatMul", [normed, "left"], ["a"], name="a"),
        helper.make_node("MatMul", [normed, "left" if shared else "right"], ["b"], name="b"),
        helper.make_node("MatMul", ["waveform", "right"], ["c"], name="c"),
        helper.make_node("Sum", ["a", "b", "c"], ["embedding"]),
    ]
    if masked:
        nodes.insert(1, helper.make_node("Mul", ["normed", "mask"], ["kept"]))
    if elsewhere:
        nodes[-1:] = [
            helper.make_node("MatMul", [normed, "other"], ["d"], name="d"),
            helper.make_node("Sum", ["a", "b", "c", "d"], ["embedding"]),
        ]
    value = helper.make_tensor_value_info("waveform", TensorProto.FLOAT, [3, 6])
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [3, 4])
    initialisers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "norm", [value], [output], initialisers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    feed = {"waveform": rng.standard_normal((3, 6)).astype(np.float32)}
    before = computed(model, feed)
    ranges = equalise(model.graph, ["a", "b", "c"], activation_extremes(model, [normed, "waveform"], [feed]))
    onnx.checker.check_model(model)
    after = computed(model, feed)
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3 * np.abs(before).max())
    assert set(ranges) == {f"{normed}_alike" if elsewhere else normed, "waveform_alike"}
    for name, (low, high) in activation_extremes(model, list(ranges), [feed]).items():
        np.testing.assert_allclose((low.min(), high.max()), ranges[name], rtol=1e-4, atol=1e-5)
    read = {node.name: node.input[0] for node in model.graph.node}
    assert read["a"] == read["b"] in ranges
    assert read["c"] == "waveform_alike"
    assert not elsewhere or read["d"] == normed


def computed(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, feed)[0]
    return found


def test_large_tensors_are_stored_in_half_precision_except_the_front_end(
    float_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load(float_path)
    large = {name for name, tensor in tensors(model).items() if np.prod(tensor.dims) >= 2_000}
    spectral = {name for name in large if "front" in name}
    assert spectral, "the mel filters; the Fourier basis is a formula"
    monkeypatch.setattr(quantise, "HALF_MINIMUM", 2_000)
    store_half(model)
    store_half(model)
    onnx.checker.check_model(model, full_check=True)
    held = tensors(model)
    assert all(held[name].data_type == TensorProto.FLOAT for name in spectral)
    halves = {name for name, tensor in held.items() if tensor.data_type == TensorProto.FLOAT16}
    assert halves == {f"{name}_half" for name in large - spectral}
    assert len(halves) >= 2, "positions, a convolution"
    path = tmp_path / ENCODER_NAME
    onnx.save(model, path)
    assert path.stat().st_size < float_path.stat().st_size - 10_000
    found, expected = (bucketed_embeddings(opened(each), SPEECH) for each in (path, float_path))
    assert least_cosine(found, expected) > 0.9999
    assert np.abs(found - expected).max() < 1e-2 * np.abs(expected).max()


def test_small_tensors_stay_as_they_are(float_path: Path) -> None:
    model = onnx.load(float_path)
    before = model.SerializeToString(deterministic=True)
    store_half(model)
    assert model.SerializeToString(deterministic=True) == before


def padded_batch() -> dict[str, np.ndarray]:
    """A short and a long utterance, noise behind both."""
    waveform = np.random.default_rng(0).uniform(-1, 1, (2, 48_000)).astype(np.float32)
    lengths = np.array([len(SPEECH[0]), len(SPEECH[2])], np.int64)
    for row, speech in zip(waveform, (SPEECH[0], SPEECH[2]), strict=True):
        row[: len(speech)] = speech
    return {"waveform": waveform, "lengths": lengths}


def test_masks_are_dropped_only_where_padding_reaches_nothing_valid(float_path: Path) -> None:
    model = onnx.load(float_path)
    before = computed(model, padded_batch())
    assert drop_masks(model.graph) == 5 + 1, "of a layer, and of what enters it; those before the convolutions stay"
    onnx.checker.check_model(model)
    np.testing.assert_allclose(computed(model, padded_batch()), before, rtol=1e-4, atol=1e-5)
    assert drop_masks(model.graph) == 0


def test_masks_stay_where_attention_has_none(float_path: Path) -> None:
    model = onnx.load(float_path)
    made_by = {name: node for node in model.graph.node for name in node.output}
    (softmax,) = operators(model, "Softmax")
    softmax.input[0] = made_by[softmax.input[0]].input[0]
    assert drop_masks(model.graph) == 4, "those behind it: of what it mixes, of the feed-forward layer and at the end"


def test_copies_of_int8_are_those_of_float(int8_paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model = onnx.load(int8_paths["static"])
    made_by = {name: node for node in model.graph.node for name in node.output}
    copied = [made_by[node.input[0]] for node in operators(model, "MatMulInteger")]
    assert [node.op_type for node in copied].count("Concat") == 2, "both convolutions"
    before = model.SerializeToString(deterministic=True)
    quantise_before_copies(model.graph)
    assert model.SerializeToString(deterministic=True) == before


def test_quantising_before_copies_is_the_same_to_the_bit(
    float_path: Path, int8_paths: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantise, "quantise_before_copies", lambda graph: None)
    quantise_int8(float_path, tmp_path / "after.onnx", calibration_feeds(SPEECH, BUCKETS))
    found, expected = (
        computed(onnx.load(path), padded_batch()) for path in (int8_paths["static"], tmp_path / "after.onnx")
    )
    np.testing.assert_array_equal(found, expected)


def test_scales_pass_through_attention_and_copies(int8_paths: dict[str, Path]) -> None:
    divided = [node for node in onnx.load(int8_paths["static"]).graph.node if node.name.endswith("_alike_node")]
    assert len(divided) == 2 + 1 + 1, "both convolutions, the second product of the feed-forward layer, the projection"


@pytest.mark.parametrize("calibrated", [False, True])
def test_pairs_that_merge_do_not_feel_padding_in_int8(tmp_path: Path, calibrated: bool) -> None:
    """An odd token at the end has nobody to be averaged with but padding."""
    torch.manual_seed(0)
    shape = WhisperStudentShape(layers=2, width=64, heads=2, hidden=64, hop=160, positions=150, merge=True)
    graph = Projected(PooledEncoder(build_student(shape), (1, 2), 30.0)).eval()
    write_onnx(graph, tmp_path / "float.onnx", "merging")
    feeds = calibration_feeds(SPEECH, BUCKETS) if calibrated else ()
    quantise_int8(tmp_path / "float.onnx", tmp_path / "int8.onnx", feeds)
    encoder = opened(tmp_path / "int8.onnx", DIM)
    for samples in (9_600, 9_601, 9_920, 10_240, 12_345):
        speech = SPEECH[2][:samples]
        with torch.inference_mode():
            expected = graph(torch.from_numpy(speech)[None], torch.tensor([samples]))[0].numpy()
        alone, padded = (encoder.embed([speech], length)[0] for length in (samples, BUCKETS.samples[-1]))
        assert least_cosine(alone[None], expected[None]) > 0.99, samples
        np.testing.assert_allclose(padded, alone, atol=2e-2 * np.abs(alone).max(), err_msg=str(samples))
