from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate.corpora import Gender, Utterance
from calibrate.splits import (
    Protocol,
    Split,
    folds_of,
    make_splits,
    protocol_folds,
    read_splits,
    speaker_folds,
    split_by_speaker,
)
from edge.errors import UsageError

FRACTIONS = [(0.7, 0.15, 0.15), (0.6, 0.2, 0.2), (0.8, 0.0, 0.2), (1.0, 0.0, 0.0), (0.34, 0.33, 0.33)]


def recordings(genders: list[Gender | None], clips: int = 2) -> list[Utterance]:
    return [
        Utterance(Path(f"{speaker}-{clip}.wav"), "mine", f"mine-{speaker}", "neutral", gender)
        for clip in range(clips)
        for speaker, gender in enumerate(genders)
    ]


corpora = st.lists(st.sampled_from(["f", "m", None]), min_size=3, max_size=30).map(recordings)
seeds = st.integers(0, 2**32)


def speakers(utterances: list[Utterance]) -> set[str]:
    return {utterance.speaker for utterance in utterances}


@settings(deadline=None)
@given(corpora, st.sampled_from(FRACTIONS), seeds)
def test_random_splits_share_no_speaker_and_lose_nothing(
    utterances: list[Utterance], fractions: tuple[float, float, float], seed: int
) -> None:
    parts = split_by_speaker(utterances, make_splits(utterances, fractions, seed))
    train, validation, test = map(speakers, parts.values())
    assert len(train) + len(validation) + len(test) == len(train | validation | test)
    assert Counter(utterance for part in parts.values() for utterance in part) == Counter(utterances)
    assert [bool(part) for part in parts.values()] == [fraction > 0 for fraction in fractions]


@settings(deadline=None)
@given(corpora, st.integers(2, 30), seeds)
def test_folds_share_no_speaker_and_test_everyone_once(utterances: list[Utterance], k: int, seed: int) -> None:
    k = min(k, len(speakers(utterances)))
    folds = speaker_folds(utterances, k, seed)
    assert len(folds) == k
    for fold in folds:
        assert fold.test
        assert not speakers(fold.train) & speakers(fold.test)
        assert Counter(fold.train + fold.test) == Counter(utterances)
    assert Counter(utterance for fold in folds for utterance in fold.test) == Counter(utterances)
    sizes = [len(speakers(fold.test)) for fold in folds]
    assert max(sizes) - min(sizes) <= 1


@settings(deadline=None)
@given(seeds)
def test_genders_are_balanced_in_every_part(seed: int) -> None:
    utterances = recordings(["f"] * 10 + ["m"] * 10)
    parts = split_by_speaker(utterances, make_splits(utterances, (0.6, 0.2, 0.2), seed))
    for part, women in zip(parts.values(), (6, 2, 2), strict=True):
        assert len({u.speaker for u in part if u.gender == "f"}) == women
        assert len(speakers(part)) == 2 * women
    for fold in speaker_folds(utterances, 5, seed):
        assert Counter(u.gender for u in fold.test) == {"f": 4, "m": 4}


def test_a_seed_draws_the_same_split_whatever_the_order_and_another_seed_another() -> None:
    utterances = recordings(["f", "m"] * 10)
    assert make_splits(utterances, seed=3) == make_splits(utterances[::-1], seed=3)
    assert make_splits(utterances, seed=3) != make_splits(utterances, seed=4)


@pytest.mark.parametrize("fractions", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1)])
def test_fractions_must_make_sense(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError, match="must sum to 1"):
        make_splits(recordings(["f"] * 5), fractions)


def test_too_few_speakers_are_an_error() -> None:
    with pytest.raises(UsageError, match="2 speakers cannot be split into 3 parts"):
        make_splits(recordings(["f", "m"]))
    with pytest.raises(UsageError, match="5 folds are not possible: from 2 to 3"):
        speaker_folds(recordings(["f", "m", "f"]), 5)
    with pytest.raises(UsageError, match="1 folds"):
        speaker_folds(recordings(["f", "m", "f"]), 1)


def test_published_folds() -> None:
    utterances = recordings(["f", "m", "f"], clips=1)
    first, second = folds_of(utterances, [{"mine-0"}, {"mine-1", "mine-2"}])
    assert (speakers(first.test), speakers(first.train)) == ({"mine-0"}, {"mine-1", "mine-2"})
    assert (speakers(second.test), speakers(second.train)) == ({"mine-1", "mine-2"}, {"mine-0"})


def test_split_table(tmp_path: Path) -> None:
    table = tmp_path / "splits.csv"
    table.write_text("corpus,speaker,gender,split\nravdess,01,m,train\nnemo,IC0,f,test\nnemo,IC0,f,test\n")
    assert read_splits(table) == {"ravdess-01": "train", "nemo-IC0": "test"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("corpus,speaker,split\nnemo,IC0,train\nnemo,IC0,test\n", "nemo-IC0 is in train and in test"),
        ("corpus,speaker,split\nnemo,IC0,tset\n", r"nemo-IC0: split 'tset' is not one of .*did you mean 'test'"),
        ("corpus,speaker,splits\nnemo,IC0,test\n", r"no column 'split'.*did you mean 'splits'"),
        ("", "no column 'corpus'"),
    ],
)
def test_bad_split_tables_are_refused_by_name(tmp_path: Path, content: str, message: str) -> None:
    table = tmp_path / "splits.csv"
    table.write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        read_splits(table)
    assert str(table) in str(caught.value)


