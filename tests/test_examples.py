import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import make_conversation
import numpy as np
import pytest
import soundfile

from edge.audio import SAMPLE_RATE_HZ, read_audio
from edge.capture import open_source
from edge.segmenter import Segmenter
from edge.settings import CaptureSettings, Settings
from export.measure.recordings import voiced_span
from helpers.signals import silence, speech_like

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
FLAC = EXAMPLES / "conversation.flac"
TOLERANCE_S = 0.3


def script() -> list[dict[str, str]]:
    with (EXAMPLES / "conversation.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def assert_right_turns(heard: Sequence[tuple[float, float]]) -> None:
    truth = [(float(row["start_s"]), float(row["end_s"])) for row in script()]
    assert len(heard) == len(truth)
    for turn, expected in zip(heard, truth, strict=True):
        assert turn == pytest.approx(expected, abs=TOLERANCE_S)


def test_the_segmenter_finds_the_turns_of_the_script() -> None:
    settings = Settings()
    segmenter = Segmenter(settings.vad, settings.segmenter)
    segments = []
    for block in open_source(CaptureSettings(source=str(FLAC), realtime=False)).blocks():
        segments += segmenter.push(block.samples, block.lost_s, block.restarted)
    segments += segmenter.flush()
    assert_right_turns([(segment.start_s, segment.end_s) for segment in segments])
    assert not any(segment.truncated or segment.dropped_s for segment in segments)


def test_the_command_hears_the_turns_of_the_script(bundle_folder: Path, tmp_path: Path) -> None:
    arguments = ("run", "--source", FLAC.relative_to(ROOT), "--fast", "--json", "--bundle", bundle_folder)
    own = {name: value for name, value in os.environ.items() if not name.startswith("AFFECTD_")}
    result = subprocess.run(
        [sys.executable, "-m", "edge", *map(str, arguments)],
        cwd=ROOT,
        env=own | {"XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        timeout=60,
        check=True,
    )
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert_right_turns([(event["start_s"], event["end_s"]) for event in events if event["type"] == "utterance"])


def test_two_people_take_turns_in_different_emotions() -> None:
    rows = script()
    speakers = [row["speaker"] for row in rows]
    assert len(set(speakers)) == 2
    assert all(speaker != following for speaker, following in pairwise(speakers))
    assert [row["emotion"] for row in rows] == list(make_conversation.TURN_EMOTIONS)


def test_the_examples_are_small() -> None:
    assert soundfile.info(FLAC).samplerate == SAMPLE_RATE_HZ
    assert soundfile.info(FLAC).channels == 1
    assert sum(path.stat().st_size for path in EXAMPLES.rglob("*") if path.is_file()) <= 700_000


def test_the_command_that_made_the_examples_makes_them_again(shared: Path, tmp_path: Path) -> None:
    make_conversation.make(shared / "data", tmp_path)
    assert (tmp_path / "conversation.csv").read_bytes() == (EXAMPLES / "conversation.csv").read_bytes()
    for name in make_conversation.NAMES:
        clips = sorted((EXAMPLES / "people" / name).iterdir())
        assert len(clips) == 8
        for clip in clips:
            assert (tmp_path / "people" / name / clip.name).read_bytes() == clip.read_bytes()
    made, kept = read_audio(tmp_path / "conversation.flac"), read_audio(FLAC)
    # Another libsndfile or numpy may round differently.
    np.testing.assert_allclose(made, kept, rtol=0, atol=2 / 32768)


@pytest.mark.parametrize("gain", [0.05, 1.0, 3.0])
def test_a_voice_is_bounded_at_any_level(gain: float) -> None:
    clip = np.concatenate([silence(1), gain * speech_like(1.5), silence(0.8)])
    start, end = voiced_span(clip.astype(np.float32))
    assert start / SAMPLE_RATE_HZ == pytest.approx(1, abs=0.05)
    assert end / SAMPLE_RATE_HZ == pytest.approx(2.5, abs=0.05)
