"""The command: ``python -m export.measure``, or ``make bench``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from edge.bundle import Bundle
from edge.errors import AffectdError, UsageError
from edge.profiling.facts import usable_cores
from export.measure import accuracy, activity, buckets, encoders, length, opensmile, people, start, streams, unseen
from export.measure.machine import Machine, load
from export.measure.plan import Plan, label
from export.measure.report import Report, Section

PARTS: dict[str, Callable[[Plan], Section]] = {
    "encoders": encoders.measure,
    "start": start.measure,
    "accuracy": accuracy.measure,
    "unseen": unseen.measure,
    "activity": activity.measure,
    "buckets": buckets.measure,
    "length": length.measure,
    "streams": streams.measure,
    "people": people.measure,
}
NEED_CORPORA = ("accuracy", "unseen")
SHIPPED = ("default", "nano")
PAGE = Path("docs/benchmarks.md")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the page."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    try:
        report = measure(options, " ".join(["python -m export.measure", *given]))
    except AffectdError as error:
        sys.exit(f"bench: {error}")
    print(json.dumps(report.as_json()) if options.json else report.markdown())
    page = options.out or (None if options.only or options.quick else PAGE)
    if page:
        report = report.over(page)
        report.write(page)
        print(f"written to {page} and {page.with_suffix('.json')}", file=sys.stderr)


def measure(options: argparse.Namespace, command: str) -> Report:
    """Run the parts that are asked for.

    Raises:
        UsageError: an option is not valid.
        ModelError: a bundle does not load.
    """
    machine = Machine.here()
    bundles = tuple(Bundle.load(folder) for folder in options.bundle or map(Path, SHIPPED))
    if len({label(bundle) for bundle in bundles}) < len(bundles):
        raise UsageError("two bundles have the same name and precision")
    plan = Plan(
        bundles=bundles,
        rounds=1 if options.quick else options.rounds,
        threads=tuple(options.threads or dict.fromkeys((1, usable_cores()))),
        data=options.data,
        recipe=options.recipe,
        cache=options.cache,
        whisper=options.whisper,
        quick=options.quick,
    )
    sections, skipped = {}, []
    for part in options.only or PARTS:
        reason = _lacking(part, plan)
        if reason:
            skipped.append(f"{part}, {reason}")
            continue
        print(f"measuring {part} …", file=sys.stderr)
        before = load()
        sections[part] = replace(PARTS[part](plan) if options.quick else _apart(PARTS[part], plan), load=before)
    described = {label(bundle): bundle.encoder_hash for bundle in bundles}
    return Report(machine, described, command, sections, skipped)


def _apart(part: Callable[[Plan], Section], plan: Plan) -> Section:
    """Measure in a process of its own: gigabytes that one part leaves behind have slowed another by three times."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(part, plan).result()


def _lacking(part: str, plan: Plan) -> str:
    """Return what a part needs and does not have."""
    if part in NEED_CORPORA and plan.data is None:
        return "which needs corpora: --data FOLDER"
    if part in NEED_CORPORA and not opensmile.installed():
        return "which needs openSMILE: pip install 'affectd[bench]'"
    if part == "unseen" and not unseen.OURS.is_file():
        return f"since there is no {unseen.OURS}"
    if part == "people" and plan.bundles[0].manifest.speaker is None:
        return "since the bundle recognises nobody"
    return ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m export.measure", description="Measure everything that is claimed.")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part only; may be given again")
    parser.add_argument("--bundle", action="append", type=Path, help="bundle folder or name; repeatable, the first "
                        "is what most targets are about (default: both inside the package)")  # fmt: skip
    parser.add_argument("--data", type=Path, help="folder of corpora; without it, nothing is said of accuracy")
    parser.add_argument("--recipe", type=Path, default=Plan.recipe, help="corpora and splits (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=Plan.cache, help="folder for features (default: %(default)s)")
    parser.add_argument("--whisper", type=Path, help="folder of Whisper-base's encoder (default: random weights)")
    parser.add_argument("--rounds", type=_count, default=Plan.rounds, help="timed runs (default: %(default)s)")
    parser.add_argument("--threads", action="append", type=_count, help="threads of one inference; may be given again "
                        "(default: 1 and all)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="JSON instead of tables on standard output")
    parser.add_argument("--out", type=Path, help=f"page to write, with JSON beside it; with --only the other parts of "
                        f"the page stay (default: {PAGE} when all parts are measured)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="one round of little: shows that it runs, not how fast")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


if __name__ == "__main__":
    logging.getLogger("calibrate").setLevel(logging.ERROR)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    main()
