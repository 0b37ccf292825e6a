"""The task `factor_returns`: silver.candles -> gold.factor_buckets and gold.factor_returns.

The sums of a UTC day, which sort the coins, and its factor returns each come from one task of an
executor, so that they do not depend on how the rows were distributed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from gold.factor_candles import (
    Span,
    bars_per_day,
    from_bar,
    in_blocks,
    published_candles,
    scope_of,
    since,
    span,
    stamped,
)
from gold.factor_changes import first_changed_day
from gold.factor_contracts import FACTOR_BUCKETS, FACTOR_RETURNS
from gold.factor_rows import (
    BUCKETS_DDL,
    DAYS_DDL,
    MOMENTUM_HALO,
    RETURNS_DDL,
    bucket_rows,
    day_rows,
    return_rows,
)
from lakehouse.arrow import frame_of
from lakehouse.intervals import MICROS_PER_DAY, instant, interval_micros
from lakehouse.tasks import TaskContext, TaskOutcome
from silver.contracts import CANDLES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.settings import FactorSettings

CANDLE_VALUES: Final = ("open", "close", "trades", "is_filled")
"""Columns of a candle, beside its key, that the factor model uses."""

DECIDED_BY: Final = ("buckets", "schedule", "lookback_days")
"""Settings below `factors`, beside interval, that decide about the rows."""

# A date's as_of in UTC microseconds, and the first and last day that it looks back on.
_Date = tuple[int, int, int]


def run_factor_returns(context: TaskContext) -> TaskOutcome:
    """Bring the buckets and the factor returns up to the newest candles.

    Raises:
        NotEnoughData: There are no candles.
    """
    covered = span(context)
    changed = first_changed_day(
        context, DECIDED_BY, [(CANDLES, CANDLE_VALUES)], (FACTOR_BUCKETS, FACTOR_RETURNS)
    )
    if changed == -1:
        return TaskOutcome("no candle changed", unchanged=True)
    # A bar more changes the ranks of the whole sample, and with them every bar's factors.
    start = changed if context.settings.factors.buckets == "trailing" else None
    dates = sorting_dates(context.settings.factors, covered, start)
    formed = None if start is None else start + 1
    context.lake.replace(FACTOR_BUCKETS, _buckets(context, dates), since(context, formed, "as_of"))
    context.lake.replace(FACTOR_RETURNS, _returns(context, covered, start), since(context, start))
    return _outcome(context, start)


def sorting_dates(factors: FactorSettings, covered: Span, start: int | None) -> list[_Date]:
    """The dates at which the coins are sorted, of those that look back on a day from `start` on.

    Days are UTC's, counted from the epoch; a date is the start of its day, when the buckets are
    known, or the close of the last bar if they are static.
    """
    first, end = covered.first_us // MICROS_PER_DAY, covered.end_us // MICROS_PER_DAY
    if factors.buckets == "static":
        return [(covered.end_us, first, (covered.end_us - 1) // MICROS_PER_DAY)]
    return [
        (day * MICROS_PER_DAY, day - factors.lookback_days, day - 1)
        for day in range((first if start is None else start) + 1, end + 1)
        if factors.schedule == "daily" or instant(day * MICROS_PER_DAY).day == 1
    ]


def _buckets(context: TaskContext, dates: Sequence[_Date]) -> DataFrame:
    """Rows of gold.factor_buckets at these dates."""
    if not dates:
        return context.lake.frame(FACTOR_BUCKETS, [])
    factors = context.settings.factors
    step, per_day = interval_micros(factors.interval), bars_per_day(context.settings)

    # Each block needs the halo too: short days go together, so that a bar is needed twice at most.
    together = -(-MOMENTUM_HALO // per_day)

    def days_of(key: tuple[pa.Scalar, ...], candles: pa.Table) -> pa.Table:
        first = key[0].as_py() * together
        return day_rows(candles, range(first, first + together), per_day)

    def buckets_of(days: pa.Table) -> pa.Table:
        return bucket_rows(days, dates, trading=factors.buckets == "trailing")

    first_day, last_day = min(first for _, first, _ in dates), max(last for *_, last in dates)
    blocks = range(first_day // together, last_day // together + 1)
    first_bar = max(first_day * per_day - MOMENTUM_HALO, 0)
    candles = from_bar(published_candles(context, "open", "close", "trades"), first_bar, step)
    days = (
        in_blocks(candles, together * per_day, MOMENTUM_HALO, blocks)
        .groupBy("block")
        .applyInArrow(days_of, DAYS_DDL)
        .where(F.col("day").between(first_day, last_day))
    )
    # A day x coins: one task of an executor forms the buckets of all dates.
    buckets = days.withColumn("all", F.lit(0)).groupBy("all").applyInArrow(buckets_of, BUCKETS_DDL)
    scope = scope_of(context.settings)
    lookback = factors.lookback_days if factors.buckets == "trailing" else None
    return buckets.withColumns(
        {
            "market": F.lit(scope["market"]),
            "interval": F.lit(scope["interval"]),
            "as_of": F.timestamp_micros("as_of_us"),
            "lookback_days": F.lit(lookback).cast("int"),
            "run_id": F.lit(context.run_id),
        }
    ).drop("as_of_us")


def _returns(context: TaskContext, covered: Span, start: int | None) -> DataFrame:
    """Rows of gold.factor_returns from a day on."""
    settings = context.settings
    step, per_day = interval_micros(settings.factors.interval), bars_per_day(settings)
    first = covered.first_us // MICROS_PER_DAY if start is None else start
    days = range(first, (covered.end_us - 1) // MICROS_PER_DAY + 1)
    if not days:  # the newest candles are gone
        return context.lake.frame(FACTOR_RETURNS, [])

    def returns_of(key: tuple[pa.Scalar, ...], candles: pa.Table, buckets: pa.Table) -> pa.Table:
        return return_rows(candles, buckets, key[0].as_py() * per_day, per_day)

    candles = from_bar(published_candles(context, "open", "close"), first * per_day, step)
    as_ofs = [as_of for as_of, *_ in sorting_dates(settings.factors, covered, None)]
    is_static = settings.factors.buckets == "static"
    dates = frame_of(context.spark, in_force(as_ofs, days, is_static=is_static))
    buckets = (
        context.lake.read_own(FACTOR_BUCKETS)
        .where(since(context, None))
        .withColumn("as_of_us", F.unix_micros("as_of"))
        .join(F.broadcast(dates), "as_of_us", "inner")
        .select("block", "factor", "symbol", "bucket")
    )
    returns = (
        in_blocks(candles, per_day, 0, days)
        .groupBy("block")
        .cogroup(buckets.groupBy("block"))
        .applyInArrow(returns_of, RETURNS_DDL)
    )
    return stamped(context, returns)


def in_force(as_ofs: Sequence[int], days: range, *, is_static: bool) -> pa.Table:
    """Which date's buckets hold on each day: the newest known at its start, or the only one.

    Args:
        as_ofs: Dates of the buckets, ascending, UTC microseconds.
        days: Days, counted from the epoch.
        is_static: Whether the only date's hold on all days.

    Returns:
        Columns block (the day) and as_of_us; no row for a day before the first date.
    """
    starts = np.array(days) * MICROS_PER_DAY
    newest = np.searchsorted(np.array(as_ofs, dtype=np.int64), starts, side="right") - 1
    if is_static:
        newest[:] = 0
    known = newest >= 0
    as_of = np.array(as_ofs, dtype=np.int64)[newest[known]]
    return pa.table({"block": np.array(days)[known], "as_of_us": as_of})


def _outcome(context: TaskContext, start: int | None) -> TaskOutcome:
    """What was written."""
    written = context.lake.read_own(FACTOR_RETURNS).where(since(context, start))
    bars, sorted_bars, coins = written.agg(
        F.count("*"), F.count("liquidity_low"), F.max("coins")
    ).collect()[0]
    how = context.settings.factors.buckets
    label = "trailing" if how == "trailing" else "static (in-sample)"
    scope = "all bars" if start is None else f"from {instant(start * MICROS_PER_DAY):%Y-%m-%d} on"
    return TaskOutcome(
        f"{scope}: {bars:,} bars of up to {coins or 0:,} coins, {sorted_bars:,} with buckets",
        {"buckets": label},
    )
