"""A command in several processes that know of each other, without the seconds that each takes to import torch."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence

from accelerate import PartialState

from helpers.ports import free_port

PATIENCE_S = 120


def launched(main: Callable[[], None], arguments: Sequence[object], count: int) -> list[int | None]:
    """Run ``main`` as ``accelerate launch`` does, in forks of this process; return their exit codes."""
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}

    def one_of_many(rank: int) -> None:
        os.environ.update({name: str(value) for name, value in {**world, "RANK": rank, "LOCAL_RANK": rank}.items()})
        PartialState._reset_state()
        sys.argv = [*map(str, arguments)]
        main()

    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=one_of_many, args=(rank,)) for rank in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
        process.kill()
    return [process.exitcode for process in processes]
