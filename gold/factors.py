"""Factor returns: the market's, and those of coins sorted by a characteristic.

Matrices are coins x bars (N, T), the coins in symbol order. Sums over coins run in that order, one
coin after the other, so that they are the same to the last bit however many absent coins lie
between.
"""

import numpy as np

from gold.factor_names import BUCKETS
from gold.returns import FloatArray, IntArray


def simple_returns(open_: FloatArray, close: FloatArray) -> FloatArray:
    """Return of each bar, `(close - open) / open`, known at its close.

    Args:
        open_: First prices.
        close: Last prices, of the same shape.

    Returns:
        Returns of that shape; NaN where a price is NULL (NaN), infinite or not positive.
    """
    is_price = np.isfinite(open_) & np.isfinite(close) & (open_ > 0) & (close > 0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.where(is_price, (close - open_) / open_, np.nan)


def mean_over_coins(returns: FloatArray) -> FloatArray:
    """Mean return of each bar over the coins that have it.

    Args:
        returns: (N, T) returns; NaN where a coin has no bar.

    Returns:
        (T,) means; NaN at a bar that no coin has.
    """
    total = np.zeros(returns.shape[1])
    count = np.zeros(returns.shape[1])
    for row in returns:
        has_bar = ~np.isnan(row)
        total += np.where(has_bar, row, 0.0)
        count += has_bar
    with np.errstate(invalid="ignore"):
        return total / count


def bucket_returns(returns: FloatArray, buckets: IntArray) -> FloatArray:
    """Mean return of each bucket of each characteristic.

    Args:
        returns: (N, T) returns; NaN where a coin has no bar: it is left out of that bar's means.
        buckets: (C, N) bucket of each coin by each characteristic, 0 (low) to 2 (high); negative
            for a coin that is in none.

    Returns:
        (C * 3, T) means, low to high of the first characteristic first; NaN at a bar that no coin
        of the bucket has.
    """
    return np.stack(
        [mean_over_coins(returns[row == b]) for row in buckets for b in range(len(BUCKETS))]
    )


def high_minus_low(by_bucket: FloatArray) -> FloatArray:
    """Long-short returns: high less low of each characteristic.

    Args:
        by_bucket: (C * 3, T) as `bucket_returns` gives them.

    Returns:
        (C, T) differences; NaN where one of the two is.
    """
    return by_bucket[len(BUCKETS) - 1 :: len(BUCKETS)] - by_bucket[:: len(BUCKETS)]


def terciles(value: FloatArray) -> IntArray:
    """Sort coins into thirds by rank.

    Of n coins with a value the lowest floor(n / 3) are low, the highest floor(n / 3) high and the
    rest medium, so fewer than three coins are all medium. Equal values rank in symbol order.

    Args:
        value: N values of one characteristic, in symbol order; NaN for a coin without one.

    Returns:
        N buckets 0 (low), 1 (medium) and 2 (high); -1 for a coin without a value.
    """
    buckets = np.where(np.isnan(value), -1, 1)
    ranked = np.argsort(value, kind="stable")[: np.count_nonzero(buckets == 1)]
    third = ranked.size // 3
    buckets[ranked[:third]] = 0
    buckets[ranked[ranked.size - third :]] = 2
    return buckets
