from collections.abc import Iterator

import numpy as np
import pytest

from edge.audio import SAMPLE_RATE_HZ
from edge.bundle import Bundle
from edge.errors import AudioFileError
from edge.people.household import Household
from edge.recognizer import Recognizer
from edge.settings import Settings
from edge.stream import Stream, Utterance, new_segmenter
from helpers.conversation import Conversation
from helpers.running import Played, turns
from helpers.signals import silence, speech_like


def stream_of(source: Played, bundle: Bundle) -> Stream:
    settings = Settings()
    segmenter = new_segmenter(Recognizer(bundle, settings.encoder), settings)
    return Stream(source, segmenter, Household(bundle, settings.speakers))


def every(stream: Stream) -> list[Utterance]:
    return [item for items in stream.utterances() for item in items if item.step == "ended"]


def test_a_recording_becomes_utterances_on_its_own_clock(conversation: Conversation, bundle: Bundle) -> None:
    source = Played(conversation.samples, lost_s=2.0)
    stream = stream_of(source, bundle)
    utterances = every(stream)
    for utterance, turn_s in zip(utterances, conversation.turns_s, strict=True):
        assert utterance.stream is stream
        assert utterance.source == "played"
        turn = (utterance.segment.start_s - 2.0, utterance.segment.end_s - 2.0)
        assert turn == pytest.approx(turn_s, abs=0.15)
        assert utterance.capture_ms >= 0
        assert utterance.vad_ms > 0
    assert stream.audio_s == pytest.approx(len(conversation.samples) / SAMPLE_RATE_HZ)
    assert stream.lost_s == 2.0
    assert sum(utterance.audio_s for utterance in utterances) <= stream.audio_s


def test_there_is_a_list_for_every_block(bundle: Bundle) -> None:
    source = Played(turns(1))
    steps = [[item.step for item in items] for items in stream_of(source, bundle).utterances() if items]
    assert steps == [["started"], ["provisional"], ["ended"]]
    blocks = list(Played(turns(1)).blocks())
    assert len(list(stream_of(source, bundle).utterances())) == len(blocks)


def test_what_the_failure_of_a_source_cuts_off_comes_before_the_error(bundle: Bundle) -> None:
    def fail() -> None:
        raise AudioFileError("talk.wav: broke off")

    utterances: Iterator[list[Utterance]] = stream_of(
        Played(np.concatenate([silence(0.5), speech_like(1.0)]), fail), bundle
    ).utterances()
    found: list[Utterance] = []

    def take_all() -> None:
        for some in utterances:
            found.extend(some)

    with pytest.raises(AudioFileError, match="broke off"):
        take_all()
    assert [utterance.step for utterance in found] == ["started", "provisional", "ended"]


def test_a_source_that_does_not_open_yields_nothing(bundle: Bundle) -> None:
    def fail() -> None:
        raise AudioFileError("gone.wav: no such file")

    with pytest.raises(AudioFileError, match="no such file"):
        next(stream_of(Played(silence(0), fail), bundle).utterances())


def test_no_utterance_is_longer_than_the_longest_bucket(bundle: Bundle) -> None:
    long = np.concatenate([silence(0.5), speech_like(9.0), silence(1.0)])
    utterances = every(stream_of(Played(long), bundle))
    assert len(utterances) >= 3
    assert all(len(utterance.segment.samples) <= 4.0 * SAMPLE_RATE_HZ for utterance in utterances)
