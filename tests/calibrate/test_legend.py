"""Legends cover nothing, wherever they are."""

from __future__ import annotations

import ast
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from calibrate.experiments.enrolment import CONDITIONS, Gain
from calibrate.experiments.enrolment_report import enrolment_report
from calibrate.experiments.robustness.conditions import CLEAN, NOISES, SNR_DB, noise_name
from calibrate.experiments.robustness.report import Figures, robustness_report
from calibrate.report import Picture, legend_below, legend_beside, training_picture
from helpers.run_folders import LOG

ROOT = Path(__file__).resolve().parents[2]


def drawn(picture: Picture) -> Figure:
    figure = Figure(figsize=picture.inches, layout="constrained")
    picture.draw(figure)
    FigureCanvasAgg(figure).draw()
    return figure


def covered(figure: Figure) -> list[Bbox]:
    """Return the panels that a legend overlaps, or legends that stick out of the picture."""
    legends = [*figure.legends, *(legend for axes in figure.axes if (legend := axes.get_legend()))]
    assert legends
    found = []
    for legend in legends:
        box = legend.get_window_extent()
        found += [axes.bbox for axes in figure.axes if Bbox.intersection(box, axes.bbox.padded(-1))]
        found += (
            [box] if not figure.bbox.padded(1).containsx(box.x0) or not figure.bbox.padded(1).containsx(box.x1) else []
        )
    return found


@pytest.mark.parametrize(("rows", "columns"), list(product((1, 2), (1, 3))))
def test_a_legend_below_covers_no_panel(rows: int, columns: int) -> None:
    figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.ravel():
        for name in ("a", "b", "a long name", "d", "e"):
            axes.plot([0, 1], [0, 1], label=name)
    legend_below(figure, panels.ravel(), "a title")
    FigureCanvasAgg(figure).draw()
    assert covered(figure) == []
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "a long name", "d", "e"]


def test_a_legend_beside_covers_no_panel() -> None:
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes in figure.subplots(1, 2):
        axes.scatter([0], [0], label="female (12)")
        legend_beside(axes, "gender")
    FigureCanvasAgg(figure).draw()
    assert covered(figure) == []


def test_nothing_named_has_no_legend() -> None:
    figure = Figure(layout="constrained")
    legend_below(figure, [figure.subplots()])
    assert figure.legends == []


def test_legends_are_made_in_one_place() -> None:
    calls = [
        path.relative_to(ROOT).as_posix()
        for package in ("calibrate", "export")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "legend"
    ]
    assert set(calls) == {"calibrate/report/legend.py"}


@pytest.mark.parametrize("interval", [None, (0.3, 0.8)])
def test_robustness(interval: tuple[float, float] | None) -> None:
    names = [CLEAN, *(noise_name(colour, snr_db) for colour, snr_db in product(NOISES, SNR_DB)), "telephone", "Opus"]
    table = {"team": {name: Figures(0.6, 0.5, 0.1, 9, interval, interval) for name in names}}
    (picture,) = (block for block in robustness_report(table, "drawn").blocks if isinstance(block, Picture))
    figure = drawn(picture)
    assert covered(figure) == []
    lower = figure.axes[1]
    assert {patch.get_height() for patch in lower.patches} == {0.6, 0.5}
    ends = [np.array(each.get_segments()) for each in lower.collections]
    if interval:
        assert all(np.allclose(bar[:, :, 1], interval) for bar in ends), "bars reach from end to end of the interval"
    assert {axes.get_ylim() for axes in figure.axes} == {(0, 1)}


def test_enrolment_and_training(tmp_path: Path) -> None:
    gains = [
        Gain(corpus, condition, clips, {"none": 0.5, "room": 0.5, "naive": 0.5, "profile": 0.6}, 4, (0.5, 0.7))
        for corpus, condition, clips in product(("a", "b"), CONDITIONS, (0, 1, 2))
    ]
    report = enrolment_report(gains, {"ann": 0.1, "ben": 0.0}, "drawn")
    (picture,) = (block for block in report.blocks if isinstance(block, Picture))
    figure = drawn(picture)
    assert covered(figure) == []
    assert len({axes.get_ylim() for axes in figure.axes}) == 1, "shared"
    log = tmp_path / "log.csv"
    log.write_text(LOG)
    assert covered(drawn(training_picture(log))) == []
