"""The front door as a program uses it: ``edge.load()`` and what a model answers."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import edge
import edge.model
from edge.audio import SAMPLE_RATE_HZ, read_audio
from edge.model import settings_of
from edge.people.store import SpeakerStore
from helpers.conversation import Conversation
from helpers.signals import speech_like

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(bundle_folder: Path) -> edge.Model:
    return edge.load(bundle_folder)


def test_importing_is_light_and_says_what_there_is() -> None:
    program = "import sys, edge; print(sorted(edge.__all__) == dir(edge), {'numpy', 'onnxruntime'} & {*sys.modules})"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split(maxsplit=1) == ["True", "set()\n"]


def test_every_public_name_is_there() -> None:
    for name in edge.__all__:
        assert getattr(edge, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        _ = edge.lode


def test_a_model_says_what_it_is(model: edge.Model) -> None:
    assert repr(model) == (
        "Model(tiny 0: loudness, fp32 on CPUExecutionProvider; 16 kHz, up to 4 s -> neutral, happy, angry; "
        "recognises people)"
    )


def test_a_file_and_its_samples_give_the_same_answers(model: edge.Model, conversation: Conversation) -> None:
    events = list(model.analyze(conversation.path))
    assert [event.emotion for event in events] == ["neutral", "happy", "angry"]
    assert {event.path for event in events} == {str(conversation.path)}
    of_samples = list(model.analyze(read_audio(conversation.path)))
    assert [event.scores for event in of_samples] == [event.scores for event in events]
    assert {(event.source, event.path) for event in of_samples} == {("samples", None)}


def test_samples_at_another_rate(model: edge.Model, conversation: Conversation) -> None:
    samples = np.repeat(read_audio(conversation.path), 3)
    events = model.analyze((samples, 3 * SAMPLE_RATE_HZ))
    assert [event.emotion for event in events] == ["neutral", "happy", "angry"]


def test_a_whole_recording_is_one_event(model: edge.Model, conversation: Conversation) -> None:
    (event,) = model.analyze(str(conversation.path), whole_file=True)
    assert event.end_s == pytest.approx(soundfile.info(conversation.path).duration, abs=0.01)


def test_a_folder_and_a_list_of_files(model: edge.Model, conversation: Conversation, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "good.wav", read_audio(conversation.path), SAMPLE_RATE_HZ)
    for recordings in (tmp_path, [tmp_path / "broken.wav", str(tmp_path / "good.wav")]):
        types = [event.type for event in model.analyze(recordings)]
        assert types == ["error", "utterance", "utterance", "utterance"]


def test_one_file_that_cannot_be_read_is_an_exception(model: edge.Model, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(edge.AudioFileError, match=r"broken\.wav"):
        list(model.analyze(tmp_path / "broken.wav"))


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.full(SAMPLE_RATE_HZ, np.nan, np.float32), "sample 0 is nan"),
        (np.zeros(0, np.float32), "holds no samples"),
        (np.zeros((SAMPLE_RATE_HZ, 2), np.float32), r"average channels"),
        (np.zeros(SAMPLE_RATE_HZ, np.int16), r"astype\('float32'\) / 32768"),
        ((np.zeros(SAMPLE_RATE_HZ, np.float32), 44.1), "rate 44.1 is not"),
        (np.zeros(160, np.float32), "10 ms are too short"),
    ],
)
@pytest.mark.parametrize("method", ["probabilities", "analyze"])
def test_what_is_no_audio_never_reaches_the_model(model: edge.Model, method: str, audio: object, message: str) -> None:
    with pytest.raises(edge.UsageError, match=message):
        getattr(model, method)(audio)


def test_what_cannot_be_analysed(model: edge.Model) -> None:
    for audio, message in ((3, "int is no array"), ([1.0, 2.0], "a list with float is neither"), ("no.wav", "no such")):
        with pytest.raises(edge.UsageError, match=message):
            model.analyze(audio)


@pytest.mark.parametrize("people", [5, [5], b"zoe", {"zoe": 1, 5: 2}])
def test_people_that_are_no_names(model: edge.Model, people: Any) -> None:
    with pytest.raises(edge.UsageError, match="neither a name, nor names, nor False"):
        model.analyze("no.wav", people=people)


@pytest.mark.parametrize("settings", [5, "gpu", [1], {5: 1}])
def test_settings_that_are_none(settings: Any) -> None:
    with pytest.raises(edge.UsageError, match="is no mapping of names to values"):
        edge.load(settings=settings)


def test_what_was_loaded_is_settings(bundle_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "affectd.toml").write_text("[decision]\nreview_threshold = 0.5\n")
    loaded = edge.load_settings(str(tmp_path / "affectd.toml"), environment={})
    assert edge.load(bundle_folder, settings=loaded).settings.decision.review_threshold == 0.5


def test_files_below_home(model: edge.Model, conversation: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(conversation.path.parent))
    below = Path("~", conversation.path.name)
    events = list(model.analyze(below))
    with edge.listen(below, model=model, settings={"capture.realtime": False}) as live:
        assert [event.emotion for event in live if event.type == "utterance"] == [event.emotion for event in events]
    with pytest.raises(edge.ModelError, match="no bundle folder ~nobody-of-this-name/x"):
        edge.load("~nobody-of-this-name/x")


def test_probabilities_of_one_and_of_many(model: edge.Model) -> None:
    quiet, loud = 0.1 * speech_like(1.0), 3 * speech_like(1.7)
    one = model.probabilities(quiet)
    assert one.shape == (3,)
    assert one.sum() == pytest.approx(1)
    many = model.probabilities([quiet, (loud.astype(np.float64), SAMPLE_RATE_HZ)])
    assert many.shape == (2, 3)
    np.testing.assert_allclose(many[0], one, atol=1e-6)
    assert [model.labels[index] for index in many.argmax(axis=1)] == ["neutral", "angry"]


def test_settings_by_keyword(bundle_folder: Path) -> None:
    assert (
        edge.load(settings={"encoder.bundle": str(bundle_folder), "encoder.threads": 2}).settings.encoder.threads == 2
    )
    with pytest.raises(
        edge.UsageError, match=r"unknown setting 'encoder\.thread' from the program.*mean 'encoder\.threads'"
    ):
        edge.load(settings={"encoder.thread": 2})


def test_the_environment_of_the_command_does_not_reach_a_program(
    bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFFECTD_DECISION_REVIEW_THRESHOLD", "0.123")
    assert edge.load(bundle_folder).settings.decision.review_threshold == 0.8


def test_people_by_keyword(
    bundle_folder: Path, conversation: Conversation, tmp_path: Path, call: Callable[..., int]
) -> None:
    store = tmp_path / "store"
    assert call("enroll", "Ann", conversation.path, "--yes", "--bundle", bundle_folder, "--store", store) == 0
    model = edge.load(bundle_folder, settings={"speakers.store": str(store)})
    bound = list(model.analyze(conversation.path, people="ann"))
    assert [event.speaker and event.speaker.name for event in bound] == ["Ann"] * 3
    assert {event.speaker for event in model.analyze(conversation.path, people=False)} == {None}
    with SpeakerStore.open(store) as people:
        people.forget("Ann")
    with pytest.raises(edge.StoreError, match="'ann'"):
        model.analyze(conversation.path, people=["ann"])


@pytest.mark.parametrize("module", [edge.model])
def test_the_examples_of_docstrings_are_true(module: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS)  # type: ignore[arg-type]
    assert found.attempted > 0
    assert found.failed == 0


def test_recordings_of_one_room(model: edge.Model, conversation: Conversation) -> None:
    alone, together = list(model.analyze(conversation.path)), list(model.analyze(conversation.path, room=True))
    assert {event.room for event in alone} == {0}
    assert {event.room for event in together} == {3 / (3 + model.settings.room.pseudo_utterances)}
    assert [event.start_s for event in together] == [event.start_s for event in alone]
    of_samples = list(model.analyze(read_audio(conversation.path), room=True))
    assert [event.scores for event in of_samples] == [event.scores for event in together]


@pytest.mark.parametrize("room", [False, True])
def test_progress_counts_files_as_they_are_read(
    model: edge.Model, conversation: Conversation, tmp_path: Path, room: bool
) -> None:
    """In one room the first event comes only after the last file."""
    files = [tmp_path / f"{number}.wav" for number in range(3)]
    for file in files:
        soundfile.write(file, read_audio(conversation.path), SAMPLE_RATE_HZ)
    (tmp_path / "1.wav").write_bytes(b"RIFF")
    told: list[int] = []
    events = model.analyze(files, room=room, progress=told.append)
    assert told == []
    next(events)
    assert told == [1, 2, 3]
    assert len(list(events)) == 6
    assert told == [1, 2, 3]
    list(model.analyze(conversation.path, progress=told.append))
    assert told[3:] == [1]


def test_a_program_remembers_rooms_only_where_it_says_so() -> None:
    assert not settings_of(None).room.remember
    assert not settings_of({"room.window": 32}).room.remember
    assert settings_of({"room.remember": True}).room.remember
    assert settings_of(edge.load_settings(environment={}).settings).room.remember
