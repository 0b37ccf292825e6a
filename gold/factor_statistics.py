"""What the factors earned and how they move together: statistics of series of factor returns.

Conventions. Returns are simple ones, bar by bar, in time order; the risk-free rate is 0; standard
deviations are sample ones (ddof 1). A year has `bars_per_year` bars, 365 days of them. A factor is
measured over the bars at which it has a return: NaN is left out.

The coins are sorted into three buckets by each characteristic. The spread of a sort, high less
low, is measured like a factor. Whether the buckets' mean returns rise or fall from low to high is
told by Spearman's rank correlation of their order with their means, over the bars at which all
three have a return: 1 when they rise, -1 when they fall, between when the middle is out of line.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gold.correlation import correlation_matrix
from gold.factor_names import BUCKETS, CHARACTERISTICS, LONG_SHORT_FACTORS
from gold.factor_risk import complete_bars
from gold.ratios import deviation, ratio, sharpe_ratio
from gold.returns import FloatArray


@dataclass(frozen=True)
class FactorStatistics:
    """Statistics of one factor; NaN where one is undefined (fewer than two bars, no variance).

    Attributes:
        factor: Its name; that of a long-short factor for the spread of a sort.
        bars: Bars at which it has a return.
        annual_return: Mean return x bars in a year.
        annual_volatility: Standard deviation x square root of the bars in a year.
        sharpe: `annual_return / annual_volatility`.
        newey_west_t: t statistic of the mean, robust to heteroskedasticity and autocorrelation.
        newey_west_lags: Lags that it allows for.
        monotonicity: Of a spread, Spearman's correlation of bucket order with mean return.
    """

    factor: str
    bars: int
    annual_return: float
    annual_volatility: float
    sharpe: float
    newey_west_t: float
    newey_west_lags: int
    monotonicity: float


def factor_statistics(
    factors: Sequence[str], returns: FloatArray, bars_per_year: float
) -> Iterator[FactorStatistics]:
    """Statistics of each factor, then of the spread of each sort that has its buckets.

    Args:
        factors: K names of `gold.factor_names`: the market's and the buckets'.
        returns: (T, K) simple returns in time order, NaN where a factor has none.
        bars_per_year: Bars in 365 days.
    """
    series = {name: np.ascontiguousarray(returns[:, k]) for k, name in enumerate(factors)}
    for name, values in series.items():
        yield _measured(name, values, bars_per_year)
    for characteristic, spread in zip(CHARACTERISTICS, LONG_SHORT_FACTORS, strict=True):
        buckets = [f"{characteristic}_{bucket}" for bucket in BUCKETS]
        if series.keys() >= set(buckets):
            low, _, high = sorts = [series[bucket] for bucket in buckets]
            # Means of the same bars alone can be compared; the spread itself needs no middle.
            common = complete_bars(np.column_stack(sorts))
            order = order_correlation(common.mean(axis=0)) if len(common) else math.nan
            yield _measured(spread, high - low, bars_per_year, order)


def factor_correlations(returns: FloatArray) -> FloatArray:
    """Pearson correlations of (T, K) factor returns, over the bars at which every factor has one.

    Returns:
        (K, K); row and column of a factor that never moves are NaN, and all with fewer than two
        bars.
    """
    return correlation_matrix(complete_bars(returns))


def newey_west_lags(bars: int) -> int:
    """Lags by the rule of Newey and West, `floor(4 (n / 100)^(2/9))`: 26 for a year of minutes.

    Source: Newey and West, "Automatic lag selection in covariance matrix estimation", Review of
    Economic Studies 61 (1994).
    """
    return math.floor(4 * math.pow(bars / 100, 2 / 9))


def newey_west_t(returns: FloatArray, lags: int) -> float:
    """Test statistic t of a mean, by a heteroskedasticity and autocorrelation consistent error.

    The variance of the mean is `(g_0 + 2 sum over l of (1 - l / (lags + 1)) g_l) / n`, with `g_l`
    the autocovariance at lag l about the mean, divided by n; no small-sample correction. Source:
    Newey and West, "A simple, positive semi-definite, heteroskedasticity and autocorrelation
    consistent covariance matrix", Econometrica 55 (1987).

    Lags count returns, not time: where bars without a return were left out, those on both sides are
    neighbours.

    Args:
        returns: n returns in time order, all finite.
        lags: Lags with a weight above 0; 0 allows for heteroskedasticity alone.

    Returns:
        The statistic; NaN below two returns or without variance.
    """
    if not deviation(returns) > 0:
        return math.nan
    n = returns.size
    mean = float(returns.mean())
    centred = returns - mean
    long_run = float((centred * centred).sum())
    for lag in range(1, min(lags, n - 1) + 1):
        weight = 1 - lag / (lags + 1)
        long_run += 2 * weight * float((centred[lag:] * centred[:-lag]).sum())
    # Bartlett's weights keep it from being negative but for a rounding.
    return ratio(mean * n, math.sqrt(max(long_run, 0.0)))


def order_correlation(values: FloatArray) -> float:
    """Spearman's rank correlation of values with their order; equal ones share their mean rank.

    Returns:
        From -1 to 1; NaN when all values are equal.
    """
    below = (values[:, None] > values).sum(axis=1)
    equal = (values[:, None] == values).sum(axis=1)
    ranks = below + (equal + 1) / 2
    order, ranks = (each - (values.size + 1) / 2 for each in (np.arange(values.size) + 1, ranks))
    spread = math.sqrt(float((order * order).sum() * (ranks * ranks).sum()))
    return ratio(float((order * ranks).sum()), spread)


def _measured(
    factor: str, values: FloatArray, bars_per_year: float, monotonicity: float = math.nan
) -> FactorStatistics:
    """Statistics of one series, over its finite values."""
    returns = values[np.isfinite(values)]
    lags = newey_west_lags(returns.size)
    mean = float(returns.mean()) if returns.size else math.nan
    return FactorStatistics(
        factor=factor,
        bars=returns.size,
        annual_return=mean * bars_per_year,
        annual_volatility=deviation(returns) * math.sqrt(bars_per_year),
        sharpe=sharpe_ratio(returns, bars_per_year) if returns.size else math.nan,
        newey_west_t=newey_west_t(returns, lags),
        newey_west_lags=lags,
        monotonicity=monotonicity,
    )
