from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge import analyze as analyze_module
from edge.analyze import analyze, whole_file_waveform
from edge.audio import SAMPLE_RATE_HZ
from edge.bundle import Bundle
from edge.encoder import Encoder
from edge.errors import UsageError
from edge.event import Event
from edge.people.household import Household
from edge.recognizer import Recognizer
from edge.recordings import find_audio
from edge.room import EVEN_ANSWERS, ONE_SIDED, Room
from edge.segment import Segment
from edge.settings import EncoderSettings, Settings
from helpers.conversation import Conversation
from helpers.signals import silence, speech_like

SETTINGS = Settings(encoder=EncoderSettings(max_batch=4))


@pytest.fixture(scope="module")
def recognizer(bundle: Bundle) -> Recognizer:
    recognizer = Recognizer(bundle, SETTINGS.encoder)
    recognizer.load()
    return recognizer


def write(path: Path, level: float = 1.0, duration_s: float = 1.0, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = [silence(0.3), level * speech_like(duration_s, seed), silence(0.3)]
    soundfile.write(path, np.concatenate(samples), SAMPLE_RATE_HZ, "PCM_16" if level <= 1 else "FLOAT")
    return path


def nobody(recognizer: Recognizer) -> Household:
    return Household(recognizer.bundle, SETTINGS.speakers)


def names(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.type, event.source) for event in events]


def test_folders_are_searched_in_a_stable_order(tmp_path: Path) -> None:
    for name in ("b.wav", "A/z.WAV", "a.flac", ".hidden.wav", "notes.txt", "A/deep/er/m.opus"):
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    extra = tmp_path / "unusual.name"
    extra.touch()
    found = find_audio([extra, tmp_path / "folder", extra, tmp_path / "gone.wav"])
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [
        "unusual.name",
        "folder/A/deep/er/m.opus",
        "folder/A/z.WAV",
        "folder/a.flac",
        "folder/b.wav",
        "unusual.name",
        "gone.wav",
    ]


def test_nothing_to_analyse_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such file or folder: .*gone\.wav, .*lost\.wav"):
        find_audio([tmp_path / "gone.wav", tmp_path / "lost.wav"])
    with pytest.raises(UsageError, match=r"no audio in .* \(known: .*\.wav"):
        find_audio([tmp_path])
    with pytest.raises(UsageError, match="no such file or folder: x"):
        find_audio([Path("x" * 300)])


def test_every_utterance_of_a_conversation(conversation: Conversation, recognizer: Recognizer) -> None:
    events = list(analyze([conversation.path], recognizer, nobody(recognizer), SETTINGS))
    assert tuple(event.emotion for event in events) == conversation.emotions
    for event, turn_s in zip(events, conversation.turns_s, strict=True):
        assert (event.start_s, event.end_s) == pytest.approx(turn_s, abs=0.15)
        assert event.path == str(conversation.path)
        assert event.source == "conversation.wav"
        assert set(event.latency_ms) == {"encoder", "speaker", "adapt", "head"}


def test_whole_files_give_one_event_each_in_order(tmp_path: Path, recognizer: Recognizer) -> None:
    random = np.random.default_rng(0)
    levels = random.choice([0.1, 1.0, 3.0], 16)
    files = [
        write(tmp_path / f"{index:02}.wav", level, random.uniform(0.2, 9), seed=index)
        for index, level in enumerate(levels)
    ]
    files += [files[0], write(tmp_path / "quiet.wav", 0.0)]
    events = list(analyze(files, recognizer, nobody(recognizer), SETTINGS, whole_file=True))
    assert [event.path for event in events] == [str(file) for file in files]
    one_by_one = [next(analyze([file], recognizer, nobody(recognizer), SETTINGS, whole_file=True)) for file in files]
    assert [event.emotion for event in events] == [event.emotion for event in one_by_one]
    assert [list(event.scores.values()) for event in events] == [
        pytest.approx(list(event.scores.values()), abs=1e-5) for event in one_by_one
    ]
    assert all(set(event.scores) == {"neutral", "happy", "angry"} for event in events)
    assert all(event.start_s == 0 for event in events)


