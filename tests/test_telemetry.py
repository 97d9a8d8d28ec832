"""No audio leaves, and nothing else does: onnxruntime must not report its use to its vendor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# onnxruntime keeps quiet by itself where it takes itself to be tested.
QUIETING = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "XDG_CACHE_HOME")
RUN_A_MODEL = """
import {module}
import sys
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
import time
time.sleep(1)
"""


def written_at_home(home: Path, program: str, model: Path) -> list[Path]:
    """Run a program as an ordinary user's and return the files it left in the home folder."""
    environment = {name: value for name, value in os.environ.items() if name not in QUIETING} | {"HOME": str(home)}
    subprocess.run(
        [sys.executable, "-c", program, str(model)], cwd=ROOT, env=environment, check=True, stdin=subprocess.DEVNULL
    )
    return [path for path in home.rglob("*") if path.is_file()]


@pytest.mark.parametrize("module", ["edge", "calibrate", "export"])
def test_running_a_model_leaves_no_device_id_and_no_queue_of_events(
    module: str, tmp_path: Path, bundle_folder: Path
) -> None:
    assert written_at_home(tmp_path, RUN_A_MODEL.format(module=module), bundle_folder / "encoder.onnx") == []


def test_the_telemetry_is_looked_for_where_it_would_be(tmp_path: Path, bundle_folder: Path) -> None:
    if not written_at_home(tmp_path, RUN_A_MODEL.format(module="os"), bundle_folder / "encoder.onnx"):
        pytest.skip("this onnxruntime has no telemetry, so its absence proves nothing here")
