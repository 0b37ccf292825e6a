"""Jars that Spark downloads by their coordinates, one process at a time.

Ivy takes no lock: two processes that start on a machine without the jars write the same files, and
one of them ends with an error, or with half a jar.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = Path(tempfile.gettempdir(), f"candlelake-packages-{os.getuid()}.lock")


@contextmanager
def resolving_alone() -> Iterator[None]:
    """Keep other processes of this user from resolving packages during a block.

    The system frees the lock when a process ends, however it ends.
    """
    handle = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
