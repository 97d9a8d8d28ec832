"""Someone enrols and speaks: how often they show a label, and where their values lie, shape what is said of them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge.audio import SAMPLE_RATE_HZ
from edge.population import POPULATION_NAME
from helpers.conversation import Conversation
from helpers.signals import silence, speech_like
from helpers.tiny import VALUES, tiny_bundle, tiny_population, with_values, write_manifest

pytestmark = pytest.mark.slow

Call = Callable[..., int]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with values, whose training speakers were rated far more aroused than the bundle estimates."""
    folder = with_values(tiny_bundle(tmp_path_factory.mktemp("bundle") / "valued"))
    means, deviations = (np.full((2, 2), value, np.float32) for value in (0.6, 0.2))
    replace(tiny_population(), value_means=means, value_deviations=deviations).save(folder / POPULATION_NAME)
    write_manifest(folder, values=VALUES)
    return folder


@pytest.fixture
def answers(
    call: Call, bundle: Path, conversation: Conversation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[dict[str, Any]]]:
    """Enrol a calm Anna, and return the utterances of a conversation that is bound to her."""
    clips = tmp_path / "calm"
    clips.mkdir()
    for seed in range(12):
        recording = np.concatenate([silence(0.4), 0.3 * speech_like(1.4, seed), silence(0.8)])
        soundfile.write(clips / f"{seed}.wav", recording, SAMPLE_RATE_HZ, "FLOAT")
    store = tmp_path / "store"
    assert call("enroll", "--store", store, "--bundle", bundle, "Anna", clips, "--yes") == 0
    capsys.readouterr()

    def run(**settings: object) -> list[dict[str, Any]]:
        chosen = {"store": store, "only": "Anna", "gate": 1} | settings
        options = [text for key, value in chosen.items() for text in ("--set", f"speakers.{key}={value}")]
        where = ("--source", conversation.path, "--fast", "--json", "--bundle", bundle)
        assert call("run", *where, "--set", "room.enabled=false", *options) == 0
        events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [event for event in events if event["type"] == "utterance"]

    return run


def test_how_often_someone_shows_a_label_counts_as_far_as_it_is_believed(
    answers: Callable[..., list[dict[str, Any]]],
) -> None:
    runs = {power: answers(label_prior=power) for power in (0, 0.5, 1)}
    odds = {
        power: np.array([event["scores"]["happy"] / event["scores"]["neutral"] for event in events[:2]])
        for power, events in runs.items()
    }
    half, whole = odds[0.5] / odds[0], odds[1] / odds[0]
    assert whole == pytest.approx(whole[0], rel=0.05), "the same for whatever they say"
    assert abs(whole[0] - 1) > 0.1
    assert half == pytest.approx(np.sqrt(whole), rel=0.05)
    assert [event["scores"] for event in answers()] == [event["scores"] for event in runs[0]], "by default it is not"
    assert all(event["speaker"]["name"] == "Anna" for event in runs[1])


def test_values_are_shifted_to_where_those_of_similar_speakers_lie(
    answers: Callable[..., list[dict[str, Any]]],
) -> None:
    plain, moved, full = (answers(value_shift=mode) for mode in ("off", "mu", "full"))
    arousal = [[event["values"]["arousal"]["value"] for event in events] for events in (plain, moved, full)]
    assert arousal[1][0] > arousal[0][0] + 0.2
    assert all(-1 <= value <= 1 for values in arousal for value in values)
    assert all(values == sorted(values) for values in arousal), "louder is still more"
    assert [event["scores"] for event in plain] == [event["scores"] for event in full]
