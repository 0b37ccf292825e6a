"""Features and target of the GBT: what one symbol's closes tell at each bar's close.

Plain numpy. Rolling sums add shifted slices in a fixed order, so that a window's value depends on
its own bars alone, bit for bit, however many bars stand around it.
"""

from dataclasses import dataclass

import numpy as np

from gold.returns import FloatArray, IntArray, log_returns

FEATURE_NAMES = ("ret_lag1", "ret_lag2", "ret_lag3", "ma_ratio", "volatility_7")
TARGET = "target"
LABEL_BARS = 1
"""Bars by which the target reaches past the bar of its row: what a split must purge."""

_SHORT_WINDOW = 7
_LONG_WINDOW = 30


@dataclass(frozen=True)
class GbtFeatures:
    """Features and target of one symbol, one value for each bar; NaN where none is defined.

    Attributes:
        ret_lag1: Log return of the bar itself, the last one known at its close.
        ret_lag2: Log return of the bar before.
        ret_lag3: Log return two bars before.
        ma_ratio: Mean of the last 7 closes over the mean of the last 30.
        volatility_7: Sample standard deviation of the last 7 log returns, not annualised.
        target: Log return of the next bar, which no feature of the row has seen.
    """

    ret_lag1: FloatArray
    ret_lag2: FloatArray
    ret_lag3: FloatArray
    ma_ratio: FloatArray
    volatility_7: FloatArray
    target: FloatArray


def gbt_features(close: FloatArray, segment: IntArray) -> GbtFeatures:
    """Build the features and the target of one symbol.

    Everything stamped with bar t is known at t's close, but for the target. Windows end at t and
    stay inside t's segment.

    Args:
        close: Closes in time order, positive, shape (bars,).
        segment: Number of the unbroken stretch that each bar belongs to, shape (bars,).

    Returns:
        Arrays of shape (bars,); NaN where the segment does not yet fill a feature's window, and
        for the target at a segment's last bar.
    """
    returns = log_returns(close, segment)
    short = rolling_sum(close, _SHORT_WINDOW) / _SHORT_WINDOW
    long = rolling_sum(close, _LONG_WINDOW) / _LONG_WINDOW
    # A return into a segment's first bar is NaN, so a window of returns that crosses a break is
    # NaN by itself; a lag and a window of closes jump over that bar and must be told.
    age = bars_in_segment(segment)
    return GbtFeatures(
        ret_lag1=returns,
        ret_lag2=_lagged(returns, 1, age),
        ret_lag3=_lagged(returns, 2, age),
        ma_ratio=np.where(age >= _LONG_WINDOW, short / long, np.nan),
        volatility_7=_rolling_std(returns, _SHORT_WINDOW),
        target=_next_return(returns),
    )


def rolling_sum(values: FloatArray, window: int) -> FloatArray:
    """Sum the last `window` values at each bar; NaN before the first full window.

    A cumulative sum would be faster, but its rounding at a bar would depend on all bars before.
    """
    sums = np.full(values.shape, np.nan)
    full = values.size - window + 1
    if full > 0:
        total = values[:full].copy()
        for offset in range(1, window):
            total += values[offset : offset + full]
        sums[window - 1 :] = total
    return sums


def bars_in_segment(segment: IntArray) -> IntArray:
    """Count the bars of the segment up to and with each bar: 1 at a segment's first."""
    position = np.arange(segment.size)
    starts = np.diff(segment, prepend=segment[:1]) != 0
    return position - np.maximum.accumulate(np.where(starts, position, 0)) + 1


def _rolling_std(values: FloatArray, window: int) -> FloatArray:
    """Sample standard deviation of the last `window` values, in two passes; NaN spreads."""
    full = values.size - window + 1
    deviations = np.full(values.shape, np.nan)
    if full > 0:
        mean = rolling_sum(values, window)[window - 1 :] / window
        squares = np.zeros(full)
        for offset in range(window):
            squares += (values[offset : offset + full] - mean) ** 2
        deviations[window - 1 :] = np.sqrt(squares / (window - 1))
    return deviations


def _lagged(returns: FloatArray, lag: int, age: IntArray) -> FloatArray:
    """Move the returns `lag` bars on; NaN where the bar they come from is in another segment."""
    moved = np.full(returns.shape, np.nan)
    moved[lag:] = returns[:-lag]
    return np.where(age > lag, moved, np.nan)


def _next_return(returns: FloatArray) -> FloatArray:
    """Move the returns one bar back, so that each bar shows the next; NaN at the end."""
    following = np.full(returns.shape, np.nan)
    following[:-1] = returns[1:]
    return following
