"""Two tasks that create one table at once, and one that was killed as it did.

Delta makes a table's folder before its first commit. Meanwhile `CREATE TABLE IF NOT EXISTS` takes
the folder for the table and does nothing, and the table cannot be read.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from lakehouse.errors import TableError

_HALF_MADE = ("DELTA_TABLE_NOT_FOUND", "DELTA_CREATE_TABLE_WITH_NON_EMPTY_LOCATION")
_LOOKS = 20
_SECONDS_BETWEEN_LOOKS = 0.5
_pause = time.sleep

T = TypeVar("T")


def until_made(make: Callable[[], T], folder: str) -> T:
    """What `make` returns, once no other task is in the middle of creating the table.

    Args:
        make: Creates the table unless it is there, and looks at it.
        folder: The table's, for the error.

    Raises:
        TableError: After ten seconds there still is a folder without a table.
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
        raise TableError(
            f"{folder} is there and holds no table, as after a kill at the moment of its creation: "
            "remove that folder and run again"
        ) from error


def _is_half_made(error: BaseException) -> bool:
    return any(code in str(error) for code in _HALF_MADE)
