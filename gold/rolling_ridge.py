"""Ridge regression of many coins on the same factors, over the window that ends at each bar.

`b = (X'X + ridge I)^-1 X'y` with a constant in X and the penalty on every coefficient. X is the
same for all coins that have the same bars, so its Gram matrix is summed and factorised once for
each window and shared; a coin is then X'y and two triangular solutions. All windows of a tile are
worked on side by side (`gold.normal_equations`), and the sums come from `gold.rolling_sums`: a
result depends on the bars of its window alone, to the last bit, and not on the block, the tile or
the coins that it was computed with.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from gold.normal_equations import factorise, solve
from gold.returns import BoolArray, FloatArray, IntArray
from gold.rolling_sums import Segments, sums_of_products

# Windows that are worked on side by side, and coins beside each other: what fits the cache.
_TILE: Final = 1440
_COINS: Final = 8

# Normal equations lose twice the digits of the condition number: above this, fewer than 4 are left.
_ILL_CONDITIONED: Final = 1e6

# Share of the sum of squares that is about the mean: below, their difference has few digits left.
_LEAST_SPREAD: Final = 1e-10


@dataclass(frozen=True)
class RollingRidge:
    """Regressions of N coins over the windows that end at T bars.

    A window with fewer than `min_bars` bars of a coin has NaN instead of its numbers, and so has
    one whose coefficients double precision cannot tell (several factors with a return of 1e8 at
    one bar, beside a penalty of 1e-6): its condition number is above 1e6, or NaN too. Its
    columns are scaled, so it does not see a spike of one factor alone: with a return of 1e8 there
    and in the coin it may be 5, and the other coefficients are off by up to 2e-6. In the factor
    model a coin's spike is the market's and its buckets' too, and is seen unless the coin is in
    no bucket that is regressed on.

    Attributes:
        coefficients: (1 + k, N, T): the constant, then the factors in their order.
        r2: (N, T) 1 - residual / total sum of squares about the mean, never above 1. NaN for a coin
            whose returns are equal within the window, or differ by a hundred-thousandth of their
            mean at most.
        adj_r2: (N, T) `1 - (1 - r2)(n - 1) / (n - k - 1)` over n bars; NaN where n <= k + 1.
        residual_variance: (N, T) residual sum of squares / (n - 1); NaN where n is 1.
        bars: (N, T) bars of the window at which the factors and the coin have a return.
        condition_number: (N, T) of the design and its penalty, scaled; see `condition_numbers`.
    """

    coefficients: FloatArray
    r2: FloatArray
    adj_r2: FloatArray
    residual_variance: FloatArray
    bars: IntArray
    condition_number: FloatArray


def rolling_ridge(
    factors: FloatArray,
    returns: FloatArray,
    first_bar: int,
    window: int,
    ridge: float,
    min_bars: int = 1,
) -> RollingRidge:
    """Regress each coin on the factors, over the window that ends at each bar.

    Args:
        factors: (k, M) factor returns at M consecutive bars of the grid; a bar at which one of
            them is not finite is left out for all coins.
        returns: (N, M) returns of the coins, each known at its bar's close; not finite where a
            coin has no bar, which is left out for that coin.
        first_bar: Number of the first bar, counted from the epoch.
        window: Bars of the grid that a window covers.
        ridge: Penalty on the square of every coefficient, the constant's included.
        min_bars: Least bars of a regression.

    Returns:
        Regressions over the T = M - window + 1 windows that lie within the bars; they are known
        at the close of bars window - 1 .. M - 1.

    Raises:
        ValueError: There are fewer bars than a window.
    """
    count, bars = returns.shape
    if bars < window:
        raise ValueError(f"{bars} bars hold no window of {window}")
    ends = bars - window + 1
    result = RollingRidge(
        coefficients=np.empty((len(factors) + 1, count, ends)),
        r2=np.empty((count, ends)),
        adj_r2=np.empty((count, ends)),
        residual_variance=np.empty((count, ends)),
        bars=np.empty((count, ends), dtype=np.int64),
        condition_number=np.empty((count, ends)),
    )
    known = np.isfinite(factors).all(axis=0)
    segments = Segments.of(first_bar, bars, window)
    for present, coins in _coins_by_bars(known & np.isfinite(returns)):
        x, y = factors, returns[coins]
        if not present.all():
            x, y = np.where(present, x, 0), np.where(present, y, 0)
        _fit(result, _Series(present, x, y, segments), coins, ridge, min_bars)
    return result


def _coins_by_bars(present: BoolArray) -> Iterator[tuple[BoolArray, IntArray]]:
    """The coins that share a set of bars: most of a market shares one."""
    groups: dict[bytes, list[int]] = {}
    for coin, row in enumerate(present):
        groups.setdefault(row.tobytes(), []).append(coin)
    for coins in groups.values():
        yield present[coins[0]], np.array(coins, dtype=np.int64)


@dataclass(frozen=True)
class _Series:
    """What is regressed, of coins that have the same bars.

    Attributes:
        present: (M,) the bars that they have.
        x: (k, M) factors, 0 at the bars that they do not have.
        y: (n, M) returns of the coins, 0 at these bars.
        segments: Of the M bars.
    """

    present: BoolArray
    x: FloatArray
    y: FloatArray
    segments: Segments


@dataclass(frozen=True)
class _Tile:
    """Windows whose matrices are factorised side by side.

    Attributes:
        segments: The segments of bars that they reach into.
        inner: Those of the windows within them that are asked for.
        ends: Where these stand among all windows of the result.
    """

    segments: slice
    inner: slice
    ends: slice

    def inner_of(self, values: FloatArray, segments: Segments) -> FloatArray:
        """(…, T) values of the tile's windows in order of time, those asked for."""
        shape = (*values.shape[:-1], -1, segments.steps, segments.strides)
        return segments.joined(values.reshape(shape))[..., self.inner]


