import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.bundle import MANIFEST_NAME, Bundle
from edge.encoder import Encoder
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings
from export.cli.app import main
from export.engines import duration
from helpers.calling import exit_code
from helpers.gpu import CUDA, TENSORRT, PretendedGpu, gpu
from helpers.tiny import tiny_bundle

__all__ = ["gpu"]

ROOT = Path(__file__).resolve().parents[2]
BUCKETS = [16_000, 32_000, 64_000]

Call = Callable[..., int]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run ``affectd-export engines`` inside the test's process, without settings of the developer's own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config-home"))
    return lambda *arguments: exit_code(main, monkeypatch, "affectd-export", "engines", *arguments)


@pytest.fixture
def half_bundle(tmp_path: Path) -> Path:
    """The tiny bundle, which says that it is in half precision."""
    return with_precision(tiny_bundle(tmp_path / "bundles" / "tiny"), "fp16")


def with_precision(folder: Path, precision: str) -> Path:
    manifest = json.loads((folder / MANIFEST_NAME).read_text())
    manifest["encoder"]["precision"] = precision
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    return folder


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line on standard error."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


def built(folder: Path) -> list[int]:
    """Return the buckets that have an engine below a folder."""
    return sorted(int(file.parent.name) for file in folder.rglob("*.engine"))


def test_without_tensorrt_it_says_what_to_install(
    call: Call, half_bundle: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call(half_bundle, "--out", tmp_path / "engines") == 3
    line = complaint(capsys)
    assert "CPUExecutionProvider, but not TensorRT. Install onnxruntime-gpu instead of onnxruntime" in line
    assert not (tmp_path / "engines").exists()


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_only_half_precision_is_compiled(
    precision: str, call: Call, gpu: PretendedGpu, half_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_precision(half_bundle, precision)
    assert call(half_bundle) == 3
    line = complaint(capsys)
    assert f"is {precision}, and TensorRT's graph is fp16: affectd-export bundle --precision fp16" in line
    assert not gpu.opened


def test_another_provider_has_no_engines(call: Call, half_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(half_bundle, "--provider", "tensort") == 2
    assert complaint(capsys).endswith("provider 'tensort' has no engines; tensorrt has (did you mean 'tensorrt'?)")


def test_every_bucket_is_built_with_progress_and_an_estimate(
    call: Call, gpu: PretendedGpu, half_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(half_bundle) == 0
    first, *lines, last = capsys.readouterr().out.splitlines()
    assert first == "3 of 3 engines to build; the first tells how long that takes"
    patterns = [
        r"1 s: built in \d+ s, cosine to the CPU 1\.0000; 2 to go, about \d+ s",
        r"2 s: built in \d+ s, cosine to the CPU 1\.0000; 1 to go, about \d+ s",
        r"4 s: built in \d+ s, cosine to the CPU 1\.0000",
    ]
    assert all(re.fullmatch(pattern, line) for pattern, line in zip(patterns, lines, strict=True))
    folder = tmp_path / "cache-home" / "affectd" / "engines"
    assert re.fullmatch(rf"3 engines built in \d+ s, 0 were there: {folder}/\S+", last)
    assert built(folder) == BUCKETS
    assert list((folder / "timing").iterdir())
    assert gpu.first == ["CPUExecutionProvider", *[TENSORRT] * 3]


def test_a_run_then_compiles_nothing(
    call: Call, gpu: PretendedGpu, half_bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "jetson.toml"
    file.write_text(f'[encoder]\nprovider = "tensorrt"\nmax_batch = 1\nengines = "{tmp_path / "engines"}"\n')
    assert call(half_bundle, "--config", file, "--set", "encoder.trt_optimization=2") == 0
    settings = EncoderSettings(provider="tensorrt", max_batch=1, engines=str(tmp_path / "engines"), trt_optimization=2)
    recognizer = Recognizer(Bundle.load(half_bundle), settings)
    recognizer.load()
    assert recognizer.encoder.provider == TENSORRT
    assert not caplog.records
    other = Encoder(half_bundle / "encoder.onnx", 3, recognizer.buckets, settings.model_copy(update={"max_batch": 2}))
    other.load()
    assert "3 of 3 TensorRT engines are not built yet" in caplog.records[0].getMessage()


def test_what_is_built_stays_until_it_is_to_be_rebuilt(
    call: Call, gpu: PretendedGpu, half_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "engines"
    assert call(half_bundle, "--out", out) == 0
    assert capsys.readouterr().out.endswith(
        f"affectd run --provider tensorrt --set encoder.engines={out} takes them from there\n"
    )
    next(out.rglob("32000/*.engine")).unlink()
    assert call(half_bundle, "--out", out) == 0
    assert "1 of 3 engines to build" in capsys.readouterr().out
    assert gpu.first.count(TENSORRT) == 4
    assert call(half_bundle, "--out", out, "--rebuild") == 0
    assert "3 engines built in" in capsys.readouterr().out
    assert gpu.first.count(TENSORRT) == 7
    assert built(out) == BUCKETS


def test_an_engine_that_fails_is_not_left_behind(
    call: Call, gpu: PretendedGpu, half_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu.failing = {TENSORRT: "out of memory"}
    assert call(half_bundle, "--out", tmp_path / "engines") == 3
    assert complaint(capsys).endswith("bucket of 1 s: TensorRT builds no engine: out of memory")
    gpu.failing, gpu.unloadable = {}, {TENSORRT}
    assert call(half_bundle, "--out", tmp_path / "engines") == 3
    assert complaint(capsys).endswith("cannot load TensorRT's libraries, see its own messages above")
    assert built(tmp_path / "engines") == []


def test_an_engine_that_answers_otherwise_is_refused(
    call: Call, gpu: PretendedGpu, half_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    embed = Encoder.embed
    monkeypatch.setattr(Encoder, "embed", lambda self, waves, samples: embed(self, waves, samples) * [1, 1, -1])
    assert call(half_bundle, "--out", tmp_path / "engines") == 3
    assert re.search(r"bucket of 1 s: the engine's cosine to the CPU is -\d\.\d+, needed is 0\.99", complaint(capsys))
    assert built(tmp_path / "engines") == []


def test_a_graph_that_tensorrt_splits_is_told(
    call: Call, gpu: PretendedGpu, half_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu.parts = 2
    assert call(half_bundle) == 0
    assert "split into 2 engines: this TensorRT lacks an operator" in capsys.readouterr().out


def test_the_gpu_alone_is_not_tensorrt(
    call: Call,
    gpu: PretendedGpu,
    half_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gpu.install(monkeypatch, CUDA)
    assert call(half_bundle) == 3
    assert "offers CUDAExecutionProvider, CPUExecutionProvider, but not TensorRT" in complaint(capsys)


def test_durations_are_said_as_one_would() -> None:
    assert [duration(seconds) for seconds in (0.4, 89, 91, 600)] == ["0 s", "89 s", "2 min", "10 min"]


def test_a_device_needs_neither_torch_nor_onnx_for_it() -> None:
    unwanted = {"torch", "onnx", "transformers", "calibrate"}
    code = f"import sys, export.engines; sys.exit(bool({unwanted} & {{*sys.modules}}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode == 0
