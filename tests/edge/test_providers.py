import logging
import shlex
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edge.audio import SAMPLE_RATE_HZ
from edge.buckets import Buckets
from edge.errors import ModelError
from edge.providers import PROVIDERS, check_provider, choose_provider, cuda_options, is_quantised, provider_requests
from edge.settings import EncoderSettings, load_settings
from edge.tensorrt import Engines
from helpers.tiny import tiny_encoder

CPU, CUDA, TENSORRT = PROVIDERS["cpu"], PROVIDERS["cuda"], PROVIDERS["tensorrt"]
EVERYTHING = [TENSORRT, CUDA, CPU]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("float") / "encoder.onnx"
    onnx.save(tiny_encoder(), path)
    return path


@pytest.fixture(scope="module")
def int8_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["quantised", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["quantised", "weights", "zero"], ["y"]),
    ]
    body = helper.make_graph(
        nodes, "int8", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1, 1])],
        [helper.make_tensor("weights", TensorProto.INT8, [2, 1], [1, 2])],
    )  # fmt: skip
    path = tmp_path_factory.mktemp("int8") / "encoder.onnx"
    onnx.save(helper.make_model(body), path)
    return path


@pytest.mark.parametrize(
    ("wanted", "available", "chosen", "why"),
    [
        ("auto", [CPU], "cpu", "offers cpu"),
        ("auto", EVERYTHING, "cuda", "the best that the installed onnxruntime offers"),
        ("auto", ["AzureExecutionProvider", CPU], "cpu", "offers cpu"),
        ("cpu", EVERYTHING, "cpu", "asked for"),
        ("cuda", EVERYTHING, "cuda", "asked for"),
        ("cuda", [CPU], "cpu", "offers cpu, and cuda is in onnxruntime-gpu"),
        ("tensorrt", EVERYTHING, "tensorrt", "asked for"),
        ("tensorrt", [CUDA, CPU], "cpu", "offers cpu, cuda, and tensorrt is in onnxruntime-gpu"),
    ],
)
def test_the_choice_and_its_reason(wanted: str, available: list[str], chosen: str, why: str, graph: Path) -> None:
    choice = choose_provider(wanted, available, graph)
    assert choice.provider == chosen
    assert why in choice.why


@pytest.mark.parametrize("wanted", ["auto", "cuda", "tensorrt"])
def test_an_int8_graph_never_goes_to_a_gpu(wanted: str, int8_graph: Path) -> None:
    choice = choose_provider(wanted, EVERYTHING, int8_graph)
    assert choice.provider == "cpu"
    assert "encoder.onnx is int8, which is for CPUs; affectd-export bundle --precision fp16" in choice.why


def test_what_is_quantised(graph: Path, int8_graph: Path, tmp_path: Path) -> None:
    assert is_quantised(int8_graph)
    assert not is_quantised(graph)
    assert not is_quantised(tmp_path / "nowhere.onnx")
    (tmp_path / "empty.onnx").touch()
    assert not is_quantised(tmp_path / "empty.onnx")


def test_the_default_bundle_is_int8_and_stays_on_the_cpu() -> None:
    encoder = Path(__file__).resolve().parents[2] / "edge" / "bundles" / "default" / "encoder.onnx"
    assert choose_provider("auto", EVERYTHING, encoder).provider == "cpu"


@pytest.mark.parametrize(
    ("name", "available", "requested"),
    [("cpu", EVERYTHING, [CPU]), ("cuda", EVERYTHING, [CUDA, CPU]), ("cuda", [CPU], [CPU])],
)
def test_requests_end_in_the_cpu(name: str, available: list[str], requested: list[str]) -> None:
    assert [provider for provider, _ in provider_requests(name, available, EncoderSettings())] == requested


def test_cuda_does_not_search_inside_the_first_request_and_does_not_round_the_front_end() -> None:
    options = cuda_options(EncoderSettings())
    assert options["cudnn_conv_algo_search"] == "HEURISTIC"
    assert options["use_tf32"] == "0"
    assert options["device_id"] == "0"
    assert "gpu_mem_limit" not in options


def test_memory_and_device_are_limited_when_asked(graph: Path) -> None:
    limited = EncoderSettings(gpu_memory_mb=512, gpu_device=1)
    options = cuda_options(limited)
    assert (options["gpu_mem_limit"], options["device_id"]) == ("536870912", "1")
    assert options["cudnn_conv_use_max_workspace"] == "0"
    options = Engines.of(graph, limited).options(16_000)
    assert (options["trt_max_workspace_size"], options["device_id"]) == ("536870912", "1")


def test_tensorrt_keeps_its_engines_and_takes_precision_from_the_graph(graph: Path, tmp_path: Path) -> None:
    engines = Engines.of(graph, EncoderSettings(engines=str(tmp_path), trt_optimization=5))
    options = engines.options(32_000)
    assert options["trt_fp16_enable"] == "False"
    assert options["trt_builder_optimization_level"] == "5"
    assert "trt_max_workspace_size" not in options
    assert Path(options["trt_engine_cache_path"]) == engines.folder / "32000"
    assert Path(options["trt_timing_cache_path"]) == tmp_path / "timing"
    assert [name for name, _ in engines.requests(32_000, EVERYTHING)] == EVERYTHING
    assert [name for name, _ in engines.requests(32_000, [TENSORRT, CPU])] == [TENSORRT, CPU]


