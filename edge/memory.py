"""Memory that is no longer needed, handed back to the system."""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """Collect what nothing refers to any more, as a model that was let go, and hand its memory back.

    The C library keeps freed memory in pieces for later; over months of models that come and go it would only grow.
    """
    gc.collect()
    trim()


def trim() -> None:
    """Hand back what is freed already, such as what opening a session took. Only glibc can be told to."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim:
        malloc_trim(0)
