"""The risk of one portfolio at one time, for a person who asks: nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from gold.contracts import INDEX_DECISIONS, INDEX_WEIGHTS
from gold.factor_candles import scope_of
from gold.factor_contracts import FACTOR_EXPOSURES, FACTOR_RETURNS
from gold.portfolio import require_known
from gold.portfolio_risk import PortfolioRisk
from gold.risk import opening_from, stress_moves
from gold.risk_frames import (
    EQUAL_WEIGHT,
    at_ends,
    covariances,
    day_ends,
    equal_holdings,
    index_holdings,
    with_exposures,
)
from gold.risk_rows import risk_of
from lakehouse.errors import PortfolioError, TableError
from lakehouse.intervals import bars_per_year, instant, interval_micros
from lakehouse.sql import equals
from lakehouse.tables import Lake
from silver.contracts import LISTINGS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakehouse.settings import Settings

_GIVEN = "given"
_HOLDINGS = (
    "portfolio string, weights_interval string, weights_us bigint, end_us bigint, symbol string, "
    "weight double"
)


@dataclass(frozen=True)
class Measured:
    """Risk of a portfolio.

    Attributes:
        market: `spot` or `um`.
        interval: Bar length of the factor model.
        as_of: Close of the bar whose exposures were used, UTC.
        weights_as_of: Determination of an index whose weights were used; else `as_of`.
        bars: Bars of factor returns behind the covariance.
        stress: Factor -> its return in the stress test.
        risk: The risk.
    """

    market: str
    interval: str
    as_of: datetime
    weights_as_of: datetime
    bars: int
    stress: Mapping[str, float]
    risk: PortfolioRisk


def measure(
    spark: SparkSession,
    settings: Settings,
    portfolio: str | Mapping[str, float] | None,
    day: date | None,
) -> Measured:
    """Measure the risk of a portfolio by the exposures of one bar.

    Args:
        spark: A session.
        settings: Market, interval, window and stress test of the factor model.
        portfolio: Name of an index, symbols with their weights, or None for all coins that have
            exposures in equal weights.
        day: UTC day whose last bar it is; None is the last day of all.

    Raises:
        TableError: The warehouse has no exposures.
        PortfolioError: There are none on that day, the index is unknown or was not determined
            before, or a symbol is unknown.
    """
    lake = Lake(spark, settings.warehouse, settings.catalog)
    scope, factors = scope_of(settings), settings.factors
    step = interval_micros(factors.interval)
    of_day = _exposures(lake, settings, day)
    ends = day_ends(of_day)
    end = int(ends.collect()[0]["end_us"])
    at_end = at_ends(of_day, ends)
    first = instant(end - factors.window * step)
    returns = lake.read_own(FACTOR_RETURNS).where(equals(scope)).where(opening_from(first))
    holdings = _holdings(spark, lake, settings, portfolio, end, at_end)
    window = covariances(returns, ends, factors.window, step)
    rows = with_exposures(holdings, at_end, window).toArrow()
    if not rows.num_rows:
        raise PortfolioError(
            f"index {portfolio} held nothing then: gold.index_decisions tells its dates"
        )
    return Measured(
        **scope,
        as_of=instant(rows["end_us"][0].as_py() + step),
        weights_as_of=instant(rows["weights_us"][0].as_py()),
        bars=rows["bars"][0].as_py(),
        stress=factors.moves,
        risk=risk_of(rows, stress_moves(factors), bars_per_year(factors.interval)),
    )


def _exposures(lake: Lake, settings: Settings, day: date | None) -> DataFrame:
    """Exposures of one UTC day."""
    scope = scope_of(settings)
    if not lake.exists(FACTOR_EXPOSURES):
        raise TableError(
            f"no exposures in {settings.warehouse}: run `candlelake run factor_model` first"
        )
    found = lake.read_own(FACTOR_EXPOSURES).where(equals(scope))
    if day is not None:
        found = found.where(f"month = '{day:%Y-%m}'")
    # Of the newest month alone: a month is a partition.
    month = found.agg(F.max("month")).collect()[0][0]
    found = found.where(F.col("month") == month)
    last = found.agg(F.to_date(F.max("open_time"))).collect()[0][0] if day is None else day
    of_day = found.where(F.to_date("open_time") == F.lit(last))
    if last is None or of_day.isEmpty():
        raise PortfolioError(
            f"there are no exposures of {scope['interval']} candles of market {scope['market']}"
            + (f" on {day}" if day else "")
            + ": SELECT min(open_time), max(open_time) FROM gold.factor_exposures"
        )
    return of_day


def _holdings(
    spark: SparkSession,
    lake: Lake,
    settings: Settings,
    portfolio: str | Mapping[str, float] | None,
    end: int,
    at_end: DataFrame,
) -> DataFrame:
    """The portfolio as `with_exposures` takes it."""
    interval = settings.factors.interval
    step = interval_micros(interval)
    if portfolio is None or portfolio == EQUAL_WEIGHT:
        return equal_holdings(at_end, interval, step)
    if isinstance(portfolio, str):
        ends = spark.createDataFrame([(end,)], "end_us bigint")
        return _of_index(lake, settings, portfolio, ends)
    market = {"market": settings.archive.market}
    listed = lake.read_own(LISTINGS).where(equals(market)).select("symbol").distinct().toArrow()
    known = listed["symbol"].to_pylist()
    require_known(portfolio, known, f"the {market['market']} candles of this warehouse")
    rows = [(_GIVEN, interval, end + step, end, *holding) for holding in portfolio.items()]
    return spark.createDataFrame(rows, _HOLDINGS)


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
        names = sorted({row["index_name"] for row in made} | {EQUAL_WEIGHT})
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
