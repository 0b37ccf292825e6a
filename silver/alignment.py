"""One grid for each interval: short holes filled flat, long ones split the series.

The grid of a symbol starts at its first bar. After each published bar, the first `max_fill_bars`
bars that the symbol lacks are filled with the last close, up to the market's last bar, whether
or not the symbol ever comes back; so no later bar changes an earlier row. A hole that is longer
stays empty after that, and the bar that ends it starts a new segment.
"""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from lakehouse.intervals import Interval, interval_micros

_SYMBOL = ("market", "interval", "symbol")
_PRICES = ("open", "high", "low", "close")
_VOLUMES = ("volume", "quote_volume", "taker_buy_base", "taker_buy_quote")


def align(
    candles: DataFrame, interval: Interval, max_fill_bars: int, market_last_us: int
) -> DataFrame:
    """Put candles on the grid.

    Args:
        candles: Accepted rows, one for each bar, with open_us and warnings; and `segment`, NULL
            but for a symbol's earliest row, which may carry on an earlier part of the series.
        interval: Their bar length.
        max_fill_bars: Missing bars that are filled.
        market_last_us: open_time of the market's last bar, microseconds.

    Returns:
        The columns of silver.candles, published and filled bars.
    """
    # 64 bits: a few steps of 15 minutes are more microseconds than an INT holds.
    step = F.lit(interval_micros(interval)).cast("bigint")
    series = Window.partitionBy(*_SYMBOL).orderBy("open_us")
    so_far = series.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    following = F.coalesce(F.lead("open_us").over(series), F.lit(market_last_us) + step)
    missing_before = F.col("open_us") - F.lag("open_us").over(series) > step * (max_fill_bars + 1)
    breaks = F.sum(F.when(missing_before, 1).otherwise(0)).over(so_far)
    first_segment = F.coalesce(F.first("segment").over(so_far), F.lit(1))
    missing_after = ((following - F.col("open_us")) / step).cast("int") - 1
    placed = candles.withColumns(
        {
            "segment": (first_segment + breaks).cast("int"),
            "fills": F.greatest(F.lit(0), F.least(F.lit(max_fill_bars), missing_after)),
        }
    )
    bars = placed.select("*", F.explode(F.sequence(F.lit(0), F.col("fills"))).alias("fill"))
    return _with_fills(bars, step)


def _with_fills(bars: DataFrame, step: Column) -> DataFrame:
    is_filled = F.col("fill") > 0
    open_time = F.timestamp_micros(F.col("open_us") + F.col("fill") * step)

    def published(name: str, instead: Column) -> Column:
        return F.when(is_filled, instead).otherwise(F.col(name)).alias(name)

    nothing = F.lit(None)
    return bars.select(
        *_SYMBOL,
        open_time.alias("open_time"),
        *(published(name, F.col("close")) for name in _PRICES),
        *(published(name, F.lit(0.0)) for name in _VOLUMES),
        published("trades", F.lit(0)).cast("bigint").alias("trades"),
        is_filled.alias("is_filled"),
        "segment",
        published("warnings", nothing),
        published("source_file", nothing),
        published("line", nothing),
        F.date_format(open_time, "yyyy-MM").alias("month"),
    )
