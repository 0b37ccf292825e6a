"""Two tasks that create one table at once, and one that was killed as it did.

Delta makes a table's folder before its first commit. Meanwhile `CREATE TABLE IF NOT EXISTS` takes
the folder for the table and does nothing, and the table cannot be read.
"""

import logging
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock
from typing import TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from lakehouse.errors import TableError

_HALF_MADE = ("DELTA_TABLE_NOT_FOUND", "DELTA_CREATE_TABLE_WITH_NON_EMPTY_LOCATION")
_LOOKS = 20
_SECONDS_BETWEEN_LOOKS = 0.5
_pause = time.sleep
_removing = Lock()

T = TypeVar("T")

log = logging.getLogger(__name__)


def until_made(
    make: Callable[[], T], place: str, folder: Path | None, alone: AbstractContextManager[None]
) -> T:
    """What `make` returns, once no other task is in the middle of creating the table.

    After ten seconds, what a task that was killed has left is removed.

    Args:
        make: Creates the table unless it is there, and looks at it.
        place: The table's, for the error.
        folder: The same on a local disk; None elsewhere.
        alone: Keeps other processes from creating the table meanwhile.

    Raises:
        TableError: Without a table there still is a folder, which is elsewhere or holds files.
    """
    looks = Retrying(
        retry=retry_if_exception(_is_half_made),
        stop=stop_after_attempt(_LOOKS),
        wait=wait_fixed(_SECONDS_BETWEEN_LOOKS),
        sleep=_pause,
        reraise=True,
    )
    try:
        return looks(make)
    except Exception as error:
        if not _is_half_made(error):
            raise
        with _removing, alone:
            if folder is not None and _is_without_files(folder):
                log.warning("%s was left by a run that was killed: it is made anew", folder)
                shutil.rmtree(folder)
        try:
            return make()
        except Exception as still:
            if not _is_half_made(still):
                raise
            raise TableError(
                f"{place} is there and holds no table, as after a kill at the moment of its "
                "creation: remove that folder and run again"
            ) from still


def _is_without_files(folder: Path) -> bool:
    """Whether a folder has neither a commit nor data: hidden files are of writes cut short."""
    return folder.is_dir() and all(
        path.is_dir() or path.name.startswith(".") for path in folder.rglob("*")
    )


def _is_half_made(error: BaseException) -> bool:
    return any(code in str(error) for code in _HALF_MADE)
