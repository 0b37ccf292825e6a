"""Candles by window of time, so that each window can be worked on by one task of an executor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from lakehouse.arrow import frame_of
from lakehouse.intervals import MICROS_PER_DAY

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def in_windows(
    spark: SparkSession, candles: DataFrame, windows: Sequence[tuple[int, int, int]]
) -> DataFrame:
    """Candles with the `as_of` of each window that they open in; a candle may be in several.

    Joined by day first: a range alone would compare every candle with every window.

    Args:
        spark: The session of the candles.
        candles: Rows with open_us, UTC microseconds.
        windows: At least one (as_of, from, to), UTC microseconds; `to` is excluded.

    Returns:
        as_of, and the columns of the candles.
    """
    days = [
        (day, *window)
        for window in windows
        for day in range(window[1] // MICROS_PER_DAY, (window[2] - 1) // MICROS_PER_DAY + 1)
    ]
    names = ("day", "as_of", "from_us", "to_us")
    table = pa.table(dict(zip(names, map(pa.array, zip(*days, strict=True)), strict=True)))
    inside = (F.col("open_us") >= F.col("from_us")) & (F.col("open_us") < F.col("to_us"))
    by_day = candles.withColumn("day", F.expr(f"open_us div {MICROS_PER_DAY}"))
    joined = by_day.join(F.broadcast(frame_of(spark, table)), on="day", how="inner")
    return joined.where(inside).select("as_of", *candles.columns)


def by_date(rows: pa.Table) -> dict[int, pa.Table]:
    """The rows of each as_of."""
    ordered = rows.sort_by("as_of").combine_chunks()
    dates, starts = np.unique(ordered["as_of"].to_numpy(), return_index=True)
    ends = [*starts[1:].tolist(), ordered.num_rows]
    return {
        int(date): ordered.slice(start, end - start)
        for date, start, end in zip(dates, starts.tolist(), ends, strict=True)
    }
