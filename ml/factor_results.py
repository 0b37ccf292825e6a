"""What the factor model of a market says, from the gold tables, as small pandas frames.

Series are thinned out before they are read: at most `MOST_TIMES` times each, so nothing here grows
with the number of bars. Times are UTC, of bar opens; what is known at them is known at the close. A
point of a series is the last bar of its step, so that none holds what came after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from pyspark.sql import functions as F

from gold.factor_candles import scope_of
from gold.factor_contracts import FACTOR_BUCKETS, FACTOR_EXPOSURES, FACTOR_RETURNS
from gold.factor_names import MODEL_FACTORS
from gold.risk_contracts import (
    FACTOR_CORRELATIONS,
    FACTOR_STATISTICS,
    PORTFOLIO_RISK,
    RISK_CONTRIBUTIONS,
)
from gold.risk_rows import BETAS
from lakehouse.contracts import TableContract
from lakehouse.intervals import INTERVALS, MICROS_PER_DAY, Interval, interval_micros
from lakehouse.runs import TASK_RUNS
from lakehouse.sql import equals, is_in
from ml.frames import rows, to_pandas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column, DataFrame

    from lakehouse.settings import Settings
    from lakehouse.tables import Lake

FACTOR_TASKS: Final = ("factor_returns", "factor_exposures", "factor_risk")
"""Tasks of the model, in the order of the pipeline."""

MOST_TIMES: Final = 400
"""Most points of a series."""

LIQUID_COINS: Final = 4
"""Coins whose exposures are shown unless the settings name some."""


@dataclass(frozen=True)
class FactorResults:
    """The factor model of one market and interval; a frame is empty where there are no rows.

    Attributes:
        market: `spot` or `um`.
        interval: Length of a bar.
        buckets: `trailing`, or `static`, which is in-sample.
        portfolios: What is regressed on: `buckets` or `long_short`, a key of `MODEL_FACTORS`.
        window: Bars of a regression.
        first: Open of the first bar that has factor returns.
        begin: Open of the first bar by which every factor regressed on that ever has a return has
            had one.
        as_of: Close of the last one.
        statistics: `gold.factor_statistics` at `as_of`.
        correlations: factor_a, factor_b and rho at `as_of`.
        growth: time and the factors regressed on: the log growth of each over the bars of the step
            that ends with that bar, from `begin` on.
        exposures: symbol, time, the betas and r2 of the coins shown, evenly spaced in time.
        risk: `gold.portfolio_risk` of all days, by portfolio and time.
        contributions: `gold.risk_contributions`, of holdings those at `as_of`.
    """

    market: str
    interval: Interval
    buckets: str
    portfolios: str
    window: int
    first: pd.Timestamp
    begin: pd.Timestamp
    as_of: pd.Timestamp
    statistics: pd.DataFrame
    correlations: pd.DataFrame
    growth: pd.DataFrame
    exposures: pd.DataFrame
    risk: pd.DataFrame
    contributions: pd.DataFrame


def load_factor_results(lake: Lake, settings: Settings) -> FactorResults | None:
    """Read the factor model of the settings' market; None when there is none."""
    scope = equals(scope_of(settings))
    if not lake.exists(FACTOR_STATISTICS):
        return None
    statistics = newest(lake, FACTOR_STATISTICS, scope)
    if statistics.empty:
        return None
    as_of = statistics["as_of"].iloc[0]
    interval = settings.factors.interval
    returns = lake.read(FACTOR_RETURNS).where(scope)
    factors = MODEL_FACTORS[settings.factors.portfolios]
    firsts = _firsts(returns, factors)
    first, begin = firsts.min(), firsts.max()
    risk = rows(lake, PORTFOLIO_RISK, scope)
    # Of former days the factors alone: holdings grow with the market.
    shown = f"component = 'factor' OR as_of = timestamp'{as_of:%Y-%m-%d %H:%M:%S}'"
    parts = rows(lake, RISK_CONTRIBUTIONS, f"{scope} AND ({shown})")
    by = ["portfolio", "weights_interval", "as_of"]
    return FactorResults(
        market=settings.archive.market,
        interval=interval,
        buckets=statistics["buckets"].iloc[0],
        portfolios=settings.factors.portfolios,
        window=settings.factors.window,
        first=first,
        begin=begin,
        as_of=as_of,
        statistics=statistics,
        correlations=newest(lake, FACTOR_CORRELATIONS, scope),
        growth=_growth(
            returns.where(F.col("open_time") >= F.lit(begin.to_pydatetime())),
            factors,
            _point(interval, spacing(as_of - begin, interval)),
        ),
        exposures=_exposures(lake, settings, scope),
        risk=risk.sort_values(by, ignore_index=True),
        contributions=parts.sort_values([*by, "component"], ignore_index=True, kind="stable"),
    )


