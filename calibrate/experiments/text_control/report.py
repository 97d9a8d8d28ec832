"""The report of the text control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from matplotlib.figure import Figure

from calibrate.experiments.text_control.figures import Design, TextFigure
from calibrate.report import Note, Picture, Report, Table, rounded

COLUMNS = ("held out", "labels", "utterances", "UA", "95 % interval", "chance", "lookup")
MEANING = (
    "held out: what no training utterance shares with the test utterance; lookup: the most frequent label of the same "
    "sentence in training; intervals over speakers and sentences"
)


def text_control_report(figures: Sequence[TextFigure], design: Design, title: str, protocol: str) -> Report:
    """Return the report that is ``text-control.md``, ``.json`` and ``.png``."""
    rows = [
        (
            figure.held_out, figure.labels, figure.utterances, figure.ua, f"{figure.low:.3f} to {figure.high:.3f}",
            figure.chance, figure.lookup_ua,
        )
        for figure in figures
    ]  # fmt: skip
    described = [asdict(figure) | {"above_chance": figure.above_chance} for figure in figures]
    height = 1.2 + 0.5 * len(figures)
    return Report(
        ("text-control.md", "text-control.json"),
        title,
        protocol,
        rounded({"design": asdict(design), "figures": described}),
        [
            Table(COLUMNS, rows, caption=MEANING),
            *(Note(text) for text in reading(figures, design)),
            Picture("text-control.png", "UA", partial(_draw, figures=figures), (6, height)),
        ],
    )


def reading(figures: Sequence[TextFigure], design: Design) -> list[str]:
    """Return what the figures say, in sentences."""
    crossed = (
        f"{design.complete} of {design.sentences} sentences are spoken in all {design.emotions} emotions; sentence and "
        f"emotion share {design.information_bits:.3f} bits."
    )
    leaks = [figure.held_out for figure in figures if figure.labels == "emotions" and figure.above_chance]
    verdict = (
        f"The words tell the emotion better than chance, with unseen {' and with unseen '.join(leaks)}."
        if leaks
        else "The words do not tell the emotion: no interval lies above chance."
    )
    blind = [figure.labels for figure in figures if figure.labels != "emotions" and not figure.above_chance]
    doubt = [f"But the control is blind: it does not find what is in {' and '.join(blind)} either."] if blind else []
    return [crossed, verdict, *doubt]


def _draw(canvas: Figure, figures: Sequence[TextFigure]) -> None:
    """Draw UA with its interval against chance."""
    axes = canvas.subplots()
    for place, figure in enumerate(figures):
        axes.plot((figure.low, figure.high), (place, place), color="C0")
        axes.plot(figure.ua, place, "C0o")
        axes.plot(figure.chance, place, "k|", markersize=16)
    axes.set_yticks(range(len(figures)), [f"{figure.labels}, unseen {figure.held_out}" for figure in figures])
    axes.set_ylim(len(figures) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("UA of the words alone; bar: chance")
