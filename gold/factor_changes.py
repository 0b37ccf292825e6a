"""From which day on the factor model must be made again, so that a new day costs a day."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from gold.factor_candles import scope_of
from lakehouse.contracts import TableContract
from lakehouse.errors import in_one_line
from lakehouse.increments import untouched, versions_last_read
from lakehouse.intervals import MICROS_PER_DAY
from lakehouse.sql import equals, is_in

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.tasks import TaskContext

log = logging.getLogger(__name__)

_MONTH_FOLDER: Final = re.compile(r"/month=(\d{4}-\d{2})/")


def first_changed_day(
    context: TaskContext,
    settings: Sequence[str],
    inputs: Sequence[tuple[TableContract, Sequence[str]]],
    outputs: Iterable[TableContract],
) -> int | None:
    """The first UTC day whose input rows differ from those that the last successful run read.

    Args:
        context: The task.
        settings: Keys below `factors` that decide about the rows of the outputs, beside interval.
        inputs: Tables with a column month that are read, and the columns that matter beside the
            key.
        outputs: Tables that this task writes.

    Returns:
        The day, counted from the epoch; -1 when nothing changed. None means everything: there was
        no such run, it ran with other settings or other code, its tables have changed since, or
        the versions that it read can no longer be read.
    """
    now = [context.lake.read(table).where(_rows(context)) for table, _ in inputs]

    def relevant(recorded: Mapping[str, Any]) -> object:
        return {key: recorded["factors"].get(key) for key in settings}

    read = versions_last_read(context, _runs(context), relevant)
    if read is None or not untouched(context, _runs(context), outputs):
        return None
    days = []
    for (table, columns), new in zip(inputs, now, strict=True):
        before = read.get(table.full_name)
        if before is None:
            return None
        if context.lake.changed_since(table, before):
            old = context.lake.read_own(table, before).where(_rows(context))
            try:
                days.append(_first_difference(old, new, (*table.key, *columns)))
            except PySparkException as error:  # such as files that were vacuumed
                log.warning("everything is made again: %s: %s", table.full_name, in_one_line(error))
                return None
    return min((day for day in days if day is not None), default=-1)


def _rows(context: TaskContext) -> str:
    return equals(scope_of(context.settings))


def _runs(context: TaskContext) -> str:
    """Runs of the same market and interval, whatever candles the rest of the run worked on."""
    scope = scope_of(context.settings)
    return equals(
        {
            "get_json_object(settings, '$.archive.market')": scope["market"],
            "get_json_object(settings, '$.factors.interval')": scope["interval"],
        }
    )


def _first_difference(old: DataFrame, new: DataFrame, columns: Sequence[str]) -> int | None:
    """The first day of which two versions of a table have other rows; None if there is none.

    Args:
        old: Rows of one version.
        new: Rows of the other.
        columns: The key and the columns that matter.
    """
    changed = set(old.inputFiles()) ^ set(new.inputFiles())
    months = [_MONTH_FOLDER.search(file) for file in changed]
    if all(months):
        # A month whose files are the same has the same rows.
        only = is_in("month", {found[1] for found in months if found})
        old, new = old.where(only), new.where(only)
    before, after = fingerprints(old, columns, "before"), fingerprints(new, columns, "after")
    differing = before.join(after, "day", "full").where("NOT (before <=> after)")
    day = differing.agg(F.min("day")).collect()[0][0]
    return None if day is None else int(day)


def fingerprints(rows: DataFrame, columns: Sequence[str], name: str) -> DataFrame:
    """Columns day and `name`, which tells the rows of the day apart from any others.

    No two rows may have the same columns: their hashes would cancel out.
    """
    day = F.expr(f"unix_micros(open_time) div {MICROS_PER_DAY}").alias("day")
    # A hash passes over NULL: (NULL, 1) and (1, NULL) would be one row.
    row = F.xxhash64(*columns, F.array(*(F.isnull(column) for column in columns)))
    fingerprint = F.struct(F.count("*"), F.bit_xor(row))
    return rows.groupBy(day).agg(fingerprint.alias(name))
