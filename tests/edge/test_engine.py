import io
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.bundle import Bundle
from edge.capture import FileSource, LiveSource, PcmSource, Source
from edge.encoder import Encoder
from edge.engine import Engine
from edge.errors import AudioFileError, ModelError, StoreError
from edge.event import Event
from edge.outputs import EventIterator
from edge.people import refine as refine_module
from edge.people.household import Household
from edge.people.store import SpeakerStore
from edge.recognizer import Encoding, Recognizer
from edge.settings import EncoderSettings, Settings, SpeakerSettings
from edge.summary import Summary
from edge.timing import STAGES, Timing
from edge.vad import to_pcm
from helpers.conversation import Conversation
from helpers.household import anna, enrol
from helpers.running import Gated, Played, Recorder, encoder, turns
from helpers.signals import silence, speech_like


def run(source: Played, bundle: Bundle, settings: Settings) -> tuple[Summary, Recorder]:
    recorder = Recorder()
    return Engine([source], Recognizer(bundle, settings.encoder), [recorder], settings).run(), recorder


def test_a_conversation_becomes_events(conversation: Conversation, bundle: Bundle) -> None:
    summary, recorder = run(Played(conversation.samples), bundle, encoder())

    ready, *_, stopped = recorder.events
    events = recorder.of("utterance")
    assert (ready.reason, stopped.reason) == ("ready", "stopped")
    assert ready.message == "ready: bundle tiny 0 on CPUExecutionProvider; nobody enrolled"
    assert stopped.message == "stopped"
    assert tuple(event.emotion for event in events) == conversation.emotions
    for event, turn_s in zip(events, conversation.turns_s, strict=True):
        assert (event.start_s, event.end_s) == pytest.approx(turn_s, abs=0.15)
        assert sum(event.scores.values()) == pytest.approx(1, abs=1e-5)
        assert event.confidence == max(event.scores.values())
        assert event.needs_review == (event.confidence < 0.8)
        assert datetime.fromisoformat(event.time).utcoffset() is not None
    assert (summary.utterances, summary.skipped, summary.dropped_s) == (3, 0, 0)
    assert summary.audio_s == pytest.approx(len(conversation.samples) / SAMPLE_RATE_HZ)


def test_latency_runs_from_the_end_of_speech(conversation: Conversation, bundle: Bundle) -> None:
    summary, recorder = run(Played(conversation.samples), bundle, encoder())
    for event in recorder.of("utterance"):
        stages = dict(event.latency_ms)
        total, provisional = stages.pop("total"), stages.pop("provisional")
        assert list(stages) == ["endpoint", "capture", "queue", "encoder", "speaker", "adapt", "head"]
        assert all(value >= 0 for value in stages.values())
        assert stages["endpoint"] == pytest.approx(500, abs=31), "the silence that ends an utterance"
        assert total >= stages["endpoint"] + stages["capture"]
        (early,) = [other for other in recorder.of("provisional") if other.id == event.id]
        stages = dict(early.latency_ms)
        assert provisional == stages.pop("total") == pytest.approx(sum(stages.values()))
        assert stages["endpoint"] == pytest.approx(encoder().segmenter.tail_s * 1e3), (
            "the silence that the encoder gets"
        )
    totals = [event.latency_ms["total"] for event in recorder.of("utterance")]
    assert summary.total_p50_ms == pytest.approx(np.median(totals))
    assert summary.total_p95_ms <= max(totals)
    early = [event.latency_ms["provisional"] for event in recorder.of("utterance")]
    assert summary.provisional_p50_ms == pytest.approx(np.median(early))


def test_an_observer_learns_where_the_time_of_each_utterance_went(conversation: Conversation, bundle: Bundle) -> None:
    timings: list[Timing] = []
    recorder, settings = Recorder(), encoder()
    source = Played(conversation.samples, lost_s=1.0)
    Engine([source], Recognizer(bundle, settings.encoder), [recorder], settings, [timings.append]).run()
    events = recorder.of("utterance")
    for timing, event in zip(timings, events, strict=True):
        assert set(timing.stage_ms) == set(STAGES)
        latency_ms = dict(event.latency_ms)
        assert (timing.provisional_ms, timing.total_ms) == (latency_ms.pop("provisional"), latency_ms.pop("total"))
        assert timing.stage_ms.items() >= latency_ms.items()
        assert timing.bucket_s == event.bucket_s
        assert min(timing.stage_ms.values()) >= 0
        assert timing.stage_ms["vad"] > 0
        assert (timing.skipped, timing.lost_s) == (0, 1.0)
        assert timing.speech_s < timing.audio_s
    audio_s = sum(timing.audio_s for timing in timings)
    assert events[-1].end_s - 1.0 < audio_s <= len(conversation.samples) / SAMPLE_RATE_HZ


