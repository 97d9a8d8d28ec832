"""The demo: a conversation before and after its people are enrolled, in a store of its own."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.bundle import Bundle
from edge.people.store import SpeakerStore

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
Call = Callable[..., int]


@pytest.mark.slow
def test_the_conversation_is_heard_twice_and_the_second_time_people_are_known(
    call: Call, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call("demo", EXAMPLES, "--fast", "--json") == 0
    printed = capsys.readouterr()
    events = [json.loads(line) for line in printed.out.splitlines()]
    said = [event["speaker"] and event["speaker"]["name"] for event in events if event["type"] == "utterance"]
    before, after = said[:6], said[6:]
    assert before == [None] * 6
    assert len(after) == 6
    for name, wanted in zip(after, ["Ann", "Ben"] * 3, strict=True):
        assert name in (wanted, None)
    assert sum(name is not None for name in after) >= 3
    assert "enrolled Ann by 8 clips" in printed.err
    with SpeakerStore.open() as store:
        assert not store.people(), "the demo's people are in no store that stays"


def test_a_folder_that_is_no_demo_is_refused(
    call: Call, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("demo", tmp_path) == 2
    assert "has no conversation.flac" in capsys.readouterr().err
    shutil.copyfile(EXAMPLES / "conversation.flac", tmp_path / "conversation.flac")
    assert call("demo", tmp_path) == 2
    assert "has no folder of clips of somebody" in capsys.readouterr().err
    (tmp_path / "people" / "Zoe").mkdir(parents=True)
    assert call("demo", tmp_path) == 2
    assert "no audio in" in capsys.readouterr().err
