"""Holdings of the portfolio that a person asks about, with their exposures at the ends of days."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from gold.contracts import INDEX_DECISIONS, INDEX_WEIGHTS
from gold.factor_candles import scope_of
from gold.factor_contracts import FACTOR_EXPOSURES, FACTOR_RETURNS
from gold.portfolio import require_known
from gold.risk import opening_from
from gold.risk_frames import (
    ALL_COINS,
    at_ends,
    covariances,
    day_ends,
    equal_holdings,
    index_holdings,
    with_exposures,
)
from gold.risk_rows import PORTFOLIO_COLUMNS
from gold.statistics import timestamp_sql
from lakehouse.errors import PortfolioError, TableError
from lakehouse.intervals import instant, interval_micros
from lakehouse.sql import equals
from lakehouse.tables import Lake
from silver.contracts import LISTINGS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakehouse.settings import Settings

_GIVEN = "given"


def newest_day(lake: Lake, settings: Settings) -> date | None:
    """The last UTC day that has exposures; None when there are none.

    Raises:
        TableError: The warehouse has no exposures.
    """
    found = _all_exposures(lake, settings)
    # Of the newest month alone: a month is a partition.
    month = found.agg(F.max("month")).collect()[0][0]
    newest = found.where(F.col("month") == month).agg(F.to_date(F.max("open_time")))
    day: date | None = newest.collect()[0][0]
    return day


def held_at_day_ends(
    spark: SparkSession,
    settings: Settings,
    portfolio: str | Mapping[str, float] | None,
    first: date | None,
    last: date | None,
) -> DataFrame:
    """A portfolio at the last bar of each day that has exposures, ready for `risk_rows`.

    Args:
        spark: A session.
        settings: Market, interval and window of the factor model.
        portfolio: Name of an index, symbols with their weights, or None for all coins that have
            exposures in equal weights.
        first: First UTC day; None is that of all exposures.
        last: Last UTC day, inclusive; None is that of all exposures.

    Raises:
        TableError: The warehouse has no exposures.
        PortfolioError: There are none in these days, the index or a symbol is unknown.
    """
    lake = Lake(spark, settings.warehouse, settings.catalog)
    step, window = interval_micros(settings.factors.interval), settings.factors.window
    exposures = _exposures(lake, settings, first, last)
    opens = [(row["end_us"],) for row in day_ends(exposures).collect()]
    if not opens:
        raise PortfolioError(
            f"there are no exposures of {settings.factors.interval} candles of market "
            f"{settings.archive.market}{_span(first, last)}: "
            "SELECT min(open_time), max(open_time) FROM gold.factor_exposures"
        )
    ends = spark.createDataFrame(opens, "end_us bigint")
    known = at_ends(exposures, ends)
    reach = opening_from(instant(min(opens)[0] - window * step))
    returns = lake.read_own(FACTOR_RETURNS).where(equals(scope_of(settings))).where(reach)
    holdings = _holdings(spark, lake, settings, portfolio, ends, known)
    return with_exposures(holdings, known, covariances(returns, ends, window, step))


def _all_exposures(lake: Lake, settings: Settings) -> DataFrame:
    if not lake.exists(FACTOR_EXPOSURES):
        raise TableError(
            f"no exposures in {settings.warehouse}: run `candlelake run factor_model` first"
        )
    return lake.read_own(FACTOR_EXPOSURES).where(equals(scope_of(settings)))


def _exposures(lake: Lake, settings: Settings, first: date | None, last: date | None) -> DataFrame:
    """Exposures of some UTC days."""
    found = _all_exposures(lake, settings)
    if first is not None:
        found = found.where(opening_from(_midnight(first)))
    if last is not None:
        until = timestamp_sql(_midnight(last) + timedelta(days=1))
        found = found.where(f"month <= '{last:%Y-%m}' AND open_time < {until}")
    return found


def _span(first: date | None, last: date | None) -> str:
    """The days in words that follow others; empty for all."""
    if first == last:
        return f" on {first}" if first else ""
    return (f" from {first} on" if first else "") + (f" until {last}" if last else "")


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _holdings(
    spark: SparkSession,
    lake: Lake,
    settings: Settings,
    portfolio: str | Mapping[str, float] | None,
    ends: DataFrame,
    known: DataFrame,
) -> DataFrame:
    """The portfolio as `with_exposures` takes it."""
    interval = settings.factors.interval
    step = interval_micros(interval)
    if portfolio is None or portfolio == ALL_COINS:
        return equal_holdings(known, interval, step)
    if isinstance(portfolio, str):
        return _of_index(lake, settings, portfolio, ends)
    market = {"market": settings.archive.market}
    listed = lake.read_own(LISTINGS).where(equals(market)).select("symbol").distinct().toArrow()
    symbols = listed["symbol"].to_pylist()
    require_known(portfolio, symbols, f"the {market['market']} candles of this warehouse")
    given = spark.createDataFrame(list(portfolio.items()), "symbol string, weight double")
    described = {
        "portfolio": F.lit(_GIVEN),
        "weights_interval": F.lit(interval),
        "weights_us": F.col("end_us") + F.lit(step),
    }
    return (
        ends.crossJoin(given).withColumns(described).select(*PORTFOLIO_COLUMNS, "symbol", "weight")
    )


def _of_index(lake: Lake, settings: Settings, index: str, ends: DataFrame) -> DataFrame:
    """The index as it was determined from the settings' own candles, or from the only ones."""
    market = equals({"market": settings.archive.market})
    if not lake.exists(INDEX_DECISIONS):
        raise PortfolioError(
            f"no index in {settings.warehouse}: run `candlelake run medallion` on it, or give --csv"
        )
    decisions = lake.read_own(INDEX_DECISIONS).where(market)
    made = decisions.select("index_name", "interval").distinct().collect()
    intervals = sorted(row["interval"] for row in made if row["index_name"] == index)
    if not intervals:
        names = sorted({row["index_name"] for row in made} | {ALL_COINS})
        raise PortfolioError(f"no index {index!r} in this warehouse: there are {', '.join(names)}")
    own = settings.archive.interval
    chosen = own if own in intervals else intervals[0]
    if len(intervals) > 1 and own not in intervals:
        raise PortfolioError(
            f"{index} was determined from {' and '.join(intervals)} candles: name one, such as "
            f"--set archive.interval={chosen}"
        )
    mine = equals({"index_name": index, "interval": chosen})
    return index_holdings(
        lake.read_own(INDEX_WEIGHTS).where(market).where(mine),
        decisions.where(mine),
        ends,
        interval_micros(settings.factors.interval),
    )