@pytest.mark.parametrize("whole_file", [True, False])
def test_an_unreadable_file_has_its_error_in_its_place(
    whole_file: bool, tmp_path: Path, recognizer: Recognizer
) -> None:
    files = [write(tmp_path / "a.wav"), tmp_path / "empty.wav", tmp_path / "gone.wav", write(tmp_path / "z.wav")]
    files[1].touch()
    events = list(analyze(files, recognizer, nobody(recognizer), SETTINGS, whole_file))
    assert names(events) == [
        ("utterance", "a.wav"),
        ("error", "empty.wav"),
        ("error", "gone.wav"),
        ("utterance", "z.wav"),
    ]
    assert "is empty (0 bytes)" in events[1].message
    assert "no such file" in events[2].message


def test_what_precedes_the_damage_is_analysed(tmp_path: Path, recognizer: Recognizer) -> None:
    path = tmp_path / "damaged.wav"
    samples = np.concatenate([silence(0.3), speech_like(1.0), np.full(960, 32_768.0, np.float32)])
    soundfile.write(path, samples, SAMPLE_RATE_HZ, "FLOAT")
    assert names(list(analyze([path], recognizer, nobody(recognizer), SETTINGS))) == [
        ("utterance", path.name),
        ("error", path.name),
    ]


def test_memory_is_bounded_by_the_chunk(
    tmp_path: Path, recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyze_module, "CHUNK_UTTERANCES", 4)
    path = write(tmp_path / "a.wav")
    read = []
    events = analyze(
        (read.append(index) or path for index in range(1_000_000)), recognizer, nobody(recognizer), SETTINGS
    )
    for _ in range(10):
        next(events)
    assert len(read) == 12

    monkeypatch.setattr(analyze_module, "CHUNK_S", 0.5)
    next(analyze((read.append(index) or path for index in range(1_000_000)), recognizer, nobody(recognizer), SETTINGS))
    assert len(read) == 13