def test_tensorrts_switches_are_words(graph: Path) -> None:
    """Its Python binding takes True and False alone, and gives the session to another provider otherwise."""
    options = Engines.of(graph, EncoderSettings(gpu_memory_mb=1)).options(16_000)
    switches = {value for key, value in options.items() if key.endswith("_enable")}
    assert switches == {"True", "False"}
    assert all(isinstance(value, str) for value in options.values())


def shapes(text: str) -> dict[str, tuple[int, ...]]:
    """Read ``input:1x2,other:1`` as TensorRT does."""
    pairs = (each.split(":") for each in text.split(","))
    return {name: tuple(map(int, sizes.split("x"))) for name, sizes in pairs}


def inside(options: dict[str, str], wanted: dict[str, tuple[int, ...]]) -> bool:
    least, tuned, most = (shapes(options[f"trt_profile_{name}_shapes"]) for name in ("min", "opt", "max"))
    assert least.keys() == tuned.keys() == most.keys() == wanted.keys()
    assert all(a <= b <= c for name in least for a, b, c in zip(least[name], tuned[name], most[name], strict=True))
    return all(
        low <= size <= high
        for name in wanted
        for low, size, high in zip(least[name], wanted[name], most[name], strict=True)
    )


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=12, unique=True).map(sorted), st.integers(1, 256), st.data())
def test_whatever_the_runtime_asks_for_is_inside_of_exactly_one_profile(
    graph: Path, tenths: list[int], max_batch: int, data: st.DataObject
) -> None:
    buckets = Buckets([tenth / 10 for tenth in tenths])
    engines = Engines.of(graph, EncoderSettings(max_batch=max_batch))
    lengths = data.draw(st.lists(st.integers(1, buckets.longest), min_size=1, max_size=40))
    for batch in buckets.plan(lengths, max_batch):
        wanted = {"waveform": (len(batch.indices), batch.samples), "lengths": (len(batch.indices),)}
        held = [samples for samples in buckets if inside(engines.options(samples), wanted)]
        assert held == [batch.samples]


def test_engines_are_others_when_what_they_depend_on_changes(graph: Path, int8_graph: Path) -> None:
    folders = [
        Engines.of(graph, EncoderSettings()).folder,
        Engines.of(int8_graph, EncoderSettings()).folder,
        Engines.of(graph, EncoderSettings(max_batch=1)).folder,
        Engines.of(graph, EncoderSettings(trt_optimization=5)).folder,
        Engines.of(graph, EncoderSettings(engines="/elsewhere")).folder,
    ]
    assert len(set(folders)) == len(folders)
    assert folders[0] == Engines.of(graph, EncoderSettings(threads=7, queue_utterances=3)).folder


def test_missing_engines_are_those_of_buckets_without_a_file(graph: Path, tmp_path: Path) -> None:
    engines = Engines.of(graph, EncoderSettings(engines=str(tmp_path)))
    assert engines.missing([1, 2, 3]) == [1, 2, 3]
    for samples in (1, 2):
        engines.bucket_folder(samples).mkdir(parents=True)
    (engines.bucket_folder(2) / "graph_sm87.engine").touch()
    (engines.bucket_folder(1) / "graph_sm87.profile").touch()
    assert engines.missing([1, 2, 3]) == [1, 3]


def test_the_command_that_builds_them_has_the_same_settings(graph: Path, tmp_path: Path) -> None:
    changed = EncoderSettings(max_batch=1, gpu_memory_mb=256, engines=str(tmp_path / "two words"), threads=4)
    command = shlex.split(Engines.of(graph, changed).build_command(Path("my bundles/fp16")))
    assert command[:3] == ["affectd-export", "engines", "my bundles/fp16"]
    assert command[3::2] == ["--set"] * 3
    overrides = dict(assignment.split("=", 1) for assignment in command[4::2])
    loaded = load_settings(environment={}, overrides=overrides).settings.encoder
    assert Engines.of(graph, loaded).options(SAMPLE_RATE_HZ) == Engines.of(graph, changed).options(SAMPLE_RATE_HZ)
    assert Engines.of(graph, EncoderSettings()).build_command(Path("b")) == "affectd-export engines b"


def test_engines_are_in_the_cache_folder(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert Engines.of(graph, EncoderSettings()).folder.is_relative_to("/caches/affectd/engines")
    monkeypatch.setenv("HOME", "/home/ada")
    assert EncoderSettings(engines="~/engines").engine_folder == Path("/home/ada/engines")
    mine = Engines.of(graph, EncoderSettings(engines="~/engines"))
    assert mine.folder.is_relative_to("/home/ada/engines")


def test_auto_tells_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        check_provider("auto", CPU, "no other", required=True)
    assert [record.getMessage() for record in caplog.records] == [f"inference runs on {CPU}: no other"]


def test_another_provider_is_told(caplog: pytest.LogCaptureFixture) -> None:
    check_provider("cuda", CUDA, "asked for", required=True)
    assert not caplog.records
    check_provider("cuda", CPU, "no GPU", required=False)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "provider 'cuda' was wanted, CPUExecutionProvider is in use: no GPU"


def test_another_provider_is_refused_when_it_matters() -> None:
    with pytest.raises(ModelError, match=r"in use: no GPU; or set encoder\.require_provider = false"):
        check_provider("cuda", CPU, "no GPU", required=True)
