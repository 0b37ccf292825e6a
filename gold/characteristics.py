"""What coins are sorted by: liquidity, volatility and momentum, from sums over each day.

A day of a coin is one vector of sums (`DAY_SUMS`), which add up over days. So a lookback of any
length costs one addition for each day, and the lookbacks of a run share the sums of a day.
"""

from typing import Final

import numpy as np

from gold.returns import FloatArray
from gold.rolling_sums import rolling_sum

# Over the bars of one coin and day: bars, trades, coin and market returns, their products, and
# the sum and number of the momentum scores.
DAY_SUMS: Final = (
    "bars",
    "trades",
    "coin",
    "market",
    "coin_market",
    "coin_coin",
    "score",
    "scores",
)

# Bars over which momentum adds up returns.
MOMENTUM_WINDOWS: Final = (60, 120, 180, 360, 720)


def momentum_scores(returns: FloatArray, first_bar: int) -> FloatArray:
    """Sum of a coin's rolling return sums over 60, 120, 180, 360 and 720 bars, at each bar.

    Args:
        returns: (N, T) simple returns at consecutive bars; NaN where a coin has no bar.
        first_bar: Number of the first bar, counted from the epoch.

    Returns:
        (N, T) scores, known at each bar's close; NaN unless the coin has all of the last 720 bars.
    """
    present = ~np.isnan(returns)
    longest = max(MOMENTUM_WINDOWS)
    whole = rolling_sum(present.astype(np.float64), longest, first_bar) == longest
    filled = np.where(present, returns, 0.0)
    score = np.zeros_like(returns)
    for window in MOMENTUM_WINDOWS:
        score += rolling_sum(filled, window, first_bar)
    return np.where(whole, score, np.nan)


def day_sums(
    returns: FloatArray, trades: FloatArray, market: FloatArray, scores: FloatArray
) -> FloatArray:
    """Sums over the bars of one day, for each coin.

    Args:
        returns: (N, T) simple returns of the day's bars; NaN where a coin has no bar.
        trades: (N, T) numbers of trades.
        market: (T,) market returns.
        scores: (N, T) `momentum_scores`.

    Returns:
        (N, 8) sums in the order of `DAY_SUMS`.
    """
    present = ~np.isnan(returns)
    coin = np.where(present, returns, 0.0)
    beside = np.where(present, market, 0.0)
    scored = ~np.isnan(scores)
    terms = (
        present,
        np.where(present, trades, 0.0),
        coin,
        beside,
        coin * beside,
        coin * coin,
        np.where(scored, scores, 0.0),
        scored,
    )
    return np.stack([term.sum(axis=1, dtype=np.float64) for term in terms], axis=1)


def characteristics(lookback: FloatArray, last_day: FloatArray) -> FloatArray:
    """Liquidity, volatility and momentum of each coin at the end of a day.

    Liquidity is the mean number of trades of a bar, volatility `cov(coin, market) / var(coin)`
    over the bars that the coin has, momentum the mean score of the last day.

    Args:
        lookback: (N, 8) day sums added up over the days that are looked back on, without momentum
            scores of any meaning.
        last_day: (N, 8) day sums of the last of these days.

    Returns:
        (3, N) values; NaN for a coin without a bar, whose returns do not vary, or which lacks one
        of 720 bars at each bar of the last day.
    """
    bars, trades, coin, market, coin_market, coin_coin = lookback.T[:6]
    with np.errstate(invalid="ignore", divide="ignore"):
        variation = coin_coin - coin * coin / bars
        # What rounding leaves of the sum of n equal squares is no variation.
        varies = variation > bars * np.finfo(np.float64).eps * coin_coin
        volatility = np.where(varies, (coin_market - coin * market / bars) / variation, np.nan)
        return np.stack([trades / bars, volatility, last_day[:, 6] / last_day[:, 7]])
