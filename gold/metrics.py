"""Risk and return of one symbol over a lookback.

Every sum here runs over the candles of one symbol alone, in time order, so its numbers are the
same to the last bit whichever other symbols are computed beside it.
"""

import math
from dataclasses import dataclass

import numpy as np

from gold.ratios import deviation
from gold.returns import FloatArray, IntArray, log_returns, prices
from lakehouse.intervals import MICROS_PER_DAY, Interval, bars_per_year
from lakehouse.settings import TOO_FEW_RETURNS


@dataclass(frozen=True)
class AssetMetrics:
    """What one symbol did over a lookback; None where a figure is undefined.

    Attributes:
        bars: Candles of the lookback, filled ones included.
        returns: Log returns of the lookback: bars less one for each segment.
        annual_return: `sum(r) * bars_per_year / n` as a fraction (0.5 is 50 % a year), None with
            50 returns or fewer.
        annual_volatility: `std(r) * sqrt(bars_per_year)` with ddof 1, None with 50 returns or
            fewer, exactly 0 when all returns are equal.
        sharpe: `annual_return / annual_volatility` at a risk-free rate of 0, None also when the
            volatility is 0.
        max_drawdown: Lowest `close / highest close so far - 1` of any segment, <= 0, None
            without a close.
        median_daily_quote_volume: Median over the UTC days that have bars of the quote volume
            traded in the day, None without a bar or where a volume is missing.
    """

    bars: int
    returns: int
    annual_return: float | None
    annual_volatility: float | None
    sharpe: float | None
    max_drawdown: float | None
    median_daily_quote_volume: float | None


@dataclass(frozen=True)
class RiskAndReturn:
    """Annualised mean and deviation of log returns; see `AssetMetrics` for each figure."""

    returns: int
    annual_return: float | None
    annual_volatility: float | None
    sharpe: float | None


def risk_and_return(returns: FloatArray, interval: Interval) -> RiskAndReturn:
    """Annual return, volatility and Sharpe ratio of one symbol.

    Args:
        returns: n log returns in time order, NaN where there is none.
        interval: Length of a bar.
    """
    returns = returns[~np.isnan(returns)]
    if returns.size <= TOO_FEW_RETURNS:
        return RiskAndReturn(returns.size, None, None, None)
    annual_return = float(returns.sum()) * bars_per_year(interval) / returns.size
    annual_volatility = deviation(returns) * math.sqrt(bars_per_year(interval))
    sharpe = annual_return / annual_volatility if annual_volatility else None
    return RiskAndReturn(returns.size, annual_return, annual_volatility, sharpe)


def asset_metrics(
    open_time: IntArray,
    close: FloatArray,
    segment: IntArray,
    quote_volume: FloatArray,
    interval: Interval,
) -> AssetMetrics:
    """Metrics of one symbol from its candles of the lookback.

    Args:
        open_time: n bar opens in UTC microseconds, ascending.
        close: n closes; one that is NaN, infinite or not positive makes no return.
        segment: n segment numbers; no return and no drawdown crosses a change.
        quote_volume: n quote volumes, 0 in filled bars.
        interval: Length of a bar.

    Returns:
        The figures, known at the close of the last bar.
    """
    ratios = risk_and_return(log_returns(close, segment), interval)
    return AssetMetrics(
        bars=close.size,
        returns=ratios.returns,
        annual_return=ratios.annual_return,
        annual_volatility=ratios.annual_volatility,
        sharpe=ratios.sharpe,
        max_drawdown=max_drawdown(close, segment),
        median_daily_quote_volume=median_daily_quote_volume(open_time, quote_volume),
    )


def max_drawdown(close: FloatArray, segment: IntArray) -> float | None:
    """Deepest fall from the highest close so far, as a fraction <= 0.

    Each segment starts afresh, because after a long hole a coin can come back as another coin.

    Args:
        close: n closes in time order; one that is no price is passed over.
        segment: n segment numbers.

    Returns:
        The lowest `close / peak - 1`; None when there is no close.
    """
    starts = np.flatnonzero(segment[1:] != segment[:-1]) + 1
    falls = [part / np.fmax.accumulate(part) - 1 for part in np.split(prices(close), starts)]
    return _defined(np.fmin.reduce(np.concatenate(falls), initial=np.nan))


def median_daily_quote_volume(open_time: IntArray, quote_volume: FloatArray) -> float | None:
    """Median over UTC days that have bars of the quote volume summed over the day.

    Args:
        open_time: n bar opens in UTC microseconds, ascending.
        quote_volume: n quote volumes. A day that holds filled bars alone counts, with 0.

    Returns:
        The median in quote currency; None without a bar or when a volume is NaN.
    """
    if not open_time.size:
        return None
    day = open_time // MICROS_PER_DAY
    first_bars = np.flatnonzero(np.append(True, day[1:] != day[:-1]))
    return _defined(np.median(np.add.reduceat(quote_volume, first_bars)))


def _defined(value: np.float64) -> float | None:
    """The number, or None for a NaN."""
    return None if np.isnan(value) else float(value)
