"""When a command's first events come, its processor time and its peak memory.

``python -m export.measure.stopwatch COMMAND …`` runs the command, whose standard output is events as JSON lines, and
prints JSON. It is a process of its own because Linux counts to a child's peak what its parent had when it was started:
here that is a bare interpreter, so this imports nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any


def watch(command: Sequence[str]) -> dict[str, Any]:
    """Run a command, and return what it took.

    Returns:
        ``first_s``, seconds from before the process was made to the first event of each type, a status under its
        reason; ``end_s``, to its end; ``cpu_s``, processor time of all its threads; ``peak_mb``, resident memory,
        files that are mapped included (``ru_maxrss`` of Linux, in MiB); ``code``, its exit status.
    """
    first_s: dict[str, float] = {}
    started_s = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout
        for line in process.stdout:
            now_s = time.perf_counter() - started_s
            event = json.loads(line)
            first_s.setdefault(event.get("reason") or event["type"], now_s)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "first_s": first_s,
        "end_s": time.perf_counter() - started_s,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
        "code": process.returncode,
    }


if __name__ == "__main__":
    print(json.dumps(watch(sys.argv[1:])))
