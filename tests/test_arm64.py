"""What `make arm64` compares; and where its emulator and its folder are, the nano bundle on arm64."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arm64.__main__ import Found, compared, found, is_equal
from arm64.root import CPUS, ROOT, MissingError, emulator, prepare


def answered(first: float = 0.9, **event: Any) -> Found:
    arrays = {
        "embedding": np.array([[3.0, 4.0 + first]], np.float32),
        "probabilities": np.array([[first, 1 - first]], np.float32),
    }
    said = {"type": "utterance", "time": "now", "end_s": 2.22, "scores": {"sad": 0.25}, "latency_ms": {"head": 1.0}}
    return arrays, [said | event]


def test_the_clock_does_not_count() -> None:
    apart, unlike = compared(answered(), answered(time="later", latency_ms={"head": 9.0}))
    assert apart == {"embedding": 0.0, "probabilities": 0.0, "events": 0.0}
    assert unlike == []


def test_numbers_are_so_far_apart() -> None:
    apart, unlike = compared(answered(0.9), answered(0.8, scores={"sad": 0.5}))
    assert apart["embedding"] == pytest.approx(0.1 / np.hypot(3.0, 4.9), rel=1e-5)
    assert apart["probabilities"] == pytest.approx(0.1, rel=1e-5)
    assert apart["events"] == 0.25
    assert unlike == []
    assert not is_equal(apart, unlike)
    assert is_equal({"embedding": 0.03, "probabilities": 0.01}, unlike)


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (answered(0.4), ["labels by probabilities"]),
        (answered(end_s=2.25), ["event 1 end_s"]),
        (answered(emotion="sad"), ["event 1 emotion"]),
        (answered(scores={"happy": 0.25}), ["event 1 scores happy", "event 1 scores sad"]),
        ((answered()[0], []), [f"event 1 {name}" for name in ("end_s", "scores sad", "type")]),
    ],
)
def test_what_is_no_number_is_the_same_or_named(other: Found, names: list[str]) -> None:
    assert compared(answered(), other)[1] == names
    assert compared(other, answered())[1] == names


def test_without_the_emulator_or_the_folder_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: "/usr/bin/there")
    with pytest.raises(MissingError, match="has no arm64 Python yet"):
        emulator(tmp_path, "max")
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(MissingError, match="apt-get install qemu-user-static"):
        emulator(tmp_path, "max")
    with pytest.raises(MissingError, match="--root FOLDER"):
        prepare(tmp_path)


def test_the_processor_is_the_one_that_is_emulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    (tmp_path / "site").mkdir()
    for cpu, part in CPUS.items():
        assert emulator(tmp_path, cpu)[:5] == ["/usr/bin/qemu-aarch64-static", "-cpu", cpu, "-L", str(tmp_path)]
        assert f"CPU part\t: {part}\n" in (tmp_path / "proc" / "cpuinfo").read_text()


@pytest.mark.slow
def test_the_nano_bundle_answers_the_same_on_arm64() -> None:
    try:
        there = emulator(ROOT, "cortex-a72")
    except MissingError as missing:
        pytest.skip(str(missing))
    apart, unlike = compared(found([sys.executable], "nano"), found(there, "nano", ROOT / "site"))
    assert is_equal(apart, unlike), (apart, unlike)
