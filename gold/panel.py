"""Candles of many symbols, as Arrow hands them over, to the matrix of their log returns.

No Spark here: the functions run inside one task of an executor, or in a test.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gold.returns import FloatArray, IntArray, panel_log_returns, returns_matrix

# What `returns_panel` reads of silver.candles; open_us is open_time in microseconds.
PANEL_COLUMNS = ("symbol", "open_us", "close", "segment")


@dataclass(frozen=True)
class ReturnsPanel:
    """Log returns of a market.

    Attributes:
        symbols: N symbols in ascending order, those without a return included.
        times: (T,) open times in UTC microseconds at which any symbol has a return, ascending.
        matrix: (T, N) log returns, each known at its bar's close; a missing return is 0.
    """

    symbols: tuple[str, ...]
    times: IntArray
    matrix: FloatArray


def returns_panel(candles: pa.Table) -> ReturnsPanel:
    """Lay out the log returns of candles, in any order of rows.

    Args:
        candles: `PANEL_COLUMNS`, one row for each symbol and bar, none of them NULL.
    """
    ordered = candles.sort_by([("symbol", "ascending"), ("open_us", "ascending")])
    names = pc.unique(ordered["symbol"])
    codes = np.asarray(pc.index_in(ordered["symbol"], names).to_numpy(), dtype=np.int64)
    segments = np.asarray(ordered["segment"].to_numpy(), dtype=np.int64)
    returns = panel_log_returns(ordered["close"].to_numpy(), codes, segments)
    times, matrix = returns_matrix(codes, ordered["open_us"].to_numpy(), returns)
    return ReturnsPanel(tuple(names.to_pylist()), times, matrix)
