"""Log returns of candles, and their layout as a matrix of bars x symbols.

In come closes in time order; out go returns that name the bar at whose close they are known.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def prices(close: FloatArray) -> FloatArray:
    """Closes that are prices; NaN where one is NULL (NaN), infinite or not positive."""
    return np.where(np.isfinite(close) & (close > 0), close, np.nan)


def log_returns(close: FloatArray, segment: IntArray) -> FloatArray:
    """Log return of each bar of one symbol, `ln(close_t / close_{t-1})`.

    Args:
        close: n closes of one symbol in time order.
        segment: n segment numbers; a new one means that the coin came back after a long hole.

    Returns:
        n returns, the return of bar t known at its close. NaN where there is none: at the first
        bar, at the first bar of each segment, and on both sides of a close that is no price.
    """
    price = prices(close)
    returns = np.full(close.shape, np.nan)
    returns[1:] = np.where(segment[1:] == segment[:-1], np.log(price[1:] / price[:-1]), np.nan)
    return returns


def panel_log_returns(close: FloatArray, symbol_index: IntArray, segment: IntArray) -> FloatArray:
    """`log_returns` of many symbols, no return crossing from one to the next.

    Args:
        close: n closes, by symbol and then in time order.
        symbol_index: n codes 0..N-1, ascending.
        segment: n segment numbers of each symbol's own.
    """
    return log_returns(close, symbol_index * (segment.max(initial=0) + 1) + segment)


def returns_matrix(
    symbol_index: IntArray, open_time: IntArray, returns: FloatArray
) -> tuple[IntArray, FloatArray]:
    """Returns in long form as a matrix over the times at which any symbol has a return.

    Args:
        symbol_index: m codes 0..N-1 in symbol order. A symbol without any return still has its
            rows here, all NaN, and so its column.
        open_time: m bar opens in UTC microseconds. Rows come in any order; a symbol has at most
            one row for a time.
        returns: m log returns, NaN where there is none.

    Returns:
        The T sorted open times and the (T, N) matrix, in which a missing return is 0.
    """
    symbols = int(symbol_index.max()) + 1 if symbol_index.size else 0
    present = ~np.isnan(returns)
    times = np.unique(open_time[present])
    matrix = np.zeros((times.size, symbols))
    row = np.searchsorted(times, open_time[present])
    matrix[row, symbol_index[present]] = returns[present]
    return times, matrix
