"""Made-up candles as the silver tables that a gold task reads, for the benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse.tables import Lake
from silver.contracts import CANDLES, LISTINGS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def store(lake: Lake, candles: DataFrame, listed: DataFrame, interval: str) -> None:
    """Write silver.candles and silver.listings of market `um`.

    Args:
        lake: An empty warehouse.
        candles: symbol, open_us, open, high, low, close and quote_volume, none of them filled.
        listed: symbol, first and last (opens, UTC microseconds) and bars.
        interval: Length of a bar.
    """
    scope = {"market": F.lit("um"), "interval": F.lit(interval)}
    constants = {
        "open_time": F.timestamp_micros("open_us"),
        "volume": F.lit(1.0),
        "trades": F.lit(1).cast("bigint"),
        "taker_buy_base": F.lit(0.0),
        "taker_buy_quote": F.lit(0.0),
        "is_filled": F.lit(False),
        "segment": F.lit(1),
        "warnings": F.lit(None).cast("array<string>"),
        "source_file": F.lit("synthetic"),
        "line": F.lit(1).cast("bigint"),
        "month": F.date_format(F.timestamp_micros("open_us"), "yyyy-MM"),
    }
    lake.append(CANDLES, candles.withColumns({**scope, **constants}).drop("open_us"))
    listings = {
        "first_open_time": F.timestamp_micros("first"),
        "last_open_time": F.timestamp_micros("last"),
        "filled_bars": F.lit(0).cast("bigint"),
        "status": F.lit("trading"),
    }
    lake.append(LISTINGS, listed.withColumns({**scope, **listings}).drop("first", "last"))
