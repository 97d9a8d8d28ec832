"""The ``affectd-calibrate`` command: corpora, training, evaluation."""

from __future__ import annotations

from calibrate.cli import data, embed, evaluation, experiments, models, speakers, sweep, transfer  # noqa: F401  (each adds its commands)
from calibrate.cli.app import app
from edge.cli.kit.entry import launch


def main() -> None:
    """Run the command line and exit with its code."""
    launch(app, "affectd-calibrate")
