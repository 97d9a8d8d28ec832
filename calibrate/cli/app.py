"""The entry point of ``affectd-calibrate``. It imports next to nothing before Ctrl-C is taken care of."""

from __future__ import annotations

from edge.cli.kit.start import start


def main() -> None:
    """Run the command line and exit with its code."""
    start("calibrate.cli.commands", "affectd-calibrate")
