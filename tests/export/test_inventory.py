from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.graph.inventory import Inventory, count_traces

SAMPLES = 1_600


def written(path: Path, *nodes: onnx.NodeProto, **constants: np.ndarray) -> Path:
    """Write a graph that cuts the waveform into 160 frames of 10 and ends in ``out``."""
    frames = helper.make_node("Reshape", ["waveform", "frame_shape"], ["frames"])
    constants["frame_shape"] = np.array([0, -1, 10])
    inputs = [
        helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"]),
        helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
    ]
    outputs = [helper.make_tensor_value_info("out", TensorProto.UNDEFINED, None)]
    initialisers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph([frames, *nodes], "graph", inputs, outputs, initialisers)
    domains = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=9), path)
    return path


def product(left: str, right: str, out: str, kind: str = "MatMul") -> onnx.NodeProto:
    return helper.make_node(kind, [left, right], [out])


def test_float_products_and_operators_are_counted(tmp_path: Path) -> None:
    ones = np.ones((10, 10), np.float32)
    path = written(tmp_path / "g.onnx", product("frames", "w", "first"), product("first", "w", "out"), w=ones)
    found = Inventory.of(path, SAMPLES)
    assert found.opset == 20
    assert found.operators == {"MatMul": 2, "Reshape": 1}
    assert found.flops == {"fp32": 2 * 2 * 160 * 10 * 10}
    assert found.share("fp32") == 1
    assert found.share("int8") == 0
    assert found.foreign == []


def test_each_product_counts_for_the_type_it_is_computed_in(tmp_path: Path) -> None:
    path = written(
        tmp_path / "g.onnx",
        helper.make_node("DynamicQuantizeLinear", ["frames"], ["q", "s", "z"]),
        product("q", "w8", "integers", "MatMulInteger"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["left"]),
        helper.make_node("DequantizeLinear", ["w8", "one"], ["right"]),
        product("left", "right", "dequantised"),
        helper.make_node("Cast", ["frames"], ["half"], to=TensorProto.FLOAT16),
        product("half", "w16", "out"),
        w8=np.ones((10, 10), np.int8),
        w16=np.ones((10, 20), np.float16),
        one=np.array(1, np.float32),
    )
    found = Inventory.of(path, SAMPLES)
    unit = 2 * 160 * 10 * 10
    assert found.flops == {"int8": 2 * unit, "fp16": 2 * unit}
    assert found.share("int8") == found.share("fp16") == pytest.approx(0.5)


def test_the_front_end_is_counted_apart(tmp_path: Path) -> None:
    path = written(
        tmp_path / "g.onnx",
        product("frames", "w", "bands"),
        helper.make_node("Log", ["bands"], ["levels"]),
        product("levels", "w", "out"),
        w=np.ones((10, 10), np.float32),
    )
    found = Inventory.of(path, SAMPLES)
    assert found.front_flops == found.flops["fp32"] == 2 * 160 * 10 * 10
    assert found.share("fp32") == 1


def test_operators_of_one_run_time_are_named(tmp_path: Path) -> None:
    gelu = helper.make_node("FastGelu", ["frames"], ["out"], domain="com.microsoft")
    found = Inventory.of(written(tmp_path / "g.onnx", gelu), SAMPLES)
    assert found.foreign == ["com.microsoft::FastGelu"]
    assert found.flops == {}


def test_stack_traces_are_counted_in_every_graph(tmp_path: Path) -> None:
    absolute = helper.make_node("Abs", ["frames"], ["out"])
    written(tmp_path / "encoder.onnx", absolute)
    assert count_traces(tmp_path) == 0
    trace = absolute.metadata_props.add()
    trace.key, trace.value = "stack_trace", 'File "/home/ann/model.py", line 3, in forward\nFile "torch.py", line 1'
    written(tmp_path / "speaker.onnx", absolute)
    assert count_traces(tmp_path) == 2
