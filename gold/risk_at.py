"""The risk of one portfolio, at one time or day by day, for who asks: nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from gold.portfolio_risk import PortfolioRisk
from gold.risk import risk_by_day, stress_moves
from gold.risk_holdings import held_at_day_ends, newest_day
from gold.risk_rows import risk_of
from lakehouse.errors import PortfolioError
from lakehouse.intervals import bars_per_year, instant, interval_micros
from lakehouse.tables import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakehouse.settings import Settings


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


@dataclass(frozen=True)
class RiskHistory:
    """Risk of a portfolio at the end of each day, as rows of the risk tables in time order.

    Attributes:
        stress: Factor -> its return in the stress test.
        risk: Rows of `gold.portfolio_risk`, without those columns that name their origin.
        factors: Likewise rows of `gold.risk_contributions` that are a factor's, one after another
            by day and in the order of the model's factors.
    """

    stress: Mapping[str, float]
    risk: tuple[Mapping[str, Any], ...]
    factors: tuple[Mapping[str, Any], ...]


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
    factors = settings.factors
    at = day or newest_day(Lake(spark, settings.warehouse, settings.catalog), settings)
    rows = held_at_day_ends(spark, settings, portfolio, at, at).toArrow()
    if not rows.num_rows:
        raise _held_nothing(portfolio)
    return Measured(
        market=settings.archive.market,
        interval=factors.interval,
        as_of=instant(rows["end_us"][0].as_py() + interval_micros(factors.interval)),
        weights_as_of=instant(rows["weights_us"][0].as_py()),
        bars=rows["bars"][0].as_py(),
        stress=factors.moves,
        risk=risk_of(rows, stress_moves(factors), bars_per_year(factors.interval)),
    )


def measure_days(
    spark: SparkSession,
    settings: Settings,
    portfolio: str | Mapping[str, float] | None,
    first: date | None,
    last: date | None,
) -> RiskHistory:
    """Measure the risk of a portfolio by the exposures of the last bar of each day.

    Args:
        spark: As `measure` has it.
        settings: Likewise.
        portfolio: Likewise. Weights of one's own are those of every day: they do not drift.
        first: First UTC day; None is that of all exposures.
        last: Last UTC day, inclusive; None is that of all exposures.

    Raises:
        TableError: The warehouse has no exposures.
        PortfolioError: There are none in these days, the index is unknown or held nothing in them,
            or a symbol is unknown.
    """
    holdings = held_at_day_ends(spark, settings, portfolio, first, last)
    risk, contributions = risk_by_day(holdings, settings.factors)
    of_factors = contributions.where("component = 'factor'")
    days = risk.toArrow().sort_by("as_of").to_pylist()
    if not days:
        raise _held_nothing(portfolio)
    return RiskHistory(
        stress=settings.factors.moves,
        risk=tuple(days),
        factors=tuple(of_factors.toArrow().sort_by("as_of").to_pylist()),
    )


def _held_nothing(portfolio: object) -> PortfolioError:
    return PortfolioError(
        f"index {portfolio} held nothing then: gold.index_decisions tells its dates"
    )
