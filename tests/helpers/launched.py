"""A command in several processes that know of each other."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from helpers.ports import free_port

PATIENCE_S = 120


def launched(main: Callable[[], None], arguments: Sequence[object], count: int) -> list[int | None]:
    """Run ``main`` as ``accelerate launch`` does; return the exit codes.

    The processes are new ones: a fork of one whose libraries have threads may wait for these for ever.
    """
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    words = [str(argument) for argument in arguments]
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_one_of_many, args=(main, words, world, rank)) for rank in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
        process.kill()
    return [process.exitcode for process in processes]


def _one_of_many(main: Callable[[], None], arguments: list[str], world: Mapping[str, object], rank: int) -> None:
    os.environ.update({name: str(value) for name, value in {**world, "RANK": rank, "LOCAL_RANK": rank}.items()})
    sys.argv = arguments
    main()
