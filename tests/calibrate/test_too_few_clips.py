"""Corpora that are too small for an experiment, or lack an emotion: one line says so, or what is left out is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate.cli.app import main
from calibrate.corpora import Utterance
from calibrate.dataset import Part, require_labels
from calibrate.experiments.clip_counts import MOST_NAMES, listed, speakers_with_clips
from calibrate.experiments.enrolment import CONDITIONS, cannot_enrol, measure
from calibrate.experiments.enrolment_report import enrolment_report
from calibrate.experiments.selection import complete
from calibrate.left_out import _held_out
from calibrate.splits import Fold
from calibrate.streams import KINDS, DeviceModel, draw_streams
from edge.errors import UsageError
from helpers.calling import exit_code
from helpers.factors import LABELS, World
from helpers.models import emotional, write_clip, write_table
from helpers.tiny import tiny_bundle, tiny_speaker_encoder

Clips = dict[str, dict[str, int]]
"""Speaker to emotion to clips."""
Corpora = dict[str, Clips]
WORLD = World(2)
MODEL = DeviceModel(WORLD.head(), WORLD.population())
EMOTIONS = ("neutral", "happy", "angry")
PEOPLE = ("anna", "ben", "cem", "dana")


def everyone(clips: int, emotions: tuple[str, ...] = EMOTIONS) -> Clips:
    return {person: dict.fromkeys(emotions, clips) for person in PEOPLE}


ALONE: Clips = {person: {emotion: 1} for person, emotion in zip(PEOPLE, (*EMOTIONS, "happy"), strict=True)}
"""One clip a speaker."""


def part_of(counts: dict[str, list[int]], corpus: str = "world") -> Part:
    """Return utterances that are nowhere, so many of each label."""
    rows = [
        (name, label) for name, labels in counts.items() for label, count in enumerate(labels) for _ in range(count)
    ]
    utterances = [
        Utterance(path=Path(f"{row}.wav"), corpus=corpus, speaker=name, emotion=LABELS[label])
        for row, (name, label) in enumerate(rows)
    ]
    return Part(utterances, np.array([label for _, label in rows], np.int64))


counted = st.dictionaries(
    st.sampled_from(PEOPLE),
    st.lists(st.integers(0, 3), min_size=len(LABELS), max_size=len(LABELS)).filter(any),
    min_size=1,
)


@given(counted, st.integers(1, 9))
def test_speakers_with_clips_enough_are_kept_and_the_others_named(counts: dict[str, list[int]], least: int) -> None:
    part = part_of(counts)
    enough = {name for name, labels in counts.items() if sum(labels) >= least}
    if not enough:
        with pytest.raises(
            UsageError, match=rf"^no speaker has {least} clips, for tea: world has {len(counts)} speaker"
        ):
            speakers_with_clips(part.corpora, part.speakers, least, "for tea")
        return
    kept, left_out = speakers_with_clips(part.corpora, part.speakers, least, "for tea")
    assert set(kept.tolist()) == enough
    for name, labels in counts.items():
        assert any(f"{name} ({sum(labels)})" in text for text in left_out) == (name not in enough)


def test_a_corpus_without_anybody_is_named_with_what_it_has(caplog: pytest.LogCaptureFixture) -> None:
    corpora = np.array(["own"] * 3 + ["other"] * 2)
    speakers = np.array(["own-a"] * 3 + ["other-a", "other-b"])
    kept, left_out = speakers_with_clips(corpora, speakers, 3, "two to enrol with and one to be tested on")
    assert kept.tolist() == ["own-a"]
    assert left_out == caplog.messages
    assert left_out == [
        "other is left out: it has 2 speakers of at most 1 clip, and 3 are needed, two to enrol with and one to be "
        "tested on"
    ]


def test_a_list_of_names_is_not_too_long() -> None:
    names = [str(number) for number in range(MOST_NAMES + 3)]
    assert listed(names[:MOST_NAMES]) == "0, 1, 2, 3, 4, 5"
    assert listed(names) == "0, 1, 2, 3, 4, 5 and 3 more"


@settings(max_examples=20, deadline=None)
@given(counted)
def test_whoever_can_enrol_is_measured_and_who_cannot_is_named(counts: dict[str, list[int]]) -> None:
    part = part_of(counts)
    embeddings = np.concatenate([WORLD.clips(WORLD.speaker(), [label]) for label in part.labels])
    gains, speaker_gains = measure(MODEL, part, embeddings, clips=(0, 8), draws=1)
    able = {
        "unlabelled": [name for name, labels in counts.items() if sum(labels) > 1],
        "one-sided": [name for name, labels in counts.items() if max(labels) > 1],
        "neutral": [name for name, labels in counts.items() if labels[0] > 1],
    }
    able["labelled"] = able["unlabelled"]
    for condition in CONDITIONS:
        found = [gain for gain in gains if gain.condition == condition]
        assert [gain.speakers for gain in found] == [len(able[condition])] * (2 if able[condition] else 0)
        assert all(0 <= ua <= 1 for gain in found for ua in gain.ua.values())
    assert set(speaker_gains) == set(able["unlabelled"])
    said = cannot_enrol(part, LABELS)
    for condition in ("one-sided", "neutral"):
        (text,) = [text for text in said if condition in text] or [""]
        assert bool(text) == (len(able[condition]) < len(counts))
        if text and able[condition]:
            assert all((name in text) == (name not in able[condition]) for name in counts)
    if gains:
        enrolment_report(gains, speaker_gains, "of a test").markdown()


def test_a_report_draws_what_each_corpus_has(tmp_path: Path) -> None:
    gains = []
    for corpus, labels in (("lively", [0, 4, 4, 4]), ("all", [4, 4, 4, 4])):
        part = part_of({"anna": labels, "ben": labels}, corpus)
        gains += measure(MODEL, part, WORLD.clips(WORLD.speaker(), part.labels.tolist()), clips=(0, 2), draws=2)[0]
    enrolment_report(gains, {}, "of a test").write(tmp_path)
    table = (tmp_path / "adaptation.md").read_text()
    assert "| all | neutral |" in table
    assert "| lively | neutral |" not in table
    assert (tmp_path / "adaptation.png").stat().st_size > 1_000


def test_neutral_is_a_label_and_not_the_first_one() -> None:
    """Of a recipe without it, nobody enrols neutral."""
    part = part_of({"anna": [4, 4, 0, 0]})
    assert cannot_enrol(part, ("neutral", "happy")) == []
    assert cannot_enrol(part, ("happy", "neutral")) == []
    (text,) = cannot_enrol(part, ("happy", "angry"))
    assert text == (
        "world: no neutral enrolment: it takes 2 clips that are neutral, one to enrol with and one to be tested on"
    )


@given(st.integers(1, 30), st.sampled_from(KINDS))
def test_of_one_label_nothing_can_be_raised(count: int, kind: str) -> None:
    streams = draw_streams(np.full(count, 2), kind, range(2))  # type: ignore[arg-type]
    assert [sorted(stream.tolist()) for stream in streams] == [list(range(count))] * (2 if kind == "balanced" else 0)


@settings(max_examples=60)
@given(counted)
def test_a_temperature_is_fitted_where_something_is_left_to_learn_from(counts: dict[str, list[int]]) -> None:
    part = part_of(counts)
    for held in _held_out(part):
        assert len(held)
        assert len(np.unique(np.delete(part.labels, held))) > 1


def test_training_takes_two_labels() -> None:
    require_labels(part_of({"anna": [1, 1, 0, 0]}), LABELS)
    with pytest.raises(UsageError, match=r"^world: 3 clips to train on, all sad; at least two labels are needed$"):
        require_labels(part_of({"anna": [0, 0, 1, 0], "ben": [0, 0, 2, 0]}), LABELS)
    with pytest.raises(UsageError, match=r"^no clip to train on; at least two labels are needed$"):
        require_labels(part_of({}), LABELS)


def test_a_fold_trains_and_tests() -> None:
    some = part_of({"anna": [2, 0, 0, 0]}).utterances
    assert complete([Fold(some, some)]) == [Fold(some, some)]
    with pytest.raises(
        UsageError, match=r"fold 1 of 1 has nothing to train on: it tests on all 2 clips, of 1 speaker$"
    ):
        complete([Fold([], some)])
    with pytest.raises(UsageError, match=r"fold 2 of 2 has nothing to test on: it trains on all 2 clips"):
        complete([Fold(some, some), Fold(some, [])])


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoders: dict[str, Path], recipe_file: Callable[..., Path]
) -> Callable[..., int]:
    """Call an experiment of ``affectd-calibrate`` on corpora, all of whose speakers train, or test as well."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "240")

    def call(corpora: Corpora, command: str, *options: object) -> int:
        for corpus, people in corpora.items():
            rows = [
                (f"{person}-{emotion}-{take}.wav", person, emotion)
                for person, emotions in people.items()
                for emotion, count in emotions.items()
                for take in range(count)
            ]
            for path, person, emotion in rows:
                write_clip(tmp_path / corpus / path, emotional(emotion, f"{person}{path[-5]}"))
            write_table(tmp_path / corpus / f"{corpus}.csv", ("path", "speaker", "emotion"), rows)
        tests = command in ("household", "verification")
        splits = [
            (corpus, person, "test" if tests and number % 2 else "train")
            for corpus, people in corpora.items()
            for number, person in enumerate(people)
        ]
        write_table(tmp_path / "splits.csv", ("corpus", "speaker", "split"), splits)
        entries = [{"name": "csv", "folder": name, "licence": "own", "licence_verified": False} for name in corpora]
        recipe = recipe_file(
            corpora=entries, encoder={"name": str(encoders["whisper"])}, augmentation={"copies": 0},
            head={"kind": "logistic", "dim": 8},
        )  # fmt: skip
        words: tuple[object, ...] = (command, recipe, *options)
        if command == "household":
            words = (command, tiny_bundle(tmp_path / "bundle"), "--recipe", recipe, *options)
        if command == "verification":
            onnx.save(tiny_speaker_encoder(), tmp_path / "speaker.onnx")
            words = (command, recipe, "--encoder", "speaker.onnx", "--draws", 1, *options)
        where = ("--data", tmp_path, "--out", "report", "--threads", 1)
        return exit_code(main, monkeypatch, "affectd-calibrate", *words, *where)

    return call