def test_a_missing_or_binary_split_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.csv: cannot be read: No such file"):
        read_splits(tmp_path / "absent.csv")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"binary\.csv: is not a table in UTF-8"):
        read_splits(binary)


def test_speakers_without_a_split_are_named() -> None:
    splits: dict[str, Split] = {"mine-0": "train"}
    with pytest.raises(UsageError, match=r"no split is given for mine-1, mine-2.*did you mean 'mine-0'"):
        split_by_speaker(recordings(["f", "m", "f"]), splits)


EMOTIONS = ("neutral", "happy", "sad")


def shown(speakers: int, clips: int = 4, corpus: str = "mine", first: int = 1) -> list[Utterance]:
    """Speakers who show each of three emotions equally often."""
    return [
        Utterance(Path(f"{speaker}-{emotion}-{clip}.wav"), corpus, f"{corpus}-{speaker}", emotion)
        for speaker in range(first, first + speakers)
        for emotion in EMOTIONS
        for clip in range(clips)
    ]


unseen: list[Protocol] = ["speaker", "emobox", "loso"]


@settings(deadline=None)
@given(st.sampled_from(unseen), st.integers(7, 30), seeds)
def test_protocols_of_unseen_speakers_test_everyone_once(protocol: Protocol, count: int, seed: int) -> None:
    utterances = shown(count, clips=1)
    folds = protocol_folds(utterances, protocol, k=5, seed=seed)
    assert Counter(utterance for fold in folds for utterance in fold.test) == Counter(utterances)
    for fold in folds:
        assert Counter(fold.train + fold.test) == Counter(utterances)
        assert (fold.shared_speakers, fold.validation) == (set(), [])
    sizes = {len(speakers(fold.test)) for fold in folds}
    assert len(folds) == {"speaker": 5, "emobox": count // 4, "loso": count}[protocol]
    if protocol == "loso":
        assert sizes == {1}
    if protocol == "emobox":
        assert min(sizes) >= 4


def test_emobox_draws_folds_of_four() -> None:
    ravdess = [utterance for utterance in shown(20) if utterance.path.name != "7-happy-0.wav"]
    folds = protocol_folds(ravdess, "emobox", seed=1)
    assert [len(speakers(fold.test)) for fold in folds] == [4] * 5
    assert folds == protocol_folds(ravdess, "emobox", seed=1) != protocol_folds(ravdess, "emobox", seed=2)


@pytest.mark.parametrize("count", [4, 5, 6])
def test_emobox_leaves_one_of_few_speakers_out(count: int) -> None:
    assert [len(speakers(fold.test)) for fold in protocol_folds(shown(count), "emobox")] == [1] * count


@pytest.mark.parametrize(
    "utterances", [shown(3), [*shown(20), *shown(1, clips=9, first=30)]], ids=["few", "unbalanced"]
)
def test_emobox_disregards_few_or_unbalanced_speakers(utterances: list[Utterance]) -> None:
    (fold,) = protocol_folds(utterances, "emobox")
    for emotion in EMOTIONS:
        of_it = sum(utterance.emotion == emotion for utterance in utterances)
        assert sum(utterance.emotion == emotion for utterance in fold.test) == of_it // 4
    assert Counter(fold.train + fold.test) == Counter(utterances)
    assert fold.shared_speakers


def test_emobox_has_no_folds_where_a_corpus_has_its_own() -> None:
    with pytest.raises(UsageError, match="splits emodb as its makers do"):
        protocol_folds(shown(10, corpus="emodb"), "emobox")


def test_emosuperb_has_the_blocks_of_crema_d() -> None:
    folds = protocol_folds(shown(91, clips=1, corpus="crema-d", first=1001), "emosuperb")
    assert [len(speakers(fold.test)) for fold in folds] == [18, 18, 18, 18, 19]
    assert "crema-d-1018" in speakers(folds[0].test)
    assert "crema-d-1019" in speakers(folds[1].test)
    assert not any(fold.shared_speakers for fold in folds)
    few = protocol_folds(shown(20, clips=1, corpus="crema-d", first=1001), "emosuperb")
    assert [len(speakers(fold.test)) for fold in few] == [18, 2], "the actors at hand"
    with pytest.raises(UsageError, match="has folds for crema-d, not for mine"):
        protocol_folds(shown(20), "emosuperb")
    with pytest.raises(UsageError, match="at least two of its blocks: 1001 to 1018"):
        protocol_folds(shown(5, corpus="crema-d", first=1001), "emosuperb")


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(5, 20), seeds)
def test_random_has_everyone_on_all_sides(count: int, clips: int, seed: int) -> None:
    utterances = shown(count, clips)
    (fold,) = protocol_folds(utterances, "random", seed=seed)
    assert Counter(fold.train + fold.validation + fold.test) == Counter(utterances)
    assert speakers(fold.train) == speakers(fold.validation) == speakers(fold.test) == fold.shared_speakers
    assert abs(len(fold.train) - 0.6 * len(utterances)) <= count
    assert abs(len(fold.test) - 0.2 * len(utterances)) <= count
