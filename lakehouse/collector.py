"""Sparing Python's garbage collector the sight of a million objects that are in no cycle.

It would look at all of them again and again while they grow in number, and find nothing.
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


@contextmanager
def left_out_of_collections() -> Iterator[None]:
    """A block in which the collector looks at nothing that is there already.

    Entered at the end of a pause, it spares the look that the end of the pause would bring.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
