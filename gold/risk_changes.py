"""From which day on the risk of portfolios must be computed again: a new day costs a day."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from gold.contracts import INDEX_DECISIONS, INDEX_WEIGHTS
from gold.factor_candles import scope_of
from gold.factor_changes import first_changed_day
from gold.factor_contracts import FACTOR_EXPOSURES, FACTOR_RETURNS
from gold.risk_contracts import PORTFOLIO_RISK, TABLES
from gold.risk_rows import BETAS, FACTORS
from lakehouse.errors import in_one_line
from lakehouse.intervals import MICROS_PER_DAY, instant
from lakehouse.sql import equals

if TYPE_CHECKING:
    from lakehouse.contracts import TableContract
    from lakehouse.tasks import TaskContext

log = logging.getLogger(__name__)

SOURCES = (FACTOR_RETURNS, FACTOR_EXPOSURES, INDEX_WEIGHTS, INDEX_DECISIONS)
"""Tables that the risk of portfolios is made from."""

DECIDED_BY = ("buckets", "portfolios", "window", "stress")
"""Settings below `factors`, beside interval, that decide about the rows."""

# What matters of them.
_OF_MODEL = ((FACTOR_RETURNS, FACTORS), (FACTOR_EXPOSURES, (*BETAS, "residual_variance")))
_OF_INDEX = (
    (INDEX_WEIGHTS, ("index_name", "interval", "as_of", "symbol", "weight")),
    (INDEX_DECISIONS, ("index_name", "interval", "as_of")),
)

_EVERYTHING = instant(0)


def changed_since(context: TaskContext) -> datetime | None:
    """Start of the first UTC day whose exposures, factor returns or weights have changed.

    Returns:
        That day; the epoch when all must be computed, because no earlier run can be built on. None
        when nothing has changed.
    """
    model = first_changed_day(context, DECIDED_BY, _OF_MODEL, TABLES)
    days = [] if model == -1 else [model]
    for table, columns in _OF_INDEX:
        try:
            days.append(_first_new_weight(context, table, columns))
        except PySparkException as error:  # such as files of an old version that were vacuumed
            log.warning("all days are computed again: %s", in_one_line(error))
            days.append(None)
    if None in days:
        return _EVERYTHING
    first = min((day for day in days if day is not None and day != -1), default=None)
    return None if first is None else instant(first * MICROS_PER_DAY)


def _first_new_weight(
    context: TaskContext, table: TableContract, columns: Sequence[str]
) -> int | None:
    """First day, counted from the epoch, whose last bar may have other weights than before.

    Returns:
        The day; -1 when there is none, None for every day.
    """
    market = equals({"market": context.settings.archive.market})
    now = context.lake.read(table).where(market).select(*columns).distinct()
    version = _version_used(context, table)
    if version is None:
        return None
    before = context.lake.read_own(table, version).where(market).select(*columns).distinct()
    differing = now.exceptAll(before).unionByName(before.exceptAll(now))
    # Weights as of midnight are those of the bar that closes then, on the day before.
    day = F.expr(f"(unix_micros(min(as_of)) - 1) div {MICROS_PER_DAY}")
    first = differing.agg(day).collect()[0][0]
    return -1 if first is None else int(first)


def _version_used(context: TaskContext, table: TableContract) -> int | None:
    """Version of an index's table that the newest risk was made from."""
    risk = context.lake.read_own(PORTFOLIO_RISK).where(equals(scope_of(context.settings)))
    newest = risk.agg(F.max(F.col("read_versions")[table.full_name])).collect()[0][0]
    return None if newest is None else int(newest)
