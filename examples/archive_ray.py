"""Analyse an archive on all cores, or on a cluster, with Ray Data: recordings in, a Parquet table of events out.

    pip install 'affectd[cpu]' 'ray[data]' pyarrow
    python examples/archive_ray.py recordings/ --out events/

The archive is cut into parts of some recordings each. An actor is a process with a model of its own; it analyses a part
as ``affectd analyze`` would, and writes it as one Parquet file, which is there complete or not at all. What is in these
files is done, so the same command again does the rest, whatever ended the one before.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import edge
from edge.errors import encodable
from edge.event import wall_clock
from edge.files import new_file, write_file
from edge.recordings import find_audio

try:
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq
    import ray
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}: pip install 'ray[data]' pyarrow")

NUMBERS = pa.map_(pa.string(), pa.float64())
# A row is an event; a field that its type does not have is null. docs/api.md says what each means.
TABLE = pa.schema(
    {
        "path": pa.string(),
        "type": pa.string(),  # utterance, status (no speech, read in part, repaired) or error
        "id": pa.int64(),  # counts the utterances of a recording
        "start_s": pa.float64(),
        "end_s": pa.float64(),
        "emotion": pa.string(),
        "confidence": pa.float64(),
        "scores": NUMBERS,
        "speech": pa.float64(),
        "needs_review": pa.bool_(),
        "reason": pa.string(),
        "message": pa.string(),
        "speaker": pa.struct({"name": pa.string(), "score": pa.float64()}),
        "relative": NUMBERS,
        "adapted": pa.bool_(),
        "room": pa.float64(),
        "bucket_s": pa.float64(),
        "truncated": pa.bool_(),
        "dropped_s": pa.float64(),
        "provider": pa.string(),
        "latency_ms": NUMBERS,
        "revision": pa.int64(),
        "schema": pa.int64(),
        "source": pa.string(),
        "time": pa.string(),
    }
)
TRIES = 2
"""After so many actors that died of a part, it is left out; a run after this one tries again."""
Part = dict[str, Any]
"""``name`` of its file, and the ``paths`` of its recordings as bytes: a name of a file need not be text."""


class Analyst:
    """A process with a model: Ray makes it once and then calls it with one part after the other."""

    def __init__(self, bundle: str, whole_file: bool, out: Path) -> None:
        self.model = edge.load(bundle, settings={"encoder.threads": 1})
        self.whole_file, self.out = whole_file, out

    def __call__(self, part: Part) -> dict[str, Any]:
        """Write a part; return of how many recordings."""
        tries = self.out / f".{part['name']}.tries"
        # Ray replaces an actor that died, and tries its part again without end.
        with tries.open("a") as file:
            if file.tell() == TRIES:
                return {"recordings": 0}
            file.write("x")
        paths = [os.fsdecode(path) for path in part["paths"]]
        events = list(numbered(self.analyze(paths)))
        table = pa.Table.from_pylist([event.to_dict() for event in events], TABLE)
        with new_file(self.out / part["name"]) as new:
            pq.write_table(table, new, compression="zstd")
        tries.unlink(missing_ok=True)
        return {"recordings": len(paths)}

    def analyze(self, paths: list[str]) -> Iterable[edge.Event]:
        """Return the events of recordings, and of each that cannot be read an ``error``."""
        if any(map(os.path.exists, paths)):
            # The same for whoever runs it: nobody enrolled is looked for.
            return self.model.analyze(paths, whole_file=self.whole_file, people=False)
        # Nothing at all to analyse is an error of who asked, unless it was there a moment ago.
        return [
            edge.Event("error", Path(path).name, wall_clock(), path=path, message=f"{path}: no such file")
            for path in paths
        ]


def numbered(events: Iterable[edge.Event]) -> Iterator[edge.Event]:
    """Count utterances within their recording, whichever others the part has."""
    counts = Counter[str | None]()
    for event in events:
        counts[event.path] += event.type == "utterance"
        yield replace(event, id=counts[event.path]) if event.type == "utterance" else event


def parts_to_do(files: list[str], done: set[str], size: int) -> Iterator[Part]:
    """Cut the archive at the same places each time, and leave out what is done.

    So a part that was being written when an earlier run was killed is written again under the same name: should a
    process of that run still be at it, there is one such part, and not two.
    """
    every = iter(files)
    while some := list(islice(every, size)):
        paths = [os.fsencode(file) for file in some if encodable(file) not in done]
        if paths:
            yield {"name": f"{hashlib.sha256(b'/'.join(paths)).hexdigest()[:16]}.parquet", "paths": paths}


def prepare(out: Path, made_with: dict[str, Any]) -> set[str]:
    """Return the paths that are done; end here if they were done otherwise than this run would."""
    out.mkdir(parents=True, exist_ok=True)
    note = out / "_made_with.json"
    if note.exists() and (before := json.loads(note.read_text())) != made_with:
        sys.exit(f"{out} was made with {before}, and this is {made_with}: take another --out")
    write_file(note, json.dumps(made_with))
    for unfinished in out.glob(".*.parquet.*"):
        shutil.rmtree(unfinished) if unfinished.is_dir() else unfinished.unlink()
    return set(column(out, "path"))


def column(out: Path, name: str) -> list[Any]:
    """Return a column of the table so far."""
    values: list[Any] = ds.dataset(out, TABLE, format="parquet").to_table([name])[name].to_pylist()
    return values


def options() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="*", type=Path, help="audio files, and folders to search")
    parser.add_argument("--list", type=Path, metavar="FILE", help="more of them, one a line; /dev/stdin is a pipe")
    parser.add_argument("--out", type=Path, required=True, help="folder of the table; run again to go on with it")
    parser.add_argument("--bundle", default="", help="folder, or default (the default) or nano, 7 times as fast")
    parser.add_argument("--whole-file", action="store_true", help="one event a recording, as of clips")
    parser.add_argument(
        "--actors", type=int, default=len(os.sched_getaffinity(0)), help="models at work, one a core (%(default)s)"
    )
    parser.add_argument(
        "--part", type=int, default=64, help="recordings a file: what one actor loses when killed (%(default)s)"
    )
    parser.add_argument(
        "--address",
        default="local",
        help="of a Ray cluster, or auto, where each machine has affectd and sees the same folders (%(default)s: none)",
    )
    return parser.parse_args()


def main() -> None:
    """Do what is left of the archive."""
    args = options()
    listed = args.list.read_bytes().splitlines() if args.list else []
    found = find_audio([*args.recordings, *(Path(os.fsdecode(line)) for line in listed)])
    files = list(dict.fromkeys(map(os.path.abspath, found)))
    out = args.out.absolute()
    bundle = os.path.abspath(args.bundle) if os.path.isdir(args.bundle) else args.bundle
    # Loaded here only to be sure, before any actor starts, that it works, and to know its name.
    made_with = {"model": repr(edge.load(bundle)), "whole_file": args.whole_file}
    done = prepare(out, made_with)
    parts = list(parts_to_do(files, done, args.part))
    print(f"{len(files)} recordings, {len(files) - sum(len(part['paths']) for part in parts)} of them done", flush=True)
    if parts:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # Ray reports its use otherwise
        own = {"num_cpus": args.actors, "object_store_memory": 2**28, "include_dashboard": False}
        ray.init(
            args.address, log_to_driver=False, logging_level=logging.ERROR, **(own if args.address == "local" else {})
        )
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars, context.max_errored_blocks = False, -1
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        run(parts, {"bundle": bundle, "whole_file": args.whole_file, "out": out}, args.actors)
    types, missing = Counter(column(out, "type")), set(map(encodable, files)) - set(column(out, "path"))
    print(f"{types['utterance']} utterances, {types['error']} recordings that could not be read: {out}")
    if missing:
        print(f"{len(missing)} recordings are not done: an actor died of their part; --part 1 says of which")
    sys.exit(1 if types["error"] or missing else 0)


def run(parts: list[Part], arguments: dict[str, Any], actors: int) -> None:
    """Let the actors do the parts, in whatever order, and say how far they are."""
    began, recordings = time.monotonic(), 0
    pool = ray.data.ActorPoolStrategy(size=actors)
    todo = ray.data.from_items(parts, override_num_blocks=len(parts))
    done = todo.map(Analyst, fn_constructor_kwargs=arguments, compute=pool, num_cpus=1)
    for written in done.iter_rows():
        recordings += written["recordings"]
        rate = recordings / (time.monotonic() - began)
        print(f"{recordings} recordings, {rate:.1f} a second, {rate / actors:.1f} an actor", flush=True)


if __name__ == "__main__":
    try:
        main()
    except edge.AffectdError as error:
        sys.exit(f"archive_ray: {error}")