def test_inference_never_runs_on_the_listening_thread(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    embed = Encoder.embed
    monkeypatch.setattr(Encoder, "embed", lambda *args: threads.append(threading.current_thread()) or embed(*args))
    run(Played(turns(2)), bundle, encoder())
    assert set(threads) == {threading.current_thread()}


def test_a_slow_encoder_never_blocks_capture_and_skips_the_oldest(bundle: Bundle) -> None:
    source = Played(turns(8), can_wait=False)
    recognizer = Gated(bundle, EncoderSettings())
    recognizer.gate = source.ended  # opens only when capture got to its end with nothing recognised yet
    recorder = Recorder()

    summary = Engine([source], recognizer, [recorder], encoder(queue_utterances=2)).run()

    skipped, utterances = recorder.of("skipped"), recorder.of("utterance")
    assert len(skipped) + len(utterances) == 8
    assert len(skipped) >= 4, "two may be in the encoder and two may wait"
    assert summary.skipped == len(skipped)
    assert f"{len(skipped)} skipped" in str(summary)
    assert all("too slow" in event.message and event.start_s < event.end_s for event in skipped)
    assert max(event.start_s for event in skipped) < utterances[-2].start_s, "the newest are kept"


def test_what_waits_runs_as_one_batch_and_is_said_in_order(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = []
    embed = Encoder.embed
    source = Played(turns(4))
    recognizer = Gated(bundle, EncoderSettings())
    recognizer.load()
    monkeypatch.setattr(Encoder, "embed", lambda *args: batches.append(len(args[1])) or embed(*args))
    recognizer.gate = source.ended
    recorder = Recorder()

    Engine([source], recognizer, [recorder], encoder()).run()

    assert sum(batches) == 4
    assert max(batches) == 2, "the others wait, all are of one bucket of 2 s, and a CPU takes 4 s at a time"
    starts = [event.start_s for event in recorder.of("utterance")]
    assert starts == sorted(starts)
    assert all(min(event.latency_ms.values()) >= 0 for event in recorder.of("utterance"))


def sources(kind: str, samples: Waveform, folder: Path) -> Source:
    """Return a recording as a source; a live one tells at its end."""
    path = folder / "turns.wav"
    soundfile.write(path, samples, SAMPLE_RATE_HZ)
    return {
        "fast file": lambda: FileSource(path),
        "fast pipe": lambda: PcmSource(io.BytesIO(to_pcm(samples)), SAMPLE_RATE_HZ),
        "live file": lambda: LiveSource(FileSource(path, realtime=True), 60),
        "live pipe": lambda: LiveSource(PcmSource(io.BytesIO(to_pcm(samples)), SAMPLE_RATE_HZ, realtime=True), 60),
    }[kind]()


@pytest.mark.parametrize("kind", ["fast file", "fast pipe"])
def test_a_source_that_can_wait_loses_nothing_whatever_the_settings(kind: str, bundle: Bundle, tmp_path: Path) -> None:
    recognizer = Gated(bundle, EncoderSettings())
    recognizer.gate = threading.Event()
    source = sources(kind, turns(6), tmp_path)
    engine = Engine([source], recognizer, [recorder := Recorder()], encoder(queue_utterances=1))
    threading.Timer(0.3, recognizer.gate.set).start()

    assert engine.run().utterances == 6
    assert not recorder.of("skipped")


@pytest.mark.parametrize("kind", ["live file", "live pipe"])
def test_a_live_source_never_waits_for_the_encoder(kind: str, bundle: Bundle, tmp_path: Path) -> None:
    class UntilTheEnd(Recognizer):
        """Slow until the source is over."""

        def encode(self, waveforms: Sequence[Waveform], voiceprints: bool = False) -> list[Encoding]:
            while any(thread.name.startswith("listening") for thread in threading.enumerate()):
                time.sleep(0.01)
            return super().encode(waveforms, voiceprints)

    short = np.concatenate([np.concatenate([speech_like(0.6, seed), silence(0.6, seed=seed)]) for seed in range(4)])
    recognizer = UntilTheEnd(bundle, EncoderSettings())
    recorder = Recorder()
    summary = Engine([sources(kind, short, tmp_path)], recognizer, [recorder], encoder(queue_utterances=1)).run()

    assert summary.utterances + summary.skipped == 4
    assert summary.skipped == len(recorder.of("skipped")) >= 2


def test_an_error_of_the_source_reaches_the_caller_after_what_was_heard(bundle: Bundle) -> None:
    def fail() -> None:
        raise AudioFileError("talk.wav: broke off")

    settings = encoder()
    speech_without_end = np.concatenate([silence(0.5), speech_like(1.0)])
    engine = Engine(
        [Played(speech_without_end, fail)], Recognizer(bundle, settings.encoder), [recorder := Recorder()], settings
    )
    with pytest.raises(AudioFileError, match="broke off"):
        engine.run()
    assert [event.type for event in recorder.events] == ["status", "speech_start", "provisional", "utterance"]


def test_the_model_is_ready_before_the_source_opens(bundle: Bundle) -> None:
    settings = Settings(encoder=EncoderSettings(provider="cuda", require_provider=True))
    source = Played(turns(1))
    with pytest.raises(ModelError, match="'cuda' was wanted, CPUExecutionProvider is in use"):
        Engine([source], Recognizer(bundle, settings.encoder), [Recorder()], settings).run()
    assert not source.opened


def test_stop_flushes_what_was_being_said(bundle: Bundle) -> None:
    settings = encoder()
    source = Played(np.concatenate([silence(0.5), speech_like(2.0)]))
    recorder = Recorder()
    engine = Engine([source], Recognizer(bundle, settings.encoder), [recorder], settings)
    source.at_end = engine.stop
    engine.run()
    (event,) = recorder.of("utterance")
    assert event.end_s == pytest.approx(2.5, abs=0.1)
    assert recorder.events[-1].message == "stopped"


def test_stop_ends_an_endless_source(bundle: Bundle) -> None:
    settings = encoder()
    endless = Played(_Endless(turns(1)))
    engine: Engine
    recorder = Recorder(lambda event: engine.stop() if event.type == "utterance" else None)
    engine = Engine([endless], Recognizer(bundle, settings.encoder), [recorder], settings)
    assert engine.run().utterances >= 1
    assert recorder.events[-1].message == "stopped"


class _Endless:
    """A waveform that repeats for ever."""

    def __init__(self, samples: Waveform) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, wanted: slice) -> Waveform:
        return self._samples.take(range(wanted.start, wanted.stop), mode="wrap")


def test_a_reader_that_went_away_closes_the_source(bundle: Bundle) -> None:
    def broken(_event: Event) -> None:
        raise BrokenPipeError

    settings = encoder()
    source = Played(turns(2))
    with pytest.raises(BrokenPipeError):
        Engine([source], Recognizer(bundle, settings.encoder), [Recorder(broken)], settings).run()
    assert source.closed


def test_lost_audio_is_counted_and_moves_the_clock(bundle: Bundle) -> None:
    summary, recorder = run(Played(turns(1), lost_s=3.0), bundle, encoder())
    (event,) = recorder.of("utterance")
    assert event.start_s == pytest.approx(3.5, abs=0.1)
    assert event.dropped_s == summary.dropped_s == 3.0
    assert "3.0 s lost" in str(summary)


def test_speech_beyond_the_longest_bucket_is_cut_and_marked(bundle: Bundle) -> None:
    _, recorder = run(Played(np.concatenate([silence(0.5), speech_like(9.0), silence(1.0)])), bundle, encoder())
    events = recorder.of("utterance")
    assert [event.truncated for event in events] == [True] * (len(events) - 1) + [False]
    assert len(events) >= 3
    assert all(event.end_s - event.start_s <= 4.0 for event in events)
    assert {event.bucket_s for event in events} <= {1.0, 2.0, 4.0}


def test_silence_gives_a_summary_without_latency(bundle: Bundle) -> None:
    summary, recorder = run(Played(silence(2.0)), bundle, encoder())
    assert [event.reason for event in recorder.events] == ["ready", "no_speech", "stopped"]
    assert summary.total_p50_ms is None
    assert str(summary) == "0 utterances in 2.0 s of audio"


def test_people_are_named_as_soon_as_they_are_enrolled_and_refined_if_they_agreed(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refine_module, "UTTERANCES", 3)
    settings = encoder().model_copy(update={"speakers": SpeakerSettings(store=str(tmp_path))})
    said = [silence(0.5)]
    for seed in range(6):
        said += [anna(1.2, seed), silence(0.8, seed=seed)]

    timings: list[Timing] = []

    def enrol_anna(timing: Timing) -> None:
        timings.append(timing)
        if len(timings) == 2:
            enrol(tmp_path, bundle, "Anna", anna)
            with SpeakerStore.open(tmp_path) as store:
                store.allow_refinement("Anna", True)

    recorder = Recorder()
    recognizer = Recognizer(bundle, settings.encoder.model_copy(update={"max_batch": 1}))
    one_at_a_time = settings.model_copy(update={"encoder": recognizer.settings})
    Engine([Played(np.concatenate(said))], recognizer, [recorder], one_at_a_time, [enrol_anna]).run()

    names = [event.speaker.name if event.speaker else None for event in recorder.of("utterance")]
    assert names == [None, None, "Anna", "Anna", "Anna", "Anna"]
    assert [event.adapted for event in recorder.of("utterance")] == [name is not None for name in names]
    messages = [event.message for event in recorder.of("status")]
    assert messages[0].endswith("nobody enrolled")
    assert messages[1:3] == ["knows Anna", "the profile of Anna was refined"]
    assert [event.reason for event in recorder.of("status")][1:3] == ["people_changed", "profile_refined"]


def test_trouble_with_the_store_is_told_once_and_stops_nothing(
    bundle: Bundle, conversation: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Household) -> bool:
        raise StoreError("speakers.db: the disk is full")

    monkeypatch.setattr(Household, "refresh", broken)
    _, recorder = run(Played(conversation.samples), bundle, encoder())
    assert len(recorder.of("utterance")) == 3
    told = [event.message for event in recorder.of("status") if "stay as they were" in event.message]
    assert told == ["the speakers stay as they were: speakers.db: the disk is full"]


def test_a_store_that_cannot_be_read_is_an_error_before_anything_is_heard(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "speakers.db").write_bytes(b"no database, whatever it is called" * 100)
    settings = encoder().model_copy(update={"speakers": SpeakerSettings(store=str(tmp_path))})
    source = Played(turns(1))
    with pytest.raises(StoreError, match=r"speakers\.db"):
        run(source, bundle, settings)
    assert not source.opened


def test_an_observer_that_fails_is_dropped_with_one_warning(
    conversation: Conversation, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[str] = []
    timings: list[Timing] = []

    def broken(timing: Timing) -> None:
        called.append("broken")
        raise ValueError("out of order")

    settings = encoder()
    recognizer = Recognizer(bundle, settings.encoder)
    recorder = Recorder()
    Engine([Played(conversation.samples)], recognizer, [recorder], settings, [broken, timings.append]).run()
    assert called == ["broken"]
    assert len(timings) == len(recorder.of("utterance")) == 3
    assert len(caplog.records) == 1
    assert "observes no more" in caplog.text


def test_a_broken_output_is_reported_to_the_others_and_in_the_summary(
    conversation: Conversation, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: Event) -> None:
        if event.type == "utterance":
            raise OSError(28, "No space left on device")

    settings = encoder(max_batch=1)
    broken, recorder = Recorder(fail), Recorder()
    broken.name = "disk"
    engine = Engine([Played(conversation.samples)], Recognizer(bundle, settings.encoder), [broken, recorder], settings)
    summary = engine.run()
    assert len(recorder.of("utterance")) == 3
    assert caplog.messages == ["output disk failed: No space left on device"]
    lost = len(recorder.events) - recorder.events.index(recorder.of("utterance")[0])
    assert summary.lost_events == {"disk": lost}
    assert str(summary).endswith(f", {lost} events lost by disk")


def test_events_can_be_iterated_over_in_the_same_process(conversation: Conversation, bundle: Bundle) -> None:
    settings = encoder()
    events = EventIterator()
    engine = Engine([Played(conversation.samples)], Recognizer(bundle, settings.encoder), [events], settings)
    running = threading.Thread(target=engine.run)
    running.start()
    assert tuple(event.emotion for event in events if event.type == "utterance") == conversation.emotions
    running.join(30)
    assert not running.is_alive()


def test_who_stops_to_iterate_holds_nothing_up(bundle: Bundle) -> None:
    settings = encoder()
    events = EventIterator()
    source = Played(_Endless(turns(1)))
    engine = Engine([source], Recognizer(bundle, settings.encoder), [events], settings)
    running = threading.Thread(target=engine.run)
    running.start()
    assert next(events).type == "status"
    engine.stop()
    events.stop()
    running.join(30)
    assert not running.is_alive()
    assert list(events) == []
