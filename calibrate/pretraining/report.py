"""What is said of a pre-training: its clusters, and how the masked loss fell."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from calibrate.pretraining.papt import Pretrained
from calibrate.recipe import Recipe
from calibrate.report import Picture, Report, Table
from calibrate.report.blocks import Block
from calibrate.report.legend import legend_below
from calibrate.training.loop import LOG_NAME


def pretraining_report(recipe: Recipe, pretrained: Pretrained, label: str) -> Report:
    """Return the report of a pre-training."""
    rounds, speakers = pretrained.rounds, len(pretrained.recordings.speakers)
    logs = [read_log(each.folder / LOG_NAME) for each in rounds]
    chosen = recipe.pretraining
    recordings = len(rounds[0].targets.utterances)
    protocol = (
        f"{recordings} recordings of {speakers} speakers, labels not looked at; of everyone "
        f"{chosen.held_out:.0%} held out for the validation loss; masked tokens only, the same masks every time"
    )
    losses = [
        [number, each.recipe.targets, each.targets.classes, each.recipe.epochs, *_ends(log)]
        for number, (each, log) in enumerate(zip(rounds, logs, strict=True), start=1)
    ]
    quality = [
        [number, *(getattr(each.targets.quality, name) for name in type(each.targets.quality).model_fields)]
        for number, each in enumerate(rounds, start=1)
    ]
    names = list(type(rounds[0].targets.quality).model_fields)
    columns = ("round", "targets", "clusters", "epochs", "first loss", "last loss", "first accuracy", "last accuracy")
    blocks: list[Block] = [
        Table(columns, losses, title="Masked prediction", caption="of the recordings held out; after the first quarter "
              "of an epoch and after the last"),
        Table(("round", *names), quality, title="Clusters", caption="shares of information that a frame's cluster "
              "gives about each, within a corpus; used and perplexity as shares of all clusters"),
        *(Picture(f"round-{number}.png", "masked loss by epoch", partial(_draw, log=log), (6, 3.5))
          for number, log in enumerate(logs, start=1) if log),
    ]  # fmt: skip
    content = {
        "encoder": label,
        "speakers": speakers,
        "place": chosen.speakers,
        "rounds": [
            {"targets": each.recipe.targets, "clusters": each.targets.classes, "log": log,
             "quality": each.targets.quality.model_dump()}
            for each, log in zip(rounds, logs, strict=True)
        ],
    }  # fmt: skip
    return Report(
        files=("pretraining.md", "pretraining.json"), title=f"Pre-training of {label}", protocol=protocol,
        content=content, blocks=blocks, closing="encoder written to {out}/encoder, report to {out}/pretraining.md",
    )  # fmt: skip


def read_log(path: Path) -> list[dict[str, float]]:
    """Return the rows of a round's ``log.csv``."""
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _ends(log: Sequence[dict[str, float]]) -> list[float | None]:
    """Return loss and accuracy on what was held out, each first and last."""
    if not log:
        return [None] * 4
    return [log[at][name] for name in ("validation_loss", "validation_accuracy") for at in (0, -1)]


def _draw(canvas: Figure, log: Sequence[dict[str, float]]) -> None:
    axes = canvas.subplots()
    for column in ("masked_loss", "validation_loss"):
        axes.plot([row["epoch"] for row in log], [row[column] for row in log], label=column.replace("_", " "))
    axes.set_xlabel("epoch")
    legend_below(canvas, [axes])
