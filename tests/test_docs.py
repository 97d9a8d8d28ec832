"""What the documentation says is true: its Python runs, and what is generated is of this code."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.capture import FileSource

ROOT = Path(__file__).resolve().parents[1]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
README = PYTHON.findall((ROOT / "README.md").read_text(encoding="utf-8"))
CONVERSATION = ROOT / "examples" / "conversation.flac"


def test_the_readme_shows_the_library() -> None:
    assert README


@pytest.mark.parametrize("snippet", README)
def test_a_snippet_of_the_readme_runs_as_written(
    snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(CONVERSATION, tmp_path / "talk.wav")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edge.capture.open.Microphone", lambda device, queue_s: FileSource(CONVERSATION))
    exec(compile(snippet, "README.md", "exec"), {"samples": np.zeros(16_000, np.float32)})
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("function", "name"),
    [("page", "api.md"), ("recipe_page", "recipe.md"), ("event_schema", "events.schema.json")],
)
def test_the_reference_is_generated_from_this_code(function: str, name: str) -> None:
    program = f"import sys; from docs.generate import {function}; sys.stdout.write({function}())"
    page = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    assert page == (ROOT / "docs" / name).read_text(encoding="utf-8"), "make docs writes it anew"
