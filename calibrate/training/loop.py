"""The loop that every training shares: rounds with a line of the log and a checkpoint after each, and resuming."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Protocol, TextIO

from torch import Tensor

from calibrate import processes
from calibrate.progress import progress_bar
from calibrate.training.checkpoint import Checkpoint

LOG_NAME, CHECKPOINT_NAME = "log.csv", "checkpoint.pt"


class Training(Protocol):
    """What learns, round by round."""

    checkpoint: Checkpoint

    @property
    def columns(self) -> Sequence[str]:
        """Of the log, beside the first, which counts rounds."""

    @property
    def ended(self) -> bool:
        """Whether it is over before the last round."""

    @property
    def shared(self) -> Iterable[Tensor]:
        """What all processes begin with the same values of."""

    def run_round(self, number: int) -> tuple[Sequence[float], str]:
        """Learn for a round, 0 the first; return the log's values and a few words on how it goes."""


def run_rounds(training: Training, count: int, folder: Path, *, unit: str, resume: bool) -> None:
    """Run a training to its end.

    ``log.csv`` and ``checkpoint.pt`` in ``folder`` grow with every round; a resumed training ends with the same
    numbers, since a round depends on the state before it and its number only.

    Args:
        training: what learns.
        count: rounds, at most.
        folder: of the log and the checkpoint.
        unit: what a round is called in the log.
        resume: continue from the checkpoint, if there is one.
    """
    done = training.checkpoint.load() if resume else 0
    processes.agree_on(training.shared)
    writes = processes.is_main()
    progress = progress_bar()
    progress.disable |= not writes
    columns = (unit, *training.columns)
    with progress, _open_log(folder / LOG_NAME, columns, done) if writes else nullcontext() as log:
        task = progress.add_task("training", total=count, completed=done)
        for number in range(done, count):
            if training.ended:
                break
            values, caption = training.run_round(number)
            if log is not None:
                csv.writer(log).writerow([number + 1, *(f"{value:.5g}" for value in values)])
                log.flush()
            training.checkpoint.save(number + 1)
            progress.update(task, advance=1, description=f"training, {caption}")


def _open_log(path: Path, columns: Sequence[str], done: int) -> TextIO:
    """Open the log behind the rows of the rounds done; a run may have been killed between its log and checkpoint."""
    rows = list(csv.reader(path.read_text().splitlines()))[1 : done + 1] if done and path.is_file() else []
    file = path.open("w", newline="")
    csv.writer(file).writerows([columns, *rows])
    return file
