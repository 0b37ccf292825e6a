"""Turns that the processes of one machine take at a warehouse in a folder.

Delta looks whether a commit's file is there and then renames: on a local disk, two processes could
meet between the two, and one would overwrite the other's commit. The locks are files below
`<warehouse>/_locks`; the system frees one when its process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Lock

from lakehouse.errors import EnvironmentProblem, JobError
from lakehouse.interruption import stop_event

log = logging.getLogger(__name__)

FOLDER = "_locks"

_SECONDS_BETWEEN_TRIES = 0.1


class _Turn:
    """A lock that this process holds once for all of its threads."""

    def __init__(self) -> None:
        self.changing = Lock()
        self.users = 0
        self.handle: int | None = None


_turns: defaultdict[Path, _Turn] = defaultdict(_Turn)


@contextmanager
def by_one_process(warehouse: str, name: str) -> Iterator[None]:
    """Keep other processes out of a block of this name; the threads of this one may share it.

    Args:
        warehouse: A folder.
        name: What is done, for the waiting process's log line.
    """
    path = _path(warehouse, name)
    turn = _turns[path]
    stop = stop_event()  # before another thread is waited for, which may wait for another process
    with turn.changing:
        if not turn.users:
            turn.handle = _acquired(path, partial(_wait_for, path=path, stop=stop))
        turn.users += 1
    try:
        yield
    finally:
        with turn.changing:
            turn.users -= 1
            if not turn.users:
                _release(turn.handle)


@contextmanager
def alone(warehouse: str, name: str) -> Iterator[None]:
    """Keep all others out of a block of this name, be they processes or threads.

    Args:
        warehouse: A folder.
        name: What is done, for the waiting one's log line.
    """
    path = _path(warehouse, name)
    handle = _acquired(path, partial(_wait_for, path=path, stop=stop_event()))
    try:
        yield
    finally:
        _release(handle)


@contextmanager
def going_on(warehouse: str, run_id: str) -> Iterator[bool]:
    """Let others see that a run of a job is going on, as long as the block does.

    Args:
        warehouse: A folder.
        run_id: The run.

    Yields:
        Whether they see it; False where files cannot be locked.

    Raises:
        JobError: It is going on already.
    """
    path = _path(warehouse, f"run-{run_id}")
    handle = _acquired(path, partial(_take, run_id=run_id))
    # One that ended meanwhile has removed the file that was opened here: others would not see it.
    while handle is not None and not _is_at(handle, path):
        _release(handle)
        handle = _acquired(path, partial(_take, run_id=run_id))
    try:
        yield handle is not None
    finally:
        if handle is not None:
            path.unlink()  # while it is locked
        _release(handle)


def _take(handle: int, run_id: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise JobError(f"run {run_id} is going on: wait until it has ended") from None


def _is_at(handle: int, path: Path) -> bool:
    """Whether a path still names the open file."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _path(warehouse: str, name: str) -> Path:
    return Path(warehouse).absolute() / FOLDER / name


def _acquired(path: Path, lock: Callable[[int], None]) -> int | None:
    """A handle that holds the lock, as `lock` takes it; None where files cannot be locked."""
    handle = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        lock(handle)
    except OSError as error:
        _release(handle)
        why = error.strerror or error
        log.warning("%s cannot be locked (%s): let one process at a time write", path, why)
        return None
    except BaseException:
        _release(handle)
        raise
    return handle


def _wait_for(handle: int, path: Path, stop: Event) -> None:
    is_told = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not is_told:
                is_told = True
                log.info("waiting for another run's %s in %s", path.name, path.parent.parent)
        else:
            return
        if stop.wait(_SECONDS_BETWEEN_TRIES):
            raise EnvironmentProblem("stopped while it waited for another run")


def _release(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)
