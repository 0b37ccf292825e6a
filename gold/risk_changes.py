"""From which day on the risk of portfolios must be computed again: a new day costs a day.

What the last successful run read, by time travel, against what there is now says which days
changed.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse.increments import untouched, versions_last_read
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from gold.contracts import INDEX_DECISIONS, INDEX_WEIGHTS
from gold.factor_candles import scope_of
from gold.factor_contracts import FACTOR_EXPOSURES, FACTOR_RETURNS
from gold.risk_contracts import TABLES
from lakehouse.contracts import TableContract
from lakehouse.errors import in_one_line
from lakehouse.intervals import MICROS_PER_DAY, instant
from lakehouse.sql import equals
from lakehouse.tasks import TaskContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger(__name__)

SOURCES = (FACTOR_RETURNS, FACTOR_EXPOSURES, INDEX_WEIGHTS, INDEX_DECISIONS)
"""Tables that the risk of portfolios is made from."""

_EVERYTHING = instant(0)


def changed_since(context: TaskContext) -> datetime | None:
    """Start of the first UTC day whose exposures, factor returns or weights have changed.

    Returns:
        That day; the epoch when all must be computed, because there was no successful run, it ran
        with other settings or code, the tables have changed since, or what it read is gone. None
        when nothing has changed.
    """
    settings = context.settings
    scope = equals({"market": settings.archive.market})
    read = versions_last_read(context, scope, lambda given: given["factors"])
    if read is None or not untouched(context, TABLES):
        return _EVERYTHING
    try:
        changed = [_first_change(context, table, read.get(table.full_name)) for table in SOURCES]
    except PySparkException as error:  # such as files of an old version that were vacuumed
        log.warning("all days are computed again: %s", in_one_line(error))
        return _EVERYTHING
    first = min((day for day in changed if day is not None), default=None)
    return None if first is None else instant(first * MICROS_PER_DAY)


def _first_change(context: TaskContext, table: TableContract, version: int | None) -> int | None:
    """First day, counted from the epoch, on which two versions of a table differ."""
    now = context.lake.read(table)
    if version is None:
        return 0
    if version == context.lake.read_versions[table.full_name]:
        return None
    new, old = (
        _content(context, table, frame) for frame in (now, context.lake.read_own(table, version))
    )
    differing = new.exceptAll(old).unionByName(old.exceptAll(new))
    first = differing.agg(F.min("day")).collect()[0][0]
    return None if first is None else int(first)


def _content(context: TaskContext, table: TableContract, frame: DataFrame) -> DataFrame:
    """What tells two versions of a table apart, with the day that it concerns."""
    if table in (FACTOR_RETURNS, FACTOR_EXPOSURES):
        # Rows are written anew only when they change, so the run that wrote them tells.
        mine = frame.where(equals(scope_of(context.settings)))
        return mine.groupBy(_day("unix_micros(open_time)"), "run_id").count()
    mine = frame.where(equals({"market": context.settings.archive.market}))
    # Weights as of midnight are those of the bar that closes then, on the day before.
    index = ("index_name", "interval", _day("unix_micros(as_of) - 1"))
    if table == INDEX_WEIGHTS:
        return mine.select(*index, "as_of", "symbol", "weight")
    return mine.select(*index, "as_of").distinct()


def _day(micros: str) -> F.Column:
    return F.expr(f"({micros}) div {MICROS_PER_DAY}").alias("day")
