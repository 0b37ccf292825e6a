"""The static index: one determination from the whole history, which it then holds. In-sample."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from gold.contracts import ASSET_METRICS, CORRELATIONS
from gold.decisions import Determination
from gold.eligibility import without_ratio
from gold.returns import FloatArray, IntArray
from gold.smart_index import determine
from gold.statistics import static_scope
from lakehouse.errors import NotEnoughData
from lakehouse.settings import TOO_FEW_RETURNS, RuleSettings
from lakehouse.tasks import TaskContext


def static_determination(
    context: TaskContext, rules: RuleSettings, as_of: datetime
) -> Determination:
    """Determine an index from gold.asset_metrics and gold.correlations over all history.

    Raises:
        NotEnoughData: There are no metrics or no correlations, or no symbol is eligible. An index
            by Sharpe ratio that finds none above 0 is in cash, and that is no error.
    """
    static = static_scope(context, as_of)
    metrics = (
        context.lake.read(ASSET_METRICS)
        .where(static)
        .select("symbol", "returns", "sharpe", "annual_volatility")
        .toArrow()
        .sort_by("symbol")
    )
    if not metrics.num_rows:
        raise NotEnoughData("gold.asset_metrics has no row for this date: run asset_metrics first")
    every_pair = context.lake.read(CORRELATIONS).where(static)
    # Without them no symbol would lose the tournament.
    if metrics.num_rows > 1 and every_pair.isEmpty():
        raise NotEnoughData("gold.correlations has no row for this date: run correlations first")
    pairs = (
        every_pair.where(F.abs("rho") > rules.correlation_threshold)
        .select("symbol_a", "symbol_b", "rho")
        .toArrow()
    )
    return determine_from(metrics, pairs, rules)


def determine_from(metrics: pa.Table, pairs: pa.Table, rules: RuleSettings) -> Determination:
    """Determine an index from statistics of one lookback.

    Args:
        metrics: symbol, returns, sharpe and annual_volatility, by symbol; ratios may be NULL.
        pairs: symbol_a, symbol_b and rho of the pairs with |rho| above the threshold.
        rules: The rulebook, of which exclusions and liquidity are left out.

    Raises:
        NotEnoughData: No symbol is eligible.
    """
    symbols = metrics["symbol"].to_pylist()
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
    if not found.eligible:
        raise NotEnoughData(
            f"no index: none of {len(symbols)} symbols has more than {TOO_FEW_RETURNS} returns "
            "and a volatility; give the lookback more months or the universe more symbols"
        )
    return found


def _numbers(column: pa.ChunkedArray) -> FloatArray:
    """Doubles with NaN for NULL."""
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _indices(pairs: pa.Table, symbols: list[str]) -> IntArray:
    index = {symbol: position for position, symbol in enumerate(symbols)}
    sides = [[index[name] for name in pairs[side].to_pylist()] for side in ("symbol_a", "symbol_b")]
    return np.column_stack([np.asarray(side, dtype=np.int64) for side in sides])
