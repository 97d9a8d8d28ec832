"""``make fuzz``: malformed inputs to whatever reads what others write; the table is written to ``docs/fuzz.md``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path

import pytest

from fuzz.sources import Counts
from fuzz.targets import ROOT, TARGETS

OUTCOMES = ("worked", "clear error", "closed")
HEAD = """\
# Malformed inputs

Written by `make fuzz`: noise, and good data of which bytes were changed, cut out, doubled or put in, the same at each
run. While a source is fed with it somebody speaks to another one; afterwards both must hear as before. *Worked* is what
was still good, *closed* a connection that ended without a word, as those of audio do.

| To | inputs | worked | clear error | closed | anything else |
| --- | ---: | ---: | ---: | ---: | --- |
"""


def main() -> int:
    """Feed all targets, write the table, and return 0 if nothing crashed or hung."""
    arguments = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    arguments.add_argument("--count", type=int, default=10_000, help="inputs for each")
    arguments.add_argument("--out", type=Path, default=ROOT / "docs" / "fuzz.md")
    given = arguments.parse_args()
    logging.disable()  # who was refused is no news here
    rows, failed = [], False
    for name, fuzz in TARGETS.items():
        with tempfile.TemporaryDirectory(prefix="aff-") as folder:
            os.environ["XDG_RUNTIME_DIR"] = folder
            try:
                counts = fuzz(given.count, Path(folder))
            except pytest.skip.Exception as missing:
                print(f"{name}: {missing}", file=sys.stderr)
                failed = True
                continue
        print(f"{name}: {dict(counts)}", file=sys.stderr)
        failed |= bool(others(counts))
        cells = " | ".join(f"{counts[outcome]:,}" for outcome in OUTCOMES)
        rows.append(f"| {name} | {sum(counts.values()):,} | {cells} | {'; '.join(others(counts)) or 'none'} |")
    given.out.write_text(HEAD + "\n".join(rows) + "\n", encoding="utf-8")
    return int(failed)


def others(counts: Counts) -> list[str]:
    """Return what must not be."""
    return [f"{outcome} ({count})" for outcome, count in counts.items() if outcome not in OUTCOMES]


if __name__ == "__main__":
    sys.exit(main())