def runs_of_factors(lake: Lake, settings: Settings) -> pd.DataFrame:
    """The newest run of each task of the model that changed a table, as `runs_of` gives runs."""
    of_model = f"{equals(scope_of(settings))} AND {is_in('task', FACTOR_TASKS)}"
    runs = rows(lake, TASK_RUNS, f"{of_model} AND status = 'succeeded'").sort_values("started_at")
    last = runs.drop_duplicates("task", keep="last").set_index("task", drop=False)
    order = [task for task in FACTOR_TASKS if task in last.index]
    return last.reindex(order).assign(mlflow_run_id=None)


def newest(lake: Lake, contract: TableContract, scope: str) -> pd.DataFrame:
    """The rows of a small table's newest `as_of`."""
    found = rows(lake, contract, scope)
    newest_rows: pd.DataFrame = found[found["as_of"] == found["as_of"].max()]
    return newest_rows.reset_index(drop=True)


def spacing(span: pd.Timedelta, interval: Interval) -> int:
    """Microseconds between the points of a series: whole bars, in a part of the day or in days."""
    least, bar = span / MOST_TIMES / pd.Timedelta(1, "us"), interval_micros(interval)
    steps = [interval_micros(each) for each in INTERVALS]
    days = int(np.ceil(least / MICROS_PER_DAY)) * MICROS_PER_DAY
    return next((step for step in steps if step >= least and step % bar == 0), days)


def _firsts(returns: DataFrame, factors: Sequence[str]) -> pd.Series:
    """The first bar at which each factor has a return; NaT of one that never has."""
    with_return = {name: F.when(F.col(name).isNotNull(), F.col("open_time")) for name in factors}
    firsts = returns.agg(*(F.min(bar).alias(name) for name, bar in with_return.items()))
    found: pd.Series = to_pandas(firsts).iloc[0]
    return found


def _growth(returns: DataFrame, factors: Sequence[str], point: Column) -> pd.DataFrame:
    """Log growth of each factor over the bars of each point; NaN where it has no return."""
    thinned = returns.groupBy(point).agg(
        *(F.sum(F.log1p(factor)).alias(factor) for factor in factors)
    )
    return to_pandas(thinned).sort_values("time", ignore_index=True)


def _exposures(lake: Lake, settings: Settings, scope: str) -> pd.DataFrame:
    """Exposures of the coins shown: of the last bar that each has in each step."""
    interval, exposures = settings.factors.interval, lake.read(FACTOR_EXPOSURES).where(scope)
    of_coins = exposures.where(is_in("symbol", _coins(lake, settings, scope)))
    span = to_pandas(of_coins.selectExpr("max(open_time) - min(open_time) AS span"))["span"].iloc[0]
    if pd.isna(span):
        return to_pandas(of_coins.select("symbol", "open_time", *BETAS, "r2").limit(0))
    last = (F.max_by(name, "open_time").alias(name) for name in (*BETAS, "r2"))
    point = _point(interval, spacing(span, interval))
    thinned = of_coins.groupBy("symbol", point).agg(*last)
    return to_pandas(thinned).sort_values(["symbol", "time"], ignore_index=True)


def _coins(lake: Lake, settings: Settings, scope: str) -> tuple[str, ...]:
    """The coins that the settings name, or the most liquid ones of the newest buckets."""
    if settings.report.symbols:
        return settings.report.symbols
    liquid = lake.read(FACTOR_BUCKETS).where(f"{scope} AND factor = 'liquidity'")
    last = liquid.agg(F.max("as_of").alias("as_of"))
    ranked = to_pandas(
        liquid.join(last, on="as_of", how="left_semi")
        .orderBy(F.col("value").desc(), "symbol")
        .select("symbol")
        .limit(LIQUID_COINS)
    )
    return tuple(ranked["symbol"])


def _point(interval: Interval, step: int) -> Column:
    """Open of the last bar of the step that a bar is in; steps are counted from the epoch."""
    last = step - interval_micros(interval)
    micros = f"unix_micros(open_time) div {step} * {step} + {last}"
    return F.timestamp_micros(F.expr(micros)).alias("time")
