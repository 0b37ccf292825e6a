"""What the command line shows of an upper layer: functions that the wheel names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from lakehouse.errors import EnvironmentProblem
from lakehouse.installed import installed
from lakehouse.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ENTRY_POINT_GROUP = "candlelake.listings"

Listing = Callable[["SparkSession", Settings], "DataFrame"]


def load_listing(name: str) -> Listing:
    """The listing that the installed wheel has under a name: a frame of a session and settings.

    Raises:
        EnvironmentProblem: The wheel has no such entry point.
    """
    found = installed(ENTRY_POINT_GROUP, name)
    if found is None:
        raise EnvironmentProblem(
            f"the installed candlelake has no listing {name!r}: install the wheel again"
        )
    return cast(Listing, found.load())
