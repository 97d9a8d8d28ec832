import pkgutil
import subprocess
import sys
from pathlib import Path

import edge

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = {"torch", "torchaudio", "transformers", "sklearn", "scipy", "pandas", "onnx", "calibrate", "export"}
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(edge.__path__, "edge.") if not module.name.endswith("__main__")
)


def loaded_by(*modules: str) -> set[str]:
    program = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in result.stdout.split()}


def test_the_device_side_never_loads_the_training_side() -> None:
    assert {"edge.cli.commands", "edge.engine", "edge.recognizer", "edge.capture.microphone", "edge.cli.run"} <= set(
        MODULES
    )
    assert not loaded_by("edge", *MODULES) & FORBIDDEN


def test_the_command_line_starts_light() -> None:
    assert not loaded_by("edge.cli.commands") & {"numpy", "onnxruntime", "pydantic", "soundfile", "pyaudio"}


def test_ctrl_c_is_taken_care_of_before_anything_heavy_is_imported() -> None:
    assert not loaded_by("edge.cli.app") & {"typer", "rich", "logging", "numpy"}


def test_capture_loads_pyaudio_only_for_a_microphone_that_is_opened() -> None:
    assert "pyaudio" not in loaded_by("edge.capture", "edge.capture.microphone", "edge.capture.devices")
