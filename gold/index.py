"""The task `smart_index`: metrics and correlations -> weights and a decision for every symbol."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from gold.contracts import ASSET_METRICS, CORRELATIONS, INDEX_DECISIONS, INDEX_WEIGHTS
from gold.eligibility import without_ratio
from gold.metrics import TOO_FEW_RETURNS
from gold.rulebook import STATIC_INDEX
from gold.smart_index import determine
from gold.statistics import last_close, static_scope, timestamp_sql
from lakehouse.errors import NotEnoughData
from lakehouse.sql import equals
from lakehouse.tasks import TaskContext, TaskOutcome


def run_smart_index(context: TaskContext) -> TaskOutcome:
    """Determine the static index: in-sample, over all history, at one date.

    Raises:
        NotEnoughData: There are no metrics or no correlations, or no symbol is eligible.
    """
    as_of = last_close(context)
    static = static_scope(context, as_of)
    rules = context.settings.index
    metrics = (
        context.lake.read(ASSET_METRICS)
        .where(static)
        .select("symbol", "returns", "sharpe", "annual_volatility")
        .toArrow()
        .sort_by("symbol")
    )
    if not metrics.num_rows:
        raise NotEnoughData("gold.asset_metrics has no row for this date: run asset_metrics first")
    symbols = metrics["symbol"].to_pylist()
    every_pair = context.lake.read(CORRELATIONS).where(static)
    # Without them no symbol would lose the tournament.
    if len(symbols) > 1 and every_pair.isEmpty():
        raise NotEnoughData("gold.correlations has no row for this date: run correlations first")
    pairs = (
        every_pair.where(F.abs("rho") > rules.correlation_threshold)
        .select("symbol_a", "symbol_b", "rho")
        .toArrow()
    )
    sharpe, volatility = (_numbers(metrics[name]) for name in ("sharpe", "annual_volatility"))
    found = determine(
        symbols,
        without_ratio(symbols, metrics["returns"].to_numpy(), sharpe, volatility),
        sharpe,
        volatility,
        _indices(pairs, symbols),
        _numbers(pairs["rho"]),
        rules,
    )
    if not found.holdings:
        raise NotEnoughData(
            f"no index: none of {len(symbols)} symbols has more than {TOO_FEW_RETURNS} returns "
            "and a volatility; give the lookback more months or the universe more symbols"
        )
    stamp = {
        "index_name": STATIC_INDEX,
        **context.settings.scope,
        "as_of": as_of,
        "run_id": context.run_id,
    }
    named = equals({"index_name": STATIC_INDEX, **context.settings.scope})
    where = f"{named} AND as_of = {timestamp_sql(as_of)}"
    for contract, rows in ((INDEX_WEIGHTS, found.holdings), (INDEX_DECISIONS, found.decisions)):
        frame = context.lake.frame(contract, [{**stamp, **asdict(row)} for row in rows])
        context.lake.replace(contract, frame, where)
    members = ", ".join(f"{row.symbol} {row.weight:.1%}" for row in found.holdings)
    dropped = sum(row.decision == "dropped" for row in found.decisions)
    return TaskOutcome(
        f"{len(found.holdings)} members of {len(symbols):,} symbols, {dropped:,} dropped by "
        "correlation (in-sample)",
        {f"{STATIC_INDEX} (in-sample)": members},
    )


def _numbers(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Doubles with NaN for NULL."""
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _indices(pairs: pa.Table, symbols: list[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
    index = {symbol: position for position, symbol in enumerate(symbols)}
    sides = [[index[name] for name in pairs[side].to_pylist()] for side in ("symbol_a", "symbol_b")]
    return np.column_stack([np.asarray(side, dtype=np.int64) for side in sides])
