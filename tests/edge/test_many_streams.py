import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.audio import SAMPLE_RATE_HZ
from edge.bundle import Bundle
from edge.capture import FileSource
from edge.engine import Engine
from edge.errors import AudioFileError, StoreError
from edge.event import Event
from edge.people.conversation import Conversation, Recognition
from edge.recognizer import Encoding, Recognizer
from edge.settings import EncoderSettings, Settings, SpeakerSettings
from helpers.conversation import Conversation as Recording
from helpers.household import anna, ben, cem, enrol
from helpers.running import Gated, Played, Recorder, encoder, turns
from helpers.signals import silence

pytestmark = pytest.mark.slow


def by_source(events: Sequence[Event]) -> dict[str, list[Event]]:
    return {source: [event for event in events if event.source == source] for source in {e.source for e in events}}


@pytest.fixture
def recognizer(bundle: Bundle) -> Recognizer:
    return Recognizer(bundle, EncoderSettings())


@pytest.mark.parametrize("count", [2, 3])
def test_many_files_at_once_each_with_a_conversation_of_its_own(
    count: int, conversation: Recording, recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks: dict[int, list[float]] = {}
    recognize = Conversation.recognize

    def spy(self: Conversation, encoding: Encoding, start_s: float, end_s: float) -> Recognition:
        clocks.setdefault(id(self), []).append(start_s)
        return recognize(self, encoding, start_s, end_s)

    monkeypatch.setattr(Conversation, "recognize", spy)
    files = [tmp_path / f"{number}.wav" for number in range(count)]
    for file in files:
        soundfile.write(file, conversation.samples / 4, SAMPLE_RATE_HZ)
    recorder = Recorder()
    engine = Engine([FileSource(file) for file in files], recognizer, [recorder], encoder(queue_utterances=2))
    summary = engine.run()

    events = by_source(recorder.events)
    assert set(events) == {file.name for file in files}
    for own in events.values():
        assert [event.type for event in own] == ["status", *["speech_start", "provisional", "utterance"] * 3, "status"]
        assert [event.start_s for event in own if event.type == "utterance"] == pytest.approx(
            [start_s for start_s, _ in conversation.turns_s], abs=0.15
        )
        assert own[0].message is not None
        assert own[0].message.startswith("ready")
        assert own[-1].message == "stopped"
    ids = [{event.id for event in own} - {None} for own in events.values()]
    assert set().union(*ids) == set(range(1, 3 * count + 1))
    assert sum(map(len, ids)) == 3 * count, "no two sources share an id"
    assert len(clocks) == count
    assert all(starts_s == sorted(starts_s) and len(starts_s) == 3 for starts_s in clocks.values())
    assert (summary.utterances, summary.skipped) == (3 * count, 0)
    assert summary.audio_s == pytest.approx(count * len(conversation.samples) / SAMPLE_RATE_HZ)


def test_a_busy_live_source_costs_the_others_nothing(bundle: Bundle) -> None:
    busy = Played(turns(12), can_wait=False, name="busy")
    calm = Played(turns(1), can_wait=False, name="calm")
    recognizer = Gated(bundle, EncoderSettings())
    recognizer.gate = busy.ended
    recorder = Recorder()
    summary = Engine([busy, calm], recognizer, [recorder], encoder(queue_utterances=3, max_batch=2)).run()
    skipped = recorder.of("skipped")
    assert summary.skipped == len(skipped) >= 5
    assert {event.source for event in skipped} == {"busy"}
    assert [event.source for event in recorder.of("utterance")].count("calm") == 1


def test_the_others_go_on_when_a_source_fails(recognizer: Recognizer) -> None:
    failed, recorder = threading.Event(), Recorder()

    def fail() -> None:
        raise AudioFileError("torn.wav: broke off")

    recorder.on_event = lambda event: failed.set() if event.type == "error" else None
    torn = Played(turns(1), fail, name="torn")
    whole = Played(turns(2), lambda: bool(failed.wait(30)) or None, name="whole")
    with pytest.raises(AudioFileError, match="broke off"):
        Engine([torn, whole], recognizer, [recorder], encoder()).run()
    (error,) = recorder.of("error")
    assert (error.source, error.message) == ("torn", "torn.wav: broke off")
    assert [event.source for event in recorder.of("utterance")].count("whole") == 2
    assert [event.source for event in recorder.of("utterance")].count("torn") == 1


def test_stop_ends_all_sources(recognizer: Recognizer) -> None:
    sources = [Played(silence(600.0), name=name) for name in "ab"]
    engine: Engine
    recorder = Recorder(lambda event: engine.stop())
    engine = Engine(sources, recognizer, [recorder], encoder())
    engine.run()
    assert all(source.closed for source in sources)
    assert sorted(event.source for event in recorder.of("status") if event.message == "stopped") == ["a", "b"]


def test_engines_share_a_recogniser_that_is_loaded_once(recognizer: Recognizer) -> None:
    recognizer.load()
    session = recognizer.encoder._session
    for _ in range(2):
        assert Engine([Played(turns(1))], recognizer, [Recorder()], encoder()).run().utterances == 1
    assert recognizer.encoder._session is session


def test_each_source_is_bound_to_its_own_people(bundle: Bundle, tmp_path: Path) -> None:
    for name, voice in (("Anna", anna), ("Ben", ben)):
        enrol(tmp_path, bundle, name, voice)
    settings = Settings(speakers=SpeakerSettings(store=str(tmp_path), gate=1))
    sources = [Played(turns(1), name=name) for name in ("hall", "yard", "street")]
    recorder, recognizer = Recorder(), Recognizer(bundle, settings.encoder)
    Engine(sources, recognizer, [recorder], settings, bound_to=[("anna",), ("ben",), ()]).run()
    events = by_source(recorder.events)
    said = {source: (own[0].message, own[-2].speaker and own[-2].speaker.name) for source, own in events.items()}
    assert said["hall"] == ("ready: bundle tiny 0 on CPUExecutionProvider; bound to Anna", "Anna")
    assert said["yard"] == ("ready: bundle tiny 0 on CPUExecutionProvider; bound to Ben", "Ben")
    assert said["street"][0].endswith("; knows Anna, Ben")


def test_a_bound_source_leaves_out_other_voices(bundle: Bundle, tmp_path: Path) -> None:
    for name, voice in (("Anna", anna), ("Ben", ben)):
        enrol(tmp_path, bundle, name, voice)
    said = [anna(seed=1), ben(seed=1), cem(seed=1), anna(seed=2), cem(seed=2)]
    samples = np.concatenate([silence(0.5), *[part for voice in said for part in (voice, silence(0.8))]])
    settings = Settings(speakers=SpeakerSettings(store=str(tmp_path)))
    sources = [Played(samples, name=name) for name in ("hall", "yard", "both", "street")]
    recorder = Recorder()
    bound_to = [("anna",), ("ben",), ("anna", "ben"), ()]
    summary = Engine(sources, Recognizer(bundle, settings.encoder), [recorder], settings, bound_to=bound_to).run()
    expected = {
        "hall": ["Anna", None, None, "Anna", None],
        "yard": [None, "Ben", None, None, None],
        "both": ["Anna", "Ben", None, "Anna", None],
    }
    for source, names in expected.items():
        own = [event for event in recorder.events if event.source == source]
        over = [event for event in own if event.type in ("utterance", "skipped")]
        assert [event.speaker and event.speaker.name for event in over] == names
        assert [event.reason for event in over] == [None if name else "other_voice" for name in names]
        for event in over:
            mine = [each for each in own if each.id == event.id]
            assert [each.revision for each in mine] == list(range(len(mine)))
            types = [each.type for each in mine]
            assert types == (
                ["speech_start", "skipped"] if event.reason else ["speech_start", "provisional", "utterance"]
            )
    assert len([event for event in recorder.of("utterance") if event.source == "street"]) == 5
    assert (summary.utterances, summary.skipped) == (2 + 1 + 3 + 5, 3 + 4 + 2)


def test_what_is_wrong_with_a_source_is_said_of_that_one(recognizer: Recognizer) -> None:
    sources = [Played(np.zeros(8 * SAMPLE_RATE_HZ, np.float32), name=name) for name in ("hall", "yard", "street")]
    sources.append(Played(turns(4), name="kitchen"))
    recorder = Recorder()
    Engine(sources, recognizer, [recorder], encoder(), report_s=(2.0, 0.0, 60.0, 2.0)).run()
    (event,) = [event for event in recorder.of("status") if event.reason not in ("ready", "no_speech", "stopped")]
    assert (event.source, event.reason) == ("hall", "digital_silence")
    assert event.message == "hall: nothing but digital silence: is it muted, or not connected?"
    mute = [event.source for event in recorder.of("status") if event.reason == "no_speech"]
    assert sorted(mute) == ["hall", "street", "yard"]


def test_a_source_cannot_be_bound_to_somebody_who_is_not_enrolled(recognizer: Recognizer, tmp_path: Path) -> None:
    settings = Settings(speakers=SpeakerSettings(store=str(tmp_path)))
    engine = Engine([Played(turns(1))], recognizer, [Recorder()], settings, bound_to=[("Zoe",)])
    with pytest.raises(StoreError, match="Zoe"):
        engine.run()
