"""What the documentation says is true: its Python runs, and what is generated is of this code."""

from __future__ import annotations

import json
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


def test_the_reference_is_generated_from_this_code() -> None:
    program = (
        "import json; from docs.generate import event_schema, page, recipe_page;"
        'print(json.dumps({"api.md": page(), "recipe.md": recipe_page(), "events.schema.json": event_schema()}))'
    )
    generated = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True).stdout
    for name, text in json.loads(generated).items():
        assert text == (ROOT / "docs" / name).read_text(encoding="utf-8"), f"{name}: make docs writes it anew"
