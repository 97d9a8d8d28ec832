"""Memory that is no longer needed, handed back to the system."""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """Collect what nothing refers to any more, as a model that was let go, and hand its memory back.

    The C library keeps freed memory in pieces for later; over months of models that come and go it would only grow.
    Only glibc can be told otherwise.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
