import json
from pathlib import Path

import numpy as np
import pytest

from calibrate.experiments.enrolment import CONDITIONS, Gain, enrolments, measure
from calibrate.experiments.enrolment_report import enrolment_report
from calibrate.streams import DeviceModel
from helpers.factors import World


@pytest.fixture(scope="module")
def measured() -> tuple[list[Gain], dict[str, float]]:
    world = World(2, speaker=0.7, noise=0.9)
    part, embeddings, _ = world.part(speakers=6, takes=10)
    return measure(DeviceModel(world.head(), world.population()), part, embeddings, clips=(0, 2, 8), draws=4)


def gain(gains: list[Gain], condition: str, clips: int) -> Gain:
    return next(row for row in gains if (row.condition, row.clips) == (condition, clips))


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("count", [0, 1, 8, 16])
def test_enrolment_and_test_share_no_clip(condition: str, count: int) -> None:
    labels = np.repeat(np.arange(4), [12, 8, 8, 1])
    drawn = list(enrolments(labels, condition, count, 3, "anna"))  # type: ignore[arg-type]
    assert len(drawn) == (9 if condition == "one-sided" else 3)
    for draw in drawn:
        assert not set(draw.enrolled) & set(draw.tested)
        assert len(draw.enrolled) + len(draw.tested) == len(labels)
        assert len(draw.enrolled) <= count
        if condition in ("one-sided", "neutral"):
            assert len(np.unique(labels[draw.enrolled])) <= 1
            assert set(labels[draw.tested]) == set(range(4))


def test_draws_are_seeded_by_speaker_and_number() -> None:
    labels = np.repeat(np.arange(4), 8)
    first, again = ([draw.enrolled.tolist() for draw in enrolments(labels, "unlabelled", 4, 5, "anna")] for _ in "12")
    assert first == again
    assert len({tuple(rows) for rows in first}) == 5
    assert first != [draw.enrolled.tolist() for draw in enrolments(labels, "unlabelled", 4, 5, "ben")]


def test_nothing_changes_without_enrolment(measured: tuple[list[Gain], dict[str, float]]) -> None:
    for condition in CONDITIONS:
        row = gain(measured[0], condition, 0)
        assert row.ua["none"] == row.ua["naive"]
        assert row.ua["room"] == row.ua["profile"]


def test_profiles_help_where_the_naive_mean_harms(measured: tuple[list[Gain], dict[str, float]]) -> None:
    gains, speakers = measured
    for condition in CONDITIONS:
        row = gain(gains, condition, 8)
        assert row.ua["profile"] > row.ua["room"]
    assert gain(gains, "one-sided", 8).ua["naive"] < gain(gains, "one-sided", 8).ua["none"]
    assert len(speakers) == 6


def test_the_report_has_table_plot_and_figures(tmp_path: Path, measured: tuple[list[Gain], dict[str, float]]) -> None:
    gains, speakers = measured
    enrolment_report(gains, speakers, "of a test").write(tmp_path / "out")
    table = (tmp_path / "out" / "adaptation.md").read_text()
    assert "| world | one-sided |" in table
    assert "Protocol: of a test." in table
    written = json.loads((tmp_path / "out" / "adaptation.json").read_text())
    assert len(written["gains"]) == len(gains) == 3 * len(CONDITIONS)
    assert (tmp_path / "out" / "adaptation.png").read_bytes().startswith(b"\x89PNG")


def test_who_loses_is_named() -> None:
    row = Gain("world", "unlabelled", 8, {"none": 0.5, "naive": 0.4, "profile": 0.6}, speakers=2)
    table = enrolment_report([row], {"anna": 0.1, "ben": -0.05}, "of a test").markdown()
    assert "| world | unlabelled | 0.600 (0.400) |" in table
    assert "1 of 2 speakers lose more than 3 points of UA; the least gain is -5.0 points, ben." in table
