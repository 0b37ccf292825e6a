"""Holdings at the end of each day, with their exposures and the covariance of the factors there.

Times are bar opens in UTC microseconds; `end_us` is that of the last bar of a UTC day, at whose
close its exposures are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pyspark.sql import Window
from pyspark.sql import functions as F

from gold.risk_rows import BETAS, COVARIANCE_DDL, FACTORS, PORTFOLIO_COLUMNS, covariance_rows
from lakehouse.intervals import MICROS_PER_DAY

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

ALL_COINS: Final = "all_coins"
"""The portfolio of all coins that have exposures, in equal weights."""


def day_ends(bars: DataFrame) -> DataFrame:
    """end_us of each day, from rows with an open_time: gold.factor_returns has one for each bar."""
    opens = bars.select(F.unix_micros("open_time").alias("end_us"))
    return (
        opens.groupBy(_day("end_us").alias("day")).agg(F.max("end_us").alias("end_us")).drop("day")
    )


def at_ends(exposures: DataFrame, ends: DataFrame) -> DataFrame:
    """Exposures at these bars: end_us, symbol, `BETAS` and residual_variance."""
    opens = exposures.select("symbol", F.unix_micros("open_time").alias("end_us"), *_KNOWN)
    return opens.join(F.broadcast(ends), on="end_us", how="left_semi")


def covariances(returns: DataFrame, ends: DataFrame, window: int, step: int) -> DataFrame:
    """Covariance of the factors over the bars up to each end: end_us, bars and covariance.

    Args:
        returns: gold.factor_returns of one market and interval.
        ends: end_us, each once.
        window: Bars of a covariance.
        step: Length of a bar in microseconds.
    """
    reach = window * step
    bars = returns.select(F.unix_micros("open_time").alias("open_us"), *FACTORS)
    # A bar is in the windows that end on its day or at most so many days later.
    days = F.sequence(_day("open_us"), _day("open_us") + F.lit(-(-reach // MICROS_PER_DAY)))
    windows = bars.withColumn("day", F.explode(days)).join(
        F.broadcast(ends.withColumn("day", _day("end_us"))), on="day", how="inner"
    )
    inside = windows.where(f"open_us <= end_us AND open_us > end_us - {reach}")
    return inside.groupBy("end_us").applyInArrow(covariance_rows, COVARIANCE_DDL)


def index_holdings(
    weights: DataFrame, decisions: DataFrame, ends: DataFrame, step: int
) -> DataFrame:
    """Holdings of each index at each end: the weights of its last determination until then.

    An index that held nobody after a determination has no holdings: it is in cash.

    Args:
        weights: gold.index_weights of one market.
        decisions: gold.index_decisions of it, which has every determination.
        ends: end_us, each once.
        step: Length of a bar in microseconds.

    Returns:
        `PORTFOLIO_COLUMNS`, symbol and weight.
    """
    index = ("index_name", "interval")
    in_turn = Window.partitionBy(*index).orderBy("weights_us")
    dates = (
        decisions.select(*index, F.unix_micros("as_of").alias("weights_us"))
        .distinct()
        .withColumn("until_us", F.lead("weights_us").over(in_turn))
    )
    held = F.expr(
        f"end_us + {step} >= weights_us AND (until_us IS NULL OR end_us + {step} < until_us)"
    )
    dated = weights.withColumn("weights_us", F.unix_micros("as_of"))
    return (
        ends.join(F.broadcast(dates), on=held, how="inner")
        .join(F.broadcast(dated), on=[*index, "weights_us"], how="inner")
        .withColumnsRenamed({"index_name": "portfolio", "interval": "weights_interval"})
        .select(*PORTFOLIO_COLUMNS, "symbol", "weight")
    )


def equal_holdings(exposures: DataFrame, interval: str, step: int) -> DataFrame:
    """The portfolio of all coins that have exposures `at_ends`, with the same columns."""
    coins = F.count("*").over(Window.partitionBy("end_us"))
    return exposures.select(
        F.lit(ALL_COINS).alias("portfolio"),
        F.lit(interval).alias("weights_interval"),
        (F.col("end_us") + F.lit(step)).alias("weights_us"),
        "end_us",
        "symbol",
        (F.lit(1.0) / coins).alias("weight"),
    )


def with_exposures(holdings: DataFrame, exposures: DataFrame, covariance: DataFrame) -> DataFrame:
    """Holdings with what `risk_rows` needs; NULL exposures of those that have none at the end."""
    return holdings.join(exposures, on=["end_us", "symbol"], how="left").join(
        F.broadcast(covariance), on="end_us", how="inner"
    )


_KNOWN: Final = (*BETAS, "residual_variance")


def _day(micros: str) -> Column:
    return F.expr(f"{micros} div {MICROS_PER_DAY}")
