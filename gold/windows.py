"""Candles in windows of time, each for a date of an index, and what was made of them by date."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from gold.statistics import scoped_candles
from lakehouse.intervals import MICROS_PER_DAY

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.tasks import TaskContext


def candles_in_windows(
    context: TaskContext, columns: Sequence[str], windows: Sequence[tuple[int, int, int]]
) -> DataFrame:
    """Candles of the run's market with the `as_of` of each window that they open in.

    Joined by day first: a range alone would compare every candle with every window.

    Args:
        context: The task.
        columns: Columns of `scoped_candles` beside `as_of`, open_us among them.
        windows: as_of, from and to, UTC microseconds; `to` is excluded.
    """
    days = [
        (day, *window)
        for window in windows
        for day in range(window[1] // MICROS_PER_DAY, (window[2] - 1) // MICROS_PER_DAY + 1)
    ]
    names = ("day", "as_of", "from_us", "to_us")
    table = pa.table(dict(zip(names, map(pa.array, zip(*days, strict=True)), strict=True)))
    inside = (F.col("open_us") >= F.col("from_us")) & (F.col("open_us") < F.col("to_us"))
    candles = scoped_candles(context).select(*columns)
    by_day = candles.withColumn("day", F.expr(f"open_us div {MICROS_PER_DAY}"))
    joined = by_day.join(F.broadcast(context.spark.createDataFrame(table)), on="day", how="inner")
    return joined.where(inside).select("as_of", *columns)


def by_date(rows: pa.Table) -> dict[int, pa.Table]:
    """The rows of each as_of."""
    ordered = rows.sort_by("as_of").combine_chunks()
    dates, starts = np.unique(ordered["as_of"].to_numpy(), return_index=True)
    ends = [*starts[1:].tolist(), ordered.num_rows]
    return {
        int(date): ordered.slice(start, end - start)
        for date, start, end in zip(dates, starts.tolist(), ends, strict=True)
    }