def _tiles(segments: Segments) -> Iterator[_Tile]:
    """All windows of a series, a tile at a time."""
    window, ends = segments.window, segments.bars - segments.window + 1
    step = max(1, _TILE // window)
    for first in range(0, segments.count - 1, step):
        last = min(first + step, segments.count - 1)
        # The first window of all ends `window - 1` bars after the first bar.
        start = first * window - segments.lead + 1
        from_, to = max(start, 0), min(start + (last - first) * window, ends)
        if from_ < to:
            inner = slice(from_ - start, to - start)
            yield _Tile(slice(first, last + 1), inner, slice(from_, to))


def _fit(
    result: RollingRidge, series: _Series, coins: IntArray, ridge: float, min_bars: int
) -> None:
    """Regress coins that have the same bars; fills their rows of the result.

    Args:
        result: What is filled.
        series: Of n coins.
        coins: n rows of the result.
        ridge: Penalty.
        min_bars: Least bars of a regression.
    """
    segments, size = series.segments, 1 + len(series.x)
    constant = series.present[None].astype(np.float64)
    entries = np.triu_indices(size)
    for tile in _tiles(segments):
        x = np.concatenate([segments.cut(rows, tile.segments) for rows in (constant, series.x)])
        gram = _window_sums(x, x, entries)
        bars, condition = gram[0].copy(), np.empty(gram.shape[1])
        factorise(gram, ridge, condition)
        condition[bars < min_bars] = np.nan
        # Degrees of freedom about the mean and of the residuals.
        about_mean, free = (np.where(bars > n, bars - n, np.nan) for n in (1, size))
        adjustment = tile.inner_of(about_mean / free, segments)
        unknown = ~(condition < _ILL_CONDITIONED)
        for part in range(0, coins.size, _COINS):
            chosen = slice(part, part + _COINS)
            rows = coins[chosen]
            y = segments.cut(series.y[chosen], tile.segments)
            squares = _window_sums(y, y, (np.arange(rows.size),) * 2)
            pairs = np.indices((size, rows.size)).reshape(2, -1)
            right = _window_sums(x, y, (pairs[0], pairs[1])).reshape(size, rows.size, -1)
            total = squares - right[0] * right[0] / np.maximum(bars, 1)
            total[total <= _LEAST_SPREAD * squares] = np.nan
            explained = np.empty_like(squares)
            solve(gram, ridge, right, explained)
            residual = np.maximum(squares - explained, 0)
            if unknown.any():
                right[..., unknown] = residual[:, unknown] = np.nan
            result.coefficients[:, rows, tile.ends] = tile.inner_of(right, segments)
            with np.errstate(invalid="ignore", divide="ignore"):
                r2 = tile.inner_of(1 - residual / total, segments)
            variance = tile.inner_of(residual / about_mean, segments)
            result.r2[rows, tile.ends] = r2
            result.adj_r2[rows, tile.ends] = 1 - (1 - r2) * adjustment
            result.residual_variance[rows, tile.ends] = variance
        result.bars[coins, tile.ends] = tile.inner_of(bars, segments)
        result.condition_number[coins, tile.ends] = tile.inner_of(condition, segments)


def _window_sums(x: FloatArray, y: FloatArray, pairs: tuple[IntArray, IntArray]) -> FloatArray:
    """(p, T) sums over a tile's windows of products of p pairs of rows.

    Args:
        x: (k, s + 1, steps, strides) values.
        y: (n, s + 1, steps, strides) values.
        pairs: Rows of x and of y.
    """
    sums = np.empty((pairs[0].size, x.shape[1] - 1, *x.shape[2:]))
    sums_of_products(x, y, *pairs, sums)
    return sums.reshape(pairs[0].size, -1)
