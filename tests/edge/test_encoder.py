import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from signals import speech_like
from tiny import tiny_encoder, write_manifest

from edge.buckets import Buckets
from edge.bundle import Bundle
from edge.encoder import Encoder, session_options
from edge.errors import ModelError
from edge.settings import EncoderSettings

BUCKETS = Buckets((1, 2, 4))


def encoder(path: Path, dim: int = 3, **settings: object) -> Encoder:
    return Encoder(path, dim, BUCKETS, EncoderSettings(**settings))


def save(path: Path, model: onnx.ModelProto) -> Path:
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def loaded(bundle: Bundle) -> Encoder:
    loaded = encoder(bundle.encoder_path)
    loaded.load()
    return loaded


def test_padding_to_any_bucket_and_any_company_changes_nothing(loaded: Encoder) -> None:
    waveforms = [speech_like(duration_s, seed) for seed, duration_s in enumerate((0.3, 0.7, 1.0))]
    for samples in BUCKETS:
        together = loaded.embed(waveforms, samples)
        assert together.shape == (3, 3)
        assert together.dtype == np.float32
        for waveform, embedding in zip(waveforms, together, strict=True):
            assert embedding == pytest.approx([np.abs(waveform).mean(), (waveform**2).mean(), 1], rel=1e-4)


def test_load_warms_every_bucket(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    warmed = []
    embed = Encoder.embed
    monkeypatch.setattr(
        Encoder, "embed", lambda self, waves, samples: warmed.append(samples) or embed(self, waves, samples)
    )
    encoder(bundle.encoder_path).load()
    assert warmed == list(BUCKETS)


def test_the_constructor_does_nothing_and_embed_needs_load() -> None:
    with pytest.raises(ModelError, match="embed before load"):
        encoder(Path("nowhere.onnx")).embed([np.zeros(5, np.float32)], 16_000)


@pytest.mark.parametrize("content", [b"", b"not a graph"])
def test_a_file_that_is_no_graph_is_a_model_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "encoder.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"encoder\.onnx: onnxruntime cannot load it"):
        encoder(path).load()


def test_a_graph_with_other_inputs_is_a_model_error(tmp_path: Path) -> None:
    model = tiny_encoder()
    model.graph.input[0].name = "audio"
    for node in model.graph.node:
        node.input[:] = ["audio" if name == "waveform" else name for name in node.input]
    with pytest.raises(ModelError, match=r"has inputs \{'audio'.* not waveform, lengths -> embedding"):
        encoder(save(tmp_path / "encoder.onnx", model)).load()


def test_an_embedding_of_another_size_is_a_model_error(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match=r"gives embeddings \(1, 3\) instead of \(1, 256\)"):
        encoder(bundle.encoder_path, dim=256).load()


def test_a_graph_that_fails_while_it_warms_up_is_a_model_error(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["lengths"], ["counts"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["waveform", "counts_of_two"], ["sum"]),
            helper.make_node("Mul", ["sum", "counts"], ["embedding"]),
        ],
        "mismatch",
        [
            helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"]),
            helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
        ],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor("counts_of_two", TensorProto.FLOAT, [2], [1, 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(ModelError, match="fails at 16000 samples"):
        encoder(save(tmp_path / "encoder.onnx", model)).load()


def test_an_encoder_that_is_verified_but_wrong_is_noticed_at_load(bundle_folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle_folder, tmp_path / "copy"))
    (copy / "encoder.onnx").write_bytes(b"broken")
    write_manifest(copy)
    wrong = Bundle.load(copy)
    with pytest.raises(ModelError, match="cannot load it"):
        encoder(wrong.encoder_path).load()


def test_a_required_provider_that_is_absent_is_a_model_error(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match="'tensorrt' was wanted, CPUExecutionProvider is in use"):
        encoder(bundle.encoder_path, provider="tensorrt", require_provider=True).load()


def test_the_session_is_a_quiet_neighbour() -> None:
    options = session_options(EncoderSettings(threads=3))
    assert options.intra_op_num_threads == 3
    assert options.inter_op_num_threads == 1
    assert not options.enable_cpu_mem_arena
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
