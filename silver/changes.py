"""What of silver must be built again: symbols and the month from which, or everything.

Each successful run of the cleaning task is a row of ops.task_runs that names the ledger version
it read. The ledger as it was then, read by time travel, against the ledger now says which files
changed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from bronze.contracts import ARCHIVE_FILES
from lakehouse.errors import in_one_line
from lakehouse.increments import untouched, versions_last_read
from lakehouse.sql import equals
from lakehouse.tasks import TaskContext
from silver.contracts import TABLES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger(__name__)


def pending(context: TaskContext) -> dict[str, str] | None:
    """Compare the ledger with the one that the last successful run read.

    Returns:
        Symbol -> first month whose files changed (empty: nothing to do). None means everything:
        there was no such run, it ran with other settings of this layer or other code, the
        tables have changed since, or its version of the ledger can no longer be read.
    """
    read = versions_last_read(context, condition(context), lambda settings: settings["silver"])
    last = (read or {}).get(ARCHIVE_FILES.full_name)
    if last is None or not untouched(context, condition(context), TABLES):
        return None
    ledger = in_scope(context.lake.read(ARCHIVE_FILES), context)
    if not context.lake.changed_since(ARCHIVE_FILES, last):
        return {}
    try:
        before = in_scope(context.lake.read_own(ARCHIVE_FILES, last), context)
        return _changed_months(ledger, before)
    except PySparkException as error:  # such as files of the old version that were vacuumed
        log.warning("everything is built again: ledger version %d: %s", last, in_one_line(error))
        return None


def in_scope(frame: DataFrame, context: TaskContext) -> DataFrame:
    """Rows of the run's market and interval."""
    return frame.where(condition(context))


def condition(context: TaskContext) -> str:
    """The run's market and interval as a SQL condition."""
    return equals(context.settings.scope)


def _changed_months(now: DataFrame, before: DataFrame) -> dict[str, str]:
    content = F.struct("sha256", "rows", "time_unit")
    old = before.select("source_file", content.alias("old"))
    changed = (
        now.select("source_file", "symbol", "month", content.alias("new"))
        .join(old, "source_file", "left")
        .where(~F.col("new").eqNullSafe(F.col("old")))
        .where((F.col("new.rows") > 0) | (F.col("old.rows") > 0))
        .groupBy("symbol")
        .agg(F.min("month").alias("month"))
    )
    return {row["symbol"]: row["month"] for row in changed.collect()}
