"""The tasks `asset_metrics` and `correlations`: silver.candles -> statistics over all history.

Static statistics: they use every bar there is and carry the close of the last one as `as_of`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from gold.contracts import ASSET_METRICS, CORRELATIONS
from gold.correlation import correlation_matrix
from gold.metrics import AssetMetrics, asset_metrics
from gold.panel import PANEL_COLUMNS, returns_panel
from lakehouse.errors import NotEnoughData
from lakehouse.intervals import Interval, instant, interval_micros
from lakehouse.sql import equals
from lakehouse.tasks import TaskContext, TaskOutcome
from silver.contracts import CANDLES, LISTINGS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_METRICS_SCHEMA = pa.schema(
    [
        ("symbol", pa.string()),
        ("bars", pa.int64()),
        ("returns", pa.int64()),
        ("annual_return", pa.float64()),
        ("annual_volatility", pa.float64()),
        ("sharpe", pa.float64()),
        ("max_drawdown", pa.float64()),
        ("median_daily_quote_volume", pa.float64()),
    ]
)
_METRICS_DDL = (
    "symbol string, bars bigint, returns bigint, annual_return double, annual_volatility double, "
    "sharpe double, max_drawdown double, median_daily_quote_volume double"
)
_CORRELATIONS_DDL = "symbol_a string, symbol_b string, rho double"


def run_asset_metrics(context: TaskContext) -> TaskOutcome:
    """Write gold.asset_metrics over all history.

    Raises:
        NotEnoughData: There are no candles.
    """
    as_of = last_close(context)
    interval = context.settings.archive.interval
    candles = scoped_candles(context).select(
        "symbol", "open_us", "close", "segment", "quote_volume"
    )
    metrics = candles.groupBy("symbol").applyInArrow(_metrics_of(interval), _METRICS_DDL)
    context.lake.replace(
        ASSET_METRICS, _stamped(context, metrics, as_of), static_scope(context, as_of)
    )
    written = context.lake.read_own(ASSET_METRICS).where(static_scope(context, as_of))
    counted = written.agg(F.count("*"), F.count("sharpe"), F.median("sharpe")).collect()[0]
    median = "none" if counted[2] is None else f"{counted[2]:.2f}"
    return TaskOutcome(
        f"{counted[0]:,} symbols, {counted[1]:,} with a Sharpe ratio, as of {as_of:%Y-%m-%d %H:%M}",
        {"symbols": f"{counted[0]:,}", "median Sharpe": f"{median} (in-sample)"},
    )


def run_correlations(context: TaskContext) -> TaskOutcome:
    """Write gold.correlations over all history, all pairs of symbols.

    The matrix is computed in one task of an executor: its result must not depend on how the rows
    were distributed.

    Raises:
        NotEnoughData: There are no candles.
    """
    as_of = last_close(context)
    pairs = (
        scoped_candles(context)
        .select("market", *PANEL_COLUMNS)
        .groupBy("market")
        .applyInArrow(_correlations_of, _CORRELATIONS_DDL)
    )
    context.lake.replace(
        CORRELATIONS, _stamped(context, pairs, as_of), static_scope(context, as_of)
    )
    written = context.lake.read_own(CORRELATIONS).where(static_scope(context, as_of))
    threshold = context.settings.index.correlation_threshold
    counted = written.agg(
        F.count("*"), F.count_if(F.abs("rho") > threshold), F.median("rho")
    ).collect()[0]
    figures = {} if counted[2] is None else {"median correlation": f"{counted[2]:.2f}"}
    return TaskOutcome(f"{counted[0]:,} pairs, {counted[1]:,} with |rho| > {threshold:g}", figures)


def scoped_candles(context: TaskContext) -> DataFrame:
    """silver.candles of the run's market and interval, with open_us in microseconds."""
    scope = context.settings.scope
    return (
        context.lake.read(CANDLES)
        .where(equals(scope))
        .withColumn("open_us", F.unix_micros("open_time"))
    )


def last_close(context: TaskContext) -> datetime:
    """Close of the market's last published bar, UTC: the `as_of` of static results.

    Raises:
        NotEnoughData: There are no candles.
    """
    last = (
        context.lake.read(LISTINGS)
        .where(equals(context.settings.scope))
        .agg(F.unix_micros(F.max("last_open_time")))
        .collect()[0][0]
    )
    if last is None:
        raise no_candles(context)
    return instant(last + interval_micros(context.settings.archive.interval))


def no_candles(context: TaskContext) -> NotEnoughData:
    """What to raise when silver has nothing of the run's market and interval."""
    scope = context.settings.scope
    return NotEnoughData(
        f"silver holds no {scope['interval']} candles of market {scope['market']}: run the "
        "tasks ingest_archive and clean_candles first"
    )


def timestamp_sql(at: datetime) -> str:
    """A UTC instant as a SQL literal; sessions run in UTC."""
    return f"TIMESTAMP '{at:%Y-%m-%d %H:%M:%S}'"


def static_scope(context: TaskContext, as_of: datetime) -> str:
    """Rows of the static results at one date, as a SQL condition."""
    scope = equals(context.settings.scope)
    return f"{scope} AND as_of = {timestamp_sql(as_of)} AND lookback_days IS NULL"


def _stamped(context: TaskContext, frame: DataFrame, as_of: datetime) -> DataFrame:
    scope = context.settings.scope
    return frame.withColumns(
        {
            "market": F.lit(scope["market"]),
            "interval": F.lit(scope["interval"]),
            "as_of": F.expr(timestamp_sql(as_of)),
            "lookback_days": F.lit(None).cast("int"),
            "run_id": F.lit(context.run_id),
        }
    )


def _metrics_of(interval: Interval) -> Callable[[pa.Table], pa.Table]:
    def of_symbol(candles: pa.Table) -> pa.Table:
        ordered = candles.sort_by("open_us")
        metrics: AssetMetrics = asset_metrics(
            ordered["open_us"].to_numpy(),
            ordered["close"].to_numpy(),
            ordered["segment"].to_numpy(),
            ordered["quote_volume"].to_numpy(),
            interval,
        )
        row = {"symbol": ordered["symbol"][0].as_py(), **asdict(metrics)}
        return pa.Table.from_pylist([row], _METRICS_SCHEMA)

    return of_symbol


def _correlations_of(candles: pa.Table) -> pa.Table:
    panel = returns_panel(candles)
    rho = correlation_matrix(panel.matrix)
    first, second = np.triu_indices(len(panel.symbols), k=1)
    symbols = pa.array(panel.symbols, pa.string())
    values = rho[first, second]
    return pa.table(
        {
            "symbol_a": symbols.take(pa.array(first)),
            "symbol_b": symbols.take(pa.array(second)),
            "rho": pa.array(values, mask=np.isnan(values)),
        }
    )
