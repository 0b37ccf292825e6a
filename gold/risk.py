"""The task `factor_risk`: statistics of the factors, and the risk of portfolios day by day.

Each day's holdings of a portfolio are a group of their own. The factors' history goes to one task
of an executor, whose worker takes about 0.5 GB for each year of minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import functions as F

from gold.contracts import INDEX_DECISIONS, INDEX_WEIGHTS
from gold.factor_candles import scope_of
from gold.factor_contracts import FACTOR_EXPOSURES, FACTOR_RETURNS
from gold.risk_changes import SOURCES, changed_since
from gold.risk_contracts import (
    FACTOR_CORRELATIONS,
    FACTOR_STATISTICS,
    PORTFOLIO_RISK,
    RISK_CONTRIBUTIONS,
)
from gold.risk_frames import (
    at_ends,
    covariances,
    day_ends,
    equal_holdings,
    index_holdings,
    with_exposures,
)
from gold.risk_rows import (
    CONTRIBUTIONS_DDL,
    CORRELATIONS_DDL,
    FACTORS,
    PORTFOLIO_COLUMNS,
    RISK_DDL,
    STATISTICS_DDL,
    contribution_rows,
    correlation_rows,
    risk_rows,
    statistics_rows,
)
from gold.stamped import replace_stamped
from gold.statistics import timestamp_sql
from lakehouse.errors import NotEnoughData
from lakehouse.intervals import bars_per_year, instant, interval_micros
from lakehouse.sql import equals
from lakehouse.tasks import TaskContext, TaskOutcome

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from gold.returns import FloatArray
    from lakehouse.settings import FactorSettings


def run_factor_risk(context: TaskContext) -> TaskOutcome:
    """Bring the factors' statistics and the portfolios' risk up to the newest exposures.

    Raises:
        NotEnoughData: There are no factor returns.
    """
    since = changed_since(context)
    as_of = _last_close(context)
    if since is None:
        return TaskOutcome(f"nothing new; risk as of {as_of:%Y-%m-%d %H:%M}", unchanged=True)
    _write_statistics(context, as_of)
    _write_risk(context, since)
    return _outcome(context, as_of)


def stress_moves(factors: FactorSettings) -> FloatArray:
    """Returns of `FACTORS` in the stress test of the settings, NaN of those not named."""
    return np.array([factors.moves.get(factor, np.nan) for factor in FACTORS])


def _last_close(context: TaskContext) -> datetime:
    scope = scope_of(context.settings)
    returns = context.lake.read(FACTOR_RETURNS).where(equals(scope))
    last = returns.agg(F.unix_micros(F.max("open_time"))).collect()[0][0]
    if last is None:
        raise NotEnoughData(
            f"gold.factor_returns has no {scope['interval']} bars of market {scope['market']}: run "
            "`candlelake run factor_model`"
        )
    return instant(last + interval_micros(context.settings.factors.interval))


def _write_statistics(context: TaskContext, as_of: datetime) -> None:
    """Statistics and correlations of all history, in the place of the former ones.

    Rows as of a former run's last bar would tell when runs were made, and stay as they are when
    candles before it change.
    """
    scope, year = scope_of(context.settings), bars_per_year(context.settings.factors.interval)
    returns = (
        context.lake.read(FACTOR_RETURNS)
        .where(equals(scope))
        .select("market", F.unix_micros("open_time").alias("open_us"), *FACTORS)
    )

    def statistics(rows: pa.Table) -> pa.Table:
        return statistics_rows(rows, year)

    by_market = returns.groupBy("market")
    for contract, rows in (
        (FACTOR_STATISTICS, by_market.applyInArrow(statistics, STATISTICS_DDL)),
        (FACTOR_CORRELATIONS, by_market.applyInArrow(correlation_rows, CORRELATIONS_DDL)),
    ):
        dated = rows.withColumn("as_of", F.expr(timestamp_sql(as_of)))
        stamp, sources = _stamp(context), (FACTOR_RETURNS,)
        replace_stamped(context, contract, dated, stamp, sources, equals(scope))


def risk_by_day(holdings: DataFrame, factors: FactorSettings) -> tuple[DataFrame, DataFrame]:
    """Risk and contributions of portfolios at the ends of days.

    Args:
        holdings: Portfolios `with_exposures`.
        factors: Interval and stress test of the model.

    Returns:
        Rows of gold.portfolio_risk and of gold.risk_contributions without what names their origin.
    """
    step, year, moves = (
        interval_micros(factors.interval),
        bars_per_year(factors.interval),
        stress_moves(factors),
    )

    def risk(rows: pa.Table) -> pa.Table:
        return risk_rows(rows, moves, year)

    def contributions(rows: pa.Table) -> pa.Table:
        return contribution_rows(rows, moves, year)

    portfolios = holdings.groupBy(*PORTFOLIO_COLUMNS)
    stress = F.create_map(*(F.lit(part) for pair in factors.moves.items() for part in pair))
    dated = {"as_of": F.timestamp_micros(F.col("end_us") + F.lit(step))}
    described = {
        **dated,
        "weights_as_of": F.timestamp_micros("weights_us"),
        "stress": stress.cast("map<string,double>"),
    }
    return (
        portfolios.applyInArrow(risk, RISK_DDL).withColumns(described).drop("end_us", "weights_us"),
        portfolios.applyInArrow(contributions, CONTRIBUTIONS_DDL)
        .withColumns(dated)
        .drop("end_us", "weights_us"),
    )


def _write_risk(context: TaskContext, since: datetime) -> None:
    """Risk and contributions of the days from `since` on, in the place of earlier ones."""
    made = risk_by_day(_holdings(context, since), context.settings.factors)
    where = f"{equals(scope_of(context.settings))} AND as_of > {timestamp_sql(since)}"
    for contract, rows in zip((PORTFOLIO_RISK, RISK_CONTRIBUTIONS), made, strict=True):
        replace_stamped(context, contract, rows, _stamp(context), SOURCES, where)


def _stamp(context: TaskContext) -> dict[str, str]:
    return {**scope_of(context.settings), "buckets": context.settings.factors.buckets}


def _holdings(context: TaskContext, since: datetime) -> DataFrame:
    """All portfolios at the ends of the days from `since` on, ready for `risk_rows`."""
    lake, factors = context.lake, context.settings.factors
    step = interval_micros(factors.interval)
    of_model = equals(scope_of(context.settings))
    of_market = equals({"market": context.settings.archive.market})
    returns = lake.read(FACTOR_RETURNS).where(of_model)
    ends = day_ends(returns.where(opening_from(since)))
    exposures = lake.read(FACTOR_EXPOSURES).where(of_model).where(opening_from(since))
    known = at_ends(exposures, ends)
    held = index_holdings(
        lake.read(INDEX_WEIGHTS).where(of_market),
        lake.read(INDEX_DECISIONS).where(of_market),
        ends,
        step,
    )
    everything = held.unionByName(equal_holdings(known, factors.interval, step))
    reach = timedelta(microseconds=factors.window * step)
    windows = covariances(returns.where(opening_from(since - reach)), ends, factors.window, step)
    return with_exposures(everything, known, windows)


def opening_from(time: datetime) -> str:
    """Rows that open at a time or later, as a SQL condition; months before it are not read."""
    return f"month >= '{time:%Y-%m}' AND open_time >= {timestamp_sql(time)}"


def _outcome(context: TaskContext, as_of: datetime) -> TaskOutcome:
    """How many portfolios there are, and the newest risk of each."""
    newest = (
        context.lake.read_own(PORTFOLIO_RISK)
        .where(equals(scope_of(context.settings)))
        .where(f"as_of = {timestamp_sql(as_of)}")
        .select("portfolio", "weights_interval", "annual_volatility", "covered_weight")
        .orderBy("portfolio", "weights_interval")
        .toArrow()
        .to_pylist()
    )
    figures = {
        f"{row['portfolio']} ({row['weights_interval']}), risk per year": _figure(row)
        for row in newest
    }
    names = ", ".join(dict.fromkeys(row["portfolio"] for row in newest))
    return TaskOutcome(f"risk of {names} as of {as_of:%Y-%m-%d %H:%M}", figures)


def _figure(row: Mapping[str, Any]) -> str:
    volatility = row["annual_volatility"]
    known = "unknown" if volatility is None else f"{volatility:.1%}"
    return f"{known}, of {row['covered_weight']:.0%} of the weight"
