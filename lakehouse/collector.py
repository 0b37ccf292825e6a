"""A pause of Python's garbage collector, for a moment in which a million objects are made.

The collector looks at all of them again and again while they grow in number, and finds nothing.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_changing = Lock()
_blocks = 0
_was_enabled = True


@contextmanager
def collector_paused() -> Iterator[None]:
    """A block in which no cycle is looked for; what is in none is freed as ever.

    The pause is the whole process's: with blocks in several threads, it lasts until the last ends.
    """
    global _blocks, _was_enabled
    with _changing:
        if not _blocks:
            _was_enabled = gc.isenabled()
            gc.disable()
        _blocks += 1
    try:
        yield
    finally:
        with _changing:
            _blocks -= 1
            if not _blocks and _was_enabled:
                gc.enable()
