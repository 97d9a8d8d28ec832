import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate.cli.app import main
from calibrate.experiments.pldc.categorical import OFFSETS, PRIORS, Belief, restricted, score_conditions, similar_prior
from calibrate.experiments.pldc.continuous import CHANGES, change_values
from calibrate.experiments.pldc.skew import LEAST_TESTED, MOST_ENROLLED, draws, weights_of
from calibrate.metrics import concordance
from calibrate.streams import KINDS, SHARES, DeviceModel
from edge.similar import similar_speakers
from edge.values import Readout, ValueRecord
from helpers import layouts
from helpers.calling import exit_code
from helpers.factors import DIM, LABELS, World

pytestmark = pytest.mark.slow

Call = Callable[..., int]
Write = Callable[..., Path]

RAVDESS = {"name": "ravdess", "folder": "ravdess", "licence": "CC BY-NC-SA 4.0"}
CREMA_D = {"name": "crema-d", "folder": "crema-d/AudioWAV", "licence": "ODbL"}
MSP_PODCAST = {"name": "msp-podcast", "folder": "msp-podcast", "licence": "academic"}
LIBRISPEECH = {"name": "librispeech", "folder": "librispeech", "licence": "CC BY 4.0"}


@given(st.lists(st.integers(2, 12), min_size=2, max_size=4), st.integers(0, 9))
def test_enrolment_and_test_share_no_clip_and_weigh_alike(counts: list[int], speaker: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    found = list(draws(labels, len(LABELS), str(speaker), seeds=2))
    assert len(found) == 2 + 2 * 2 * len(counts)
    for draw in found:
        assert not set(draw.enrolled) & set(draw.tested)
        assert len(draw.enrolled) + len(draw.tested) == len(labels)
        assert 0 < len(draw.enrolled) <= MOST_ENROLLED
        left = np.bincount(labels[draw.tested], minlength=len(LABELS))
        assert left[: len(counts)].min() >= LEAST_TESTED
        weights = weights_of(draw, labels)
        tested = labels[draw.tested]
        shares = [weights[tested == label].sum() for label in range(len(LABELS))]
        assert shares == pytest.approx(draw.shares)
        if draw.kind != "balanced":
            assert shares[draw.raised] == pytest.approx(SHARES[draw.kind])


def test_enrolments_have_the_shares_they_are_said_to_have() -> None:
    labels = np.repeat(np.arange(4), 60)
    for draw in draws(labels, 4, "anna", seeds=3):
        shown = np.bincount(labels[draw.enrolled], minlength=4)
        assert len(draw.enrolled) == MOST_ENROLLED
        assert shown == pytest.approx(draw.shares * MOST_ENROLLED, abs=1)


def test_on_skewed_labels_a_prior_gains_and_the_true_one_most() -> None:
    world = World(5, speaker=0.7, noise=1.2)
    labels = np.tile(np.arange(len(LABELS)), 30)
    model = DeviceModel(world.head(), world.population())
    wa: dict[tuple[str, str], list[float]] = {}
    for name in range(6):
        clips = world.clips(world.speaker(), labels.tolist())
        for draw in draws(labels, len(LABELS), str(name), seeds=2):
            if draw.kind == "four fifths":
                scored = score_conditions(model, clips, labels, draw, np.zeros(DIM, np.float32), Belief(1.0, 10))
                for condition, score in scored.items():
                    wa.setdefault(condition, []).append(score.wa)
    assert set(wa) == {(offset, prior) for offset in OFFSETS for prior in PRIORS}
    for offset in OFFSETS:
        none, learnt, true = (float(np.mean(wa[offset, prior])) for prior in ("none", "both", "true"))
        assert none + 0.03 < learnt < true


def test_a_power_of_0_is_no_prior_at_all() -> None:
    world, labels = World(), np.tile(np.arange(len(LABELS)), 4)
    clips = world.clips(world.speaker(), labels.tolist())
    model = restricted(DeviceModel(world.head(), world.population()), np.arange(3))
    mine = labels < 3
    for draw in draws(labels[mine], 3, "anna", seeds=1):
        scored = score_conditions(model, clips[mine], labels[mine], draw, np.zeros(DIM, np.float32), Belief(0.0))
        for offset in OFFSETS:
            for prior in ("similar", "EM", "both"):
                assert scored[offset, prior].wa == scored[offset, "none"].wa
                assert scored[offset, prior].loss == pytest.approx(scored[offset, "none"].loss, abs=1e-4)


def test_the_prior_of_similar_speakers_is_what_they_showed_more_often_than_others() -> None:
    population = World().population()
    offset = population.offsets[0]
    population.label_shares[:] = [0.7, 0.1, 0.1, 0.1]
    assert similar_prior(population, offset) == pytest.approx(population.head_prior), "as everyone"
    population.label_shares[similar_speakers(population.offsets, offset)] = [1, 0, 0, 0]
    population.label_shares[similar_speakers(population.offsets, -offset, 5)] = [0, 0.4, 0.3, 0.3]
    prior = similar_prior(population, offset)
    assert prior.sum() == pytest.approx(1)
    assert prior[0] > 0.8


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run ``affectd-calibrate`` inside the test's process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "240")
    return lambda *arguments: exit_code(main, monkeypatch, "affectd-calibrate", *arguments, "--threads", 1)


@pytest.fixture(scope="module")
def corpora(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the data folder, with corpora in their official layouts."""
    folder = shutil.copytree(data, tmp_path_factory.mktemp("corpora") / "data")
    layouts.crema_d(folder / "crema-d")
    layouts.msp_podcast(folder / "msp-podcast")
    layouts.librispeech(folder / "librispeech")
    return folder


@pytest.fixture
def measured(call: Call, recipe_file: Write, corpora: Path, encoders: dict[str, Path]) -> Callable[..., dict[str, Any]]:
    """Measure the tiny recipe with these changes; returns the report's JSON."""

    def measure(*options: object, **changes: Any) -> dict[str, Any]:
        changes = {"head": {"kind": "logistic"}, "splits": {"file": ""}} | changes
        where = ("--data", corpora, "--encoder", encoders["whisper"], "--out", "report", "--force", "--seeds", 1)
        assert call("pldc", recipe_file(**changes), *where, *options) == 0
        report: dict[str, Any] = json.loads(Path("report/pldc.json").read_text())
        return report

    return measure


def test_speakers_left_out_enrol_with_labels_in_balance_or_not(
    measured: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    report = measured("--folds", 2, corpora=[CREMA_D, MSP_PODCAST, LIBRISPEECH])
    assert "WA, left out, own labels" in capsys.readouterr().out
    assert (
        "1 draws of each kind and label, 2 folds, power 0.5, prior clips 40; speakers: crema-d 4, msp-podcast 6"
        in report["protocol"]
    )
    rows = report["categorical"]
    assert {row["setting"] for row in rows} == {"left out", "folds"}
    assert {row["answers"] for row in rows} == {"own labels", "any label"}
    assert {row["labels"] for row in rows} == set(KINDS)
    assert len(rows) == 2 * 2 * len(KINDS) * len(OFFSETS) * len(PRIORS)
    for row in rows:
        assert 0 <= row["wa"]["value"] <= 1
        assert row["loss"]["value"] >= 0
        if row["labels"] == "balanced":
            assert row["wa"]["value"] == pytest.approx(row["ua"]["value"], abs=2e-4)
        if row["prior"] == "none":
            assert row["wa"]["gain"]["value"] == 0
    with open("report/pldc.csv", newline="") as file:
        sheet = list(csv.DictReader(file))
    assert {row["corpus"] for row in sheet} == {"crema-d", "msp-podcast", "mean"}
    text = Path("report/pldc.md").read_text()
    assert "## WA, left out, own labels" in text
    assert "| crema-d | four fifths |" in text


def test_of_one_corpus_there_are_folds(measured: Callable[..., dict[str, Any]]) -> None:
    report = measured("--folds", 2, "--power", 0, "--copies", 0, corpora=[RAVDESS])
    assert report["protocol"].startswith("tiny, 0 augmented copies, 1 draws")
    first = Path("report/pldc.json").read_bytes()
    measured("--folds", 2, "--power", 0, "--copies", 0, corpora=[RAVDESS])
    assert Path("report/pldc.json").read_bytes() == first
    assert {row["setting"] for row in report["categorical"]} == {"folds"}
    for row in report["categorical"]:
        if row["prior"] != "true":
            assert row["wa"]["gain"]["value"] == 0


def test_without_folds_or_another_corpus_nobody_is_left_out(
    call: Call, recipe_file: Write, corpora: Path, encoders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--data", corpora, "--encoder", encoders["whisper"], "--out", "report", "--folds", 0)
    assert call("pldc", recipe_file(corpora=[RAVDESS]), *where) == 2
    assert "nobody is left out" in capsys.readouterr().err


AROUSAL = [
    {"name": "arousal", "range": [-1, 1]},
    {"name": "valence", "range": [-1, 1], "origin": "circumplex"},
]


def test_values_of_speakers_left_out_are_shifted(measured: Callable[..., dict[str, Any]]) -> None:
    report = measured("--folds", 2, corpora=[CREMA_D, MSP_PODCAST], values=AROUSAL)
    rows = report["continuous"]
    assert {row["shift"] for row in rows} == set(CHANGES)
    assert {row["evaluation"] for row in rows} == {"transductive", "enrolled"}
    assert {(row["value"], row["setting"], row["corpus"]) for row in rows} == {
        ("arousal", "folds", "msp-podcast"),
        ("valence", "folds", "msp-podcast"),
        ("valence", "folds", "crema-d"),
        ("valence", "left out", "msp-podcast"),
        ("valence", "left out", "crema-d"),
    }, "nobody taught arousal where MSP-Podcast is left out"
    for row in rows:
        assert -1 <= row["o_ccc"]["value"] <= 1
    text = Path("report/pldc.md").read_text()
    assert "## Values, folds, enrolled" in text
    assert "O-CCC" in text


def test_the_true_statistics_agree_best() -> None:
    rng = np.random.default_rng(0)
    world = World(2, noise=0.3)
    labels = np.tile(np.arange(len(LABELS)), 12)
    arousal = np.array([-0.5, 0.5, -0.2, 0.8])
    weight = np.linalg.lstsq(world.shifts, arousal / 2, rcond=None)[0].astype(np.float32)[None]
    record = ValueRecord(name="arousal", low=-1, high=1, origin="annotated")
    readout = Readout((record,), weight, -weight @ world.mean)
    population = replace(
        world.population(),
        value_means=np.full((20, 1), 0.15, np.float32),
        value_deviations=np.full((20, 1), arousal.std(), np.float32),
    )
    model = DeviceModel(replace(world.head(), values=readout), population)
    found: dict[str, list[float]] = {change: [] for change in ("none", "full", "true")}
    for _ in range(5):
        clips = world.clips(world.speaker(), labels.tolist())
        targets = (arousal[labels] + 0.05 * rng.normal(size=len(labels)))[:, None]
        changed = change_values(model, clips[:16], clips[16:], targets[16:], np.zeros(DIM, np.float32))
        assert set(changed) == set(CHANGES)
        for change, values in found.items():
            values.append(concordance(changed[change][:, 0].astype(float), targets[16:, 0]))
    assert np.mean(found["none"]) + 0.1 < np.mean(found["full"]) <= np.mean(found["true"]) + 0.02