def test_files_share_batches_of_their_length(
    tmp_path: Path, recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []
    embed = Encoder.embed
    monkeypatch.setattr(
        Encoder,
        "embed",
        lambda self, waveforms, samples: batches.append((len(waveforms), samples)) or embed(self, waveforms, samples),
    )
    files = [write(tmp_path / f"{index}.wav", duration_s=2.5 if index % 2 else 0.2) for index in range(12)]
    list(analyze(files, recognizer, nobody(recognizer), SETTINGS, whole_file=True))
    # On a CPU a batch has no more audio than the longest bucket, 4 s.
    assert batches == [(4, 16_000), (2, 16_000), *[(1, 64_000)] * 6]


def by_path(events: Sequence[Event]) -> dict[str, list[float]]:
    return {event.path or "": list(event.scores.values()) for event in events}


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    levels = np.random.default_rng(1).choice([0.5, 0.8, 1.6], 10)
    return [write(tmp_path / f"{index:02}.wav", level, 1.0, seed=index) for index, level in enumerate(levels)]


def test_files_of_one_room_are_judged_by_all_of_them_in_any_order(clips: list[Path], recognizer: Recognizer) -> None:
    alone = list(analyze(clips, recognizer, nobody(recognizer), SETTINGS, whole_file=True))
    together = list(analyze(clips, recognizer, nobody(recognizer), SETTINGS, whole_file=True, one_room=True))
    assert [event.path for event in together] == [event.path for event in alone]
    assert {event.room for event in alone} == {0}
    (share,) = {event.room for event in together}
    assert 0 < share < len(clips) / (len(clips) + SETTINGS.room.pseudo_utterances)
    assert by_path(together) != by_path(alone)
    shuffled = [clips[index] for index in np.random.default_rng(2).permutation(len(clips))]
    again = analyze(shuffled, recognizer, nobody(recognizer), SETTINGS, whole_file=True, one_room=True)
    for path, scores in by_path(list(again)).items():
        assert scores == pytest.approx(by_path(together)[path], abs=1e-5)


def test_the_room_of_files_is_that_of_their_answers(clips: list[Path], recognizer: Recognizer) -> None:
    """Twice from the answers to the room, and from the room to the answers, written out."""
    head, population, room = recognizer.bundle.head, recognizer.bundle.population, SETTINGS.room
    encodings = recognizer.encode([whole_file_waveform(path) for path in clips])
    embeddings = np.stack([encoding.embedding for encoding in encodings])
    offset = np.zeros(3)
    for _ in range(2):
        answers = head.probabilities((embeddings - offset).astype(np.float32))
        around = embeddings - population.mean - room.label_shift * answers @ population.shifts
        commonest = (np.bincount(answers.argmax(axis=1)).max() + EVEN_ANSWERS * 0.5) / (len(clips) + EVEN_ANSWERS)
        k = room.pseudo_utterances * (1 + ONE_SIDED * max(0, commonest - 0.5))
        share = len(clips) / (len(clips) + k)
        offset = share * around.mean(axis=0)
    expected = head.probabilities((embeddings - offset).astype(np.float32))
    events = analyze(clips, recognizer, nobody(recognizer), SETTINGS, whole_file=True, one_room=True)
    for event, scores in zip(events, expected, strict=True):
        assert event.room == pytest.approx(share)
        assert list(event.scores.values()) == pytest.approx(scores.tolist(), abs=1e-4)


def test_errors_and_utterances_keep_their_places_in_one_room(
    tmp_path: Path, conversation: Conversation, recognizer: Recognizer
) -> None:
    files = [tmp_path / "gone.wav", conversation.path, write(tmp_path / "z.wav")]
    events = list(analyze(files, recognizer, nobody(recognizer), SETTINGS, one_room=True))
    utterance = ("utterance", "conversation.wav")
    assert names(events) == [("error", "gone.wav"), utterance, utterance, utterance, ("utterance", "z.wav")]


def test_what_waits_for_the_room_is_not_the_audio(
    clips: list[Path], recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    room_of = analyze_module._room_of

    def counting(encoded: Sequence[analyze_module.Encoded], *others: Any) -> Room:
        kept.extend(len(found.content.samples) for found, _ in encoded if isinstance(found.content, Segment))
        return room_of(encoded, *others)

    monkeypatch.setattr(analyze_module, "_room_of", counting)
    list(analyze(clips, recognizer, nobody(recognizer), SETTINGS, one_room=True))
    assert set(kept) == {0}
    assert len(kept) >= len(clips)


def test_a_file_that_is_one_utterance_says_what_is_wrong_with_it(tmp_path: Path, recognizer: Recognizer) -> None:
    good = write(tmp_path / "good.wav", 0.5)
    samples, rate_hz = soundfile.read(good, dtype="float32")
    samples[[9_000, -10]] = np.nan, -np.inf
    soundfile.write(tmp_path / "broken.wav", samples, rate_hz, "FLOAT")
    (tmp_path / "cut.wav").write_bytes(good.read_bytes()[:-1_000])
    soundfile.write(tmp_path / "mute.wav", silence(1.0), rate_hz)
    files = [tmp_path / f"{name}.wav" for name in ("good", "broken", "cut", "mute")]
    events = list(analyze(files, recognizer, nobody(recognizer), SETTINGS, whole_file=True))
    assert [event.type for event in events] == ["utterance"] * 4
    assert [event.reason for event in events] == [None, "repaired", "partial", "no_speech"]
    assert [event.emotion for event in events[1:3]] == [events[0].emotion] * 2
    assert events[3].message == "no voice in it"
    assert "message" not in events[0].to_dict()
    events = list(analyze(files, recognizer, nobody(recognizer), SETTINGS))
    assert sorted((event.source, event.reason) for event in events if event.type == "status") == [
        ("broken.wav", "repaired"),
        ("cut.wav", "partial"),
        ("mute.wav", "no_speech"),
    ]
    assert [event.source for event in events if event.type == "utterance"] == ["good.wav", "broken.wav", "cut.wav"]


@pytest.mark.parametrize("offset", [0.3, -0.1, 0.6])
@pytest.mark.parametrize("whole_file", [True, False])
def test_a_constant_offset_changes_nothing(
    offset: float, whole_file: bool, tmp_path: Path, recognizer: Recognizer
) -> None:
    samples, rate_hz = soundfile.read(write(tmp_path / "a.wav", 0.5), dtype="float32")
    soundfile.write(tmp_path / "b.wav", samples + np.float32(offset), rate_hz, "FLOAT")
    plain, moved = (
        list(analyze([tmp_path / name], recognizer, nobody(recognizer), SETTINGS, whole_file))
        for name in ("a.wav", "b.wav")
    )
    assert [(event.start_s, event.emotion) for event in moved] == [(event.start_s, event.emotion) for event in plain]
    assert [list(event.scores.values()) for event in moved] == [
        pytest.approx(list(event.scores.values()), abs=1e-3) for event in plain
    ]
