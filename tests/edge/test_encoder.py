import logging
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge.buckets import Buckets
from edge.bundle import Bundle
from edge.encoder import Encoder, SpeakerEncoder, session_options
from edge.errors import ModelError
from edge.settings import EncoderSettings
from edge.tensorrt import Engines
from helpers.gpu import CPU, CUDA, TENSORRT, PretendedGpu, gpu
from helpers.signals import speech_like
from helpers.tiny import tiny_encoder, tiny_speaker_encoder, write_manifest

__all__ = ["gpu"]

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
    encoder(bundle.encoder_path).load(every_bucket=True)
    assert warmed == list(BUCKETS)
    warmed.clear()
    encoder(bundle.encoder_path).load()
    first, *_, last = BUCKETS
    assert warmed == [first, last], "on a CPU a new length costs nothing"


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


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("wanted", ["cuda", "tensorrt"])
def test_an_absent_gpu_is_told_in_one_line(
    wanted: str, bundle: Bundle, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    falling = encoder(bundle.encoder_path, provider=wanted)
    falling.load()
    assert falling.provider == CPU
    (line,) = warnings(caplog)
    assert line.startswith(f"provider '{wanted}' was wanted, CPUExecutionProvider is in use: the installed onnxruntime")
    assert capfd.readouterr().out == "", "events go there"


def test_auto_takes_cuda_and_says_so(gpu: PretendedGpu, bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        automatic = encoder(bundle.encoder_path)
        automatic.load()
    assert automatic.provider == CUDA
    assert gpu.first == [CUDA]
    (record,) = caplog.records
    assert record.getMessage() == f"inference runs on {CUDA}: the best that the installed onnxruntime offers"


def test_tensorrt_has_a_session_for_each_bucket(gpu: PretendedGpu, bundle: Bundle, tmp_path: Path) -> None:
    built = encoder(bundle.encoder_path, provider="tensorrt", max_batch=2)
    built.load()
    assert built.provider == TENSORRT
    assert gpu.first == [TENSORRT] * len(BUCKETS.samples)
    for requests, samples in zip(gpu.opened, BUCKETS, strict=True):
        assert list(requests) == [TENSORRT, CUDA, CPU]
        options = requests[TENSORRT]
        assert options["trt_profile_max_shapes"] == f"waveform:2x{samples},lengths:2"
        assert Path(options["trt_engine_cache_path"]).is_dir()
        assert Path(options["trt_timing_cache_path"]).is_dir()
        assert Path(options["trt_engine_cache_path"]).is_relative_to(tmp_path / "cache-home" / "affectd" / "engines")
        voices = [speech_like(0.5, seed) for seed in range(2)]
        assert built.embed(voices, samples)[0] == pytest.approx(built.embed(voices[:1], samples)[0])


@pytest.mark.parametrize(("max_batch", "refused"), [(1, (2, 16_000)), (8, (1, 16_001))])
def test_a_buckets_session_knows_its_shapes(
    max_batch: int, refused: tuple[int, int], gpu: PretendedGpu, bundle: Bundle
) -> None:
    opened = encoder(bundle.encoder_path, provider="tensorrt", max_batch=max_batch)
    session = opened.open_engine(Engines.of(opened.path, opened.settings), 16_000)
    shape = {node.name: node.shape for node in session.get_inputs()}
    assert shape == {"waveform": [1 if max_batch == 1 else "batch", 16_000], "lengths": shape["waveform"][:1]}
    with pytest.raises(Exception, match="invalid dimensions"):
        session.run(None, {"waveform": np.zeros(refused, np.float32), "lengths": np.ones(refused[0], np.int64)})


def test_engines_that_are_not_built_are_told_with_the_command(
    gpu: PretendedGpu, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        encoder(bundle.encoder_path, provider="tensorrt", max_batch=2).load()
    (line,) = warnings(caplog)
    assert line == (
        "3 of 3 TensorRT engines are not built yet, which takes minutes now; ahead of time: "
        f"affectd-export engines {bundle.folder} --set encoder.max_batch=2"
    )


def test_tensorrt_that_fails_gives_way_to_cuda(
    gpu: PretendedGpu, bundle: Bundle, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    gpu.failing = {TENSORRT: "no kernel image\nand more"}
    falling = encoder(bundle.encoder_path, provider="tensorrt")
    falling.load()
    assert falling.provider == CUDA
    assert gpu.first == [TENSORRT, CUDA]
    assert warnings(caplog)[1:] == [
        f"provider 'tensorrt' was wanted, {CUDA} is in use: TensorRT fails: no kernel image"
    ]
    assert falling.embed([speech_like(0.5)], 16_000).shape == (1, 3)
    assert capfd.readouterr().out == "", "events go there"


def test_everything_that_fails_gives_way_to_the_cpu(
    gpu: PretendedGpu, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.failing = {TENSORRT: "no kernel image", CUDA: "out of memory"}
    falling = encoder(bundle.encoder_path, provider="tensorrt")
    falling.load()
    assert gpu.first == [TENSORRT, CUDA, CPU]
    assert warnings(caplog)[1:] == [f"provider 'tensorrt' was wanted, {CPU} is in use: CUDA fails: out of memory"]
    with pytest.raises(ModelError, match=r"is in use: CUDA fails: out of memory; or set encoder\.require_provider"):
        encoder(bundle.encoder_path, provider="tensorrt", require_provider=True).load()


@pytest.mark.parametrize(("wanted", "missing", "found"), [("cuda", {CUDA}, CPU), ("tensorrt", {TENSORRT}, CUDA)])
def test_missing_libraries_are_told(
    wanted: str, missing: set[str], found: str, gpu: PretendedGpu, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.unloadable = missing
    falling = encoder(bundle.encoder_path, provider=wanted)
    falling.load()
    assert falling.provider == found
    assert "onnxruntime cannot load its libraries" in warnings(caplog)[-1]


def test_an_int8_graph_stays_on_the_cpu(gpu: PretendedGpu, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_encoder()
    model.graph.initializer.append(helper.make_tensor("weight", TensorProto.INT8, [1], [3]))
    model.graph.initializer.append(helper.make_tensor("scale", TensorProto.FLOAT, [], [0.5]))
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["weight", "scale"], ["dequantised"]))
    path = save(tmp_path / "encoder.onnx", model)
    with caplog.at_level(logging.INFO):
        for wanted in ("auto", "cuda"):
            kept = encoder(path, provider=wanted)
            kept.load()
            assert kept.provider == CPU
    assert [record.levelno for record in caplog.records] == [logging.INFO, logging.WARNING]
    assert all("encoder.onnx is int8, which is for CPUs" in record.getMessage() for record in caplog.records)
    with pytest.raises(ModelError, match=r"'tensorrt' was wanted, .* is int8, which is for CPUs"):
        encoder(path, provider="tensorrt", require_provider=True).load()
    assert gpu.first == [CPU] * 3


def test_a_graph_that_no_provider_loads_is_a_model_error(gpu: PretendedGpu, tmp_path: Path) -> None:
    path = tmp_path / "encoder.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(ModelError, match=r"encoder\.onnx: onnxruntime cannot load it"):
        encoder(path, provider="tensorrt").load()


@pytest.mark.parametrize(("wanted", "found"), [("auto", CPU), ("cpu", CPU), ("cuda", CUDA), ("tensorrt", CUDA)])
def test_the_speaker_encoder_never_goes_to_tensorrt(
    wanted: str, found: str, gpu: PretendedGpu, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save(tmp_path / "speaker.onnx", tiny_speaker_encoder())
    speaker = SpeakerEncoder(path, 2, BUCKETS, EncoderSettings(provider=wanted, require_provider=True))
    speaker.load()
    assert speaker.provider == found
    assert not warnings(caplog)


def test_the_session_is_a_quiet_neighbour() -> None:
    options = session_options(EncoderSettings(threads=3))
    assert options.intra_op_num_threads == 3
    assert options.inter_op_num_threads == 1
    assert not options.enable_cpu_mem_arena
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