ONE_CLIP = "no speaker has 2 clips, one to enrol with and one to be tested on: own has 4 speakers of at most 1 clip"
FOLDS, QUICK = ("--folds", 2), ("--quick", "--folds", 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("corpora", "words", "message"),
    [
        ({"own": ALONE}, ("crossvalidate", *FOLDS), ONE_CLIP),
        ({"own": ALONE}, ("strangers", *FOLDS), ONE_CLIP),
        ({"own": ALONE}, ("verification",), ONE_CLIP),
        (
            {"own": everyone(2)},
            ("household",),
            "no speaker has 9 clips, 8 to enrol with and one to say: own has 2 speakers of at most 6 clips",
        ),
        (
            {"own": everyone(4, ("happy",))},
            ("crossvalidate", *FOLDS),
            "own: 8 clips to train on, all happy; at least two labels are needed",
        ),
        (
            {"own": {"anna": everyone(4)["anna"]}},
            ("crossvalidate", *FOLDS),
            "own has 1 speakers to train on, too few for 2 folds",
        ),
        (
            {"own": {"anna": everyone(4)["anna"]}},
            ("folds", "--split", "loso"),
            "fold 1 of 1 has nothing to train on: it tests on all 12 clips, of 1 speaker",
        ),
        (
            {"own": ALONE},
            ("folds", "--split", "random"),
            "fold 1 of 1 has nothing to test on: it trains on all 4 clips, of 4 speakers",
        ),
        (
            {"own": everyone(4), "other": everyone(4, ("neutral",))},
            ("generalise", *QUICK),
            "leaving a corpus out takes at least two that train and have several labels: there is own",
        ),
    ],
)
def test_what_is_too_little_for_anything_is_one_line(
    corpora: Corpora,
    words: tuple[object, ...],
    message: str,
    call: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(corpora, *words) == 2
    assert capsys.readouterr().err == f"affectd-calibrate: {message}\n"
    assert not Path("report").exists()


NO_NEUTRAL = "no neutral enrolment: it takes 2 clips that are neutral, one to enrol with and one to be tested on"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("corpora", "words", "said"),
    [
        ({"own": everyone(4, ("happy", "angry"))}, ("crossvalidate", *FOLDS), [f"own: {NO_NEUTRAL}"]),
        (
            {"own": everyone(4), "other": ALONE},
            ("crossvalidate", *FOLDS),
            ["other is left out: it has 4 speakers of at most 1 clip, and 2 are needed"],
        ),
        (
            {"own": everyone(4) | {"eli": {"happy": 1}}},
            ("strangers", *FOLDS),
            ["own: left out for fewer than 2 clips, one to enrol with and one to be tested on: own-eli (1)"],
        ),
        (
            {"own": everyone(4) | {"eli": {"happy": 1}, "fay": {"happy": 8}}},
            ("household",),
            ["own: left out for fewer than 9 clips, 8 to enrol with and one to say: own-fay (8)"],
        ),
        (
            {"own": everyone(2) | {name: {"happy": 2} for name in ("eli", "fay", "gil")} | {"hal": {"happy": 1}}},
            ("verification",),
            ["own: left out for fewer than 2 clips, one to enrol with and one to be tested on: own-hal (1)"],
        ),
    ],
)
def test_who_is_left_out_is_said_and_the_others_are_measured(
    corpora: Corpora,
    words: tuple[object, ...],
    said: list[str],
    call: Callable[..., int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert call(corpora, *words) == 0
    (report,) = Path("report").glob("*.json")
    protocol = json.loads(report.read_text())["protocol"]
    for text in said:
        assert any(message.startswith(text) for message in caplog.messages)
        assert text in protocol


@pytest.mark.slow
@pytest.mark.parametrize(
    "other",
    [
        everyone(4, ("happy", "angry")),
        ALONE,
        {person: {emotion: 4} for person, emotion in zip(PEOPLE, (*EMOTIONS, "happy"), strict=True)},
    ],
    ids=["no neutral", "one clip a speaker", "one label a speaker"],
)
def test_corpora_that_lack_something_generalise(other: Clips, call: Callable[..., int]) -> None:
    assert call({"own": everyone(4), "other": other}, "generalise", *QUICK) == 0
    report = json.loads(Path("report/generalisation.json").read_text())
    found = {(gain["corpus"], gain["condition"]) for gain in report["enrolment"]}
    assert {corpus for corpus, _ in found} == ({"own"} if other is ALONE else {"own", "other"})
    assert (("other", "neutral") in found) == (other is not ALONE and "neutral" in other["anna"])
    assert "Enrolment by 8 unlabelled clips" in Path("report/generalisation.md").read_text()


@pytest.mark.slow
def test_where_nobody_can_enrol_the_rest_is_reported(call: Callable[..., int]) -> None:
    labels = ("happy", "angry")
    other = {f"p{number}": {labels[number % 2]: 1} for number in range(8)}
    assert call({"own": other, "other": other}, "generalise", *QUICK) == 0
    report = json.loads(Path("report/generalisation.json").read_text())
    assert report["enrolment"] == []
    assert report["left_out"]
    assert "No speaker has clips enough to enrol with." in Path("report/generalisation.md").read_text()
