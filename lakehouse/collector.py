"""A pause of Python's garbage collector, for a moment in which a million objects are made.

The collector looks at all of them again and again while they grow in number, and finds nothing.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """A block in which no cycle is looked for; what is in none is freed as ever.

    Of two threads in such blocks, the one that came first ends the pause for both.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
