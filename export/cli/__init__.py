"""The ``affectd-export`` command: from a trained run to a bundle."""

from __future__ import annotations

from edge.cli.kit.entry import launch
from export.cli import bundle, check, distil, engines, speaker  # noqa: F401  (each adds its commands)
from export.cli.app import app


def main() -> None:
    """Run the command line and exit with its code."""
    launch(app, "affectd-export")
