"""What the command line shows of an upper layer: functions that the wheel names."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from lakehouse.errors import EnvironmentProblem
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
    found = [each for each in entry_points(group=ENTRY_POINT_GROUP) if each.name == name]
    if not found:
        raise EnvironmentProblem(
            f"the installed candlelake has no listing {name!r}: install the wheel again"
        )
    return cast(Listing, found[0].load())
