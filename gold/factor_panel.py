"""Candles of a block of bars, as Arrow hands them over, as matrices of coins x bars.

No Spark here: the functions run inside one task of an executor, or in a test. Bars are numbered
from the epoch, bar 0 opening at 1970-01-01T00:00Z.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gold.factors import simple_returns
from gold.returns import FloatArray, IntArray


@dataclass(frozen=True)
class FactorPanel:
    """Candles of a block.

    Attributes:
        symbols: N symbols in ascending order.
        first_bar: Number of the first bar.
        returns: (N, T) simple returns, each known at its bar's close; NaN where a coin has none.
        others: Columns that were asked for besides, (N, T) each; NaN where a coin has no bar.
    """

    symbols: tuple[str, ...]
    first_bar: int
    returns: FloatArray
    others: Mapping[str, FloatArray]


def factor_panel(candles: pa.Table, first_bar: int, bars: int, *others: str) -> FactorPanel:
    """Lay out candles, in any order of rows.

    Args:
        candles: Columns symbol, bar, open, close and the others; one row for each symbol and bar.
        first_bar: Number of the panel's first bar.
        bars: Bars of the panel; a candle outside is left out.
        others: Columns that are laid out besides the returns.
    """
    candles = _inside(candles, first_bar, bars)
    symbols = pc.unique(candles["symbol"]).sort()
    coins = pc.index_in(candles["symbol"], symbols).to_numpy().astype(np.int64)
    columns = candles["bar"].to_numpy() - first_bar
    returns = simple_returns(candles["open"].to_numpy(), candles["close"].to_numpy())
    shape = (len(symbols), bars)
    return FactorPanel(
        symbols=tuple(symbols.to_pylist()),
        first_bar=first_bar,
        returns=_laid_out(returns, coins, columns, shape),
        others={
            name: _laid_out(candles[name].to_numpy().astype(np.float64), coins, columns, shape)
            for name in others
        },
    )


def by_bar(rows: pa.Table, names: tuple[str, ...], first_bar: int, bars: int) -> FloatArray:
    """(k, T) columns of a table by its column bar; NaN where it has no row or NULL.

    As of candles, a row outside of the T bars is left out.
    """
    rows = _inside(rows, first_bar, bars)
    columns = rows["bar"].to_numpy() - first_bar
    series = np.full((len(names), bars), np.nan)
    for row, name in enumerate(names):
        series[row, columns] = rows[name].to_numpy()
    return series


def _inside(rows: pa.Table, first_bar: int, bars: int) -> pa.Table:
    """The rows of these bars."""
    bar = rows["bar"]
    return rows.filter(pc.and_(pc.greater_equal(bar, first_bar), pc.less(bar, first_bar + bars)))


def _laid_out(
    values: FloatArray, coins: IntArray, columns: IntArray, shape: tuple[int, int]
) -> FloatArray:
    matrix = np.full(shape, np.nan)
    matrix[coins, columns] = values
    return matrix
