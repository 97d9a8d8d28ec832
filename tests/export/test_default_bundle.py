import csv
from pathlib import Path

import numpy as np
import pytest

from calibrate.dataset import read_parts
from calibrate.evaluate import evaluate_bundle
from calibrate.recipe import read_recipe
from edge.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from edge.bundle import Bundle
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings
from export.graph.parity import padding_error
from helpers.signals import silence

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED_UA = {"librispeech": 0.75, "emovo": 0.4}
"""Of people and corpora that nothing was learned from."""
MOST_BYTES = 20_000_000
MOST_PADDING_ERROR = 2e-3


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    recognizer = Recognizer(Bundle.load(), EncoderSettings(provider="cpu", threads=2))
    recognizer.load()
    return recognizer


@pytest.fixture(scope="module")
def turns() -> list[Waveform]:
    """The utterances of the example conversation."""
    samples = read_audio(ROOT / "examples" / "conversation.flac")
    with (ROOT / "examples" / "conversation.csv").open(newline="") as file:
        spans_s = [(float(row["start_s"]), float(row["end_s"])) for row in csv.DictReader(file)]
    return [samples[round(start * SAMPLE_RATE_HZ) : round(end * SAMPLE_RATE_HZ)] for start, end in spans_s]


def test_it_is_small_and_int8(recognizer: Recognizer) -> None:
    folder = recognizer.bundle.folder
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MOST_BYTES
    assert {path.name for path in folder.iterdir()} == {"bundle.json", *recognizer.bundle.manifest.files}
    assert recognizer.bundle.manifest.encoder.precision == "int8"


def test_its_published_figures_keep_their_floor(recognizer: Recognizer) -> None:
    metrics = recognizer.bundle.manifest.metrics
    assert {name: row["ua"] >= PUBLISHED_UA[name] for name, row in metrics["corpora"].items()} == dict.fromkeys(
        PUBLISHED_UA, True
    )
    assert "affectd-export bundle" in metrics["protocol"]
    card = (recognizer.bundle.folder / "MODEL_CARD.md").read_text()
    assert "Not for commercial use" in card
    for name, row in metrics["corpora"].items():
        assert f"| {name} | {row['utterances']} | {row['speakers']} | {row['ua']:.3f} |" in card


def test_every_bucket_runs_batches(recognizer: Recognizer, turns: list[Waveform]) -> None:
    for samples in recognizer.buckets:
        embeddings = recognizer.encoder.embed([turns[0][:samples], np.resize(turns[1], samples)], samples)
        assert embeddings.shape == (2, recognizer.encoder.dim)
        assert np.isfinite(embeddings).all()


def test_junk_behind_an_utterance_hardly_moves_it(recognizer: Recognizer, turns: list[Waveform]) -> None:
    for turn in turns[:3]:
        errors = padding_error(recognizer.encoder, turn)
        assert len(errors) >= 6
        assert max(errors.values()) < MOST_PADDING_ERROR, errors


def test_the_bucket_does_not_change_the_emotion(recognizer: Recognizer, turns: list[Waveform]) -> None:
    for turn in turns:
        embeddings = np.concatenate(
            [recognizer.encoder.embed([turn], samples) for samples in recognizer.buckets if samples >= len(turn)]
        )
        answers = recognizer.bundle.head.probabilities(embeddings).argmax(axis=1)
        assert len(set(answers.tolist())) == 1


def test_silence_and_a_click_are_numbers(recognizer: Recognizer) -> None:
    click = np.zeros(1_600, np.float32)
    click[800] = 1
    shares = recognizer.probabilities([np.zeros(16_000, np.float32), click, click[800:801]])
    assert shares.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_speech_is_told_from_noise(recognizer: Recognizer, turns: list[Waveform]) -> None:
    check = recognizer.bundle.head.speech
    assert check
    heard = [check.probability(encoding.embedding) for encoding in recognizer.encode(turns)]
    assert min(heard) > 0.5
    hisses = [silence(length_s, level_dbfs=-20, seed=seed) for seed, length_s in enumerate((0.5, 1.0, 2.0, 4.0))]
    assert max(check.probability(encoding.embedding) for encoding in recognizer.encode(hisses)) < 0.5


def test_unseen_speakers_are_still_heard_rightly(recognizer: Recognizer, shared: Path) -> None:
    recipe = read_recipe(ROOT / "configs" / "default-train.toml")
    part = read_parts(recipe, shared / "data")["test"]
    figures = evaluate_bundle(recognizer, part.select(np.arange(len(part.paths)) % 12 == 0))
    assert set(figures) == set(PUBLISHED_UA)
    for corpus, row in figures.items():
        assert row.ua > PUBLISHED_UA[corpus] - 0.1, corpus
