"""What the candles say about each symbol: its holes, its first and last bar."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from lakehouse.intervals import Interval, interval_micros
from silver.outages import IntArray, missing_shares

_SYMBOL = ("market", "interval", "symbol")


def listings(candles: DataFrame, interval: Interval, max_fill_bars: int) -> DataFrame:
    """First and last published bar of each symbol, with the columns of silver.listings.

    A symbol has `ended` when its last bar is more than `max_fill_bars` before the market's last.
    """
    open_us = F.when(~F.col("is_filled"), F.unix_micros("open_time"))
    spans = candles.groupBy(*_SYMBOL).agg(
        F.min(open_us).alias("first_us"),
        F.max(open_us).alias("last_us"),
        F.count(open_us).alias("bars"),
        F.count_if(F.col("is_filled")).alias("filled_bars"),
    )
    market_last = F.max("last_us").over(Window.partitionBy("market", "interval"))
    allowed = F.lit(interval_micros(interval) * max_fill_bars)
    has_ended = market_last - F.col("last_us") > allowed
    return spans.select(
        *_SYMBOL,
        F.timestamp_micros("first_us").alias("first_open_time"),
        F.timestamp_micros("last_us").alias("last_open_time"),
        "bars",
        "filled_bars",
        F.when(has_ended, F.lit("ended")).otherwise(F.lit("trading")).alias("status"),
    )


def with_silent_symbols(listed: pa.Table, named: pa.Table) -> pa.Table:
    """The listings, and those symbols that the archive names of which no bar was ingested.

    Args:
        listed: `listings`.
        named: Rows of bronze.archive_symbols of the same market and interval. Of a symbol outside
            of the universe no file is known, and so no status.
    """
    last_bar = pc.max(listed["last_open_time"]).as_py()
    known = set(listed["symbol"].to_pylist())
    silent = [
        {
            **{name: row[name] for name in _SYMBOL},
            "bars": 0,
            "filled_bars": 0,
            "status": _status(row["last_month"], f"{last_bar:%Y-%m}"),
        }
        for row in named.to_pylist()
        if row["symbol"] not in known
    ]
    # Spark has found columns that are never NULL among its own rows.
    schema = pa.schema([field.with_nullable(True) for field in listed.schema])
    return pa.concat_tables([listed.cast(schema), pa.Table.from_pylist(silent, schema)])


def _status(last_month: str | None, market_last_month: str) -> str | None:
    """That of a symbol without a bar, by the month of its last file."""
    if last_month is None:
        return None
    return "ended" if last_month < market_last_month else "trading"


def symbols_with_gaps(listed: pa.Table, interval: Interval) -> list[str]:
    """Symbols that lack a bar between their first and their last: the span holds more bars."""
    first, last = (
        np.asarray(listed[name].cast(pa.int64()).to_numpy())
        for name in ("first_open_time", "last_open_time")
    )
    span = (last - first) // interval_micros(interval) + 1
    holed = span > np.asarray(listed["bars"].to_numpy())
    return list(listed["symbol"].filter(pa.array(holed)).to_pylist())


def gaps(
    candles: DataFrame,
    listed: DataFrame,
    interval: Interval,
    max_fill_bars: int,
    outage_share: float,
) -> DataFrame:
    """Holes between two published bars of a symbol, with the columns of silver.gaps.

    Args:
        candles: Rows of silver.candles.
        listed: `listings` of the same candles: when each symbol was live.
        interval: Their bar length.
        max_fill_bars: Missing bars that the candles fill.
        outage_share: A hole in which at least this share of the live symbols' bars is missing is
            an outage of the exchange.
    """
    step = interval_micros(interval)
    series = Window.partitionBy(*_SYMBOL).orderBy("open_time")
    last_us = F.unix_micros(F.lag("open_time").over(series))
    holes = (
        candles.where(~F.col("is_filled"))
        .select(*_SYMBOL, F.unix_micros("open_time").alias("end_us"), last_us.alias("last_us"))
        .where(F.col("end_us") - F.col("last_us") > step)
        .select(*_SYMBOL, (F.col("last_us") + step).alias("start_us"), "end_us")
    )
    spans = listed.select(
        *_SYMBOL,
        F.unix_micros("first_open_time").alias("start_us"),
        (F.unix_micros("last_open_time") + step).alias("end_us"),
    )
    shared = (
        holes.groupBy("market", "interval")
        .cogroup(spans.groupBy("market", "interval"))
        .applyInArrow(
            _with_shares,
            schema="market string, interval string, symbol string, "
            "start_us bigint, end_us bigint, missing_share double",
        )
    )
    bars = ((F.col("end_us") - F.col("start_us")) / step).cast("bigint")
    is_outage = F.col("missing_share") >= outage_share
    return shared.select(
        *_SYMBOL,
        F.timestamp_micros("start_us").alias("gap_start"),
        F.timestamp_micros("end_us").alias("gap_end"),
        bars.alias("bars"),
        F.when(is_outage, F.lit("outage")).otherwise(F.lit("symbol")).alias("kind"),
        F.least(bars, F.lit(max_fill_bars)).cast("bigint").alias("filled_bars"),
        "missing_share",
    )


def _with_shares(holes: pa.Table, spans: pa.Table) -> pa.Table:
    def micros(table: pa.Table, name: str) -> IntArray:
        return np.asarray(table.column(name).to_numpy(), dtype=np.int64)

    shares = missing_shares(
        micros(holes, "start_us"),
        micros(holes, "end_us"),
        micros(spans, "start_us"),
        micros(spans, "end_us"),
    )
    return holes.append_column("missing_share", pa.array(shares, pa.float64()))
