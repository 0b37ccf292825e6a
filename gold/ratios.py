"""The formulas behind `gold.performance`, each over an array of returns or levels in time order.

NaN stands for a figure that is undefined: too few returns, or nothing to divide by.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Literal

import numpy as np

from gold.returns import FloatArray, IntArray

_EULER_MASCHERONI: Final = 0.5772156649015329
_NORMAL: Final = NormalDist()


@dataclass(frozen=True)
class Drawdown:
    """The deepest fall of a level from its highest one so far.

    Attributes:
        depth: `lowest level / highest level before - 1`, <= 0; 0 when the level never falls.
        peak: Row of the highest level before the fall, the last one of equals.
        trough: Row of the lowest level.
        recovery: First row after it that is at the peak again, None when none is.
    """

    depth: float
    peak: int
    trough: int
    recovery: int | None


def ratio(numerator: float, denominator: float) -> float:
    """The quotient, NaN where there is nothing to divide by."""
    return numerator / denominator if denominator else math.nan


def deviation(returns: FloatArray) -> float:
    """Sample standard deviation (ddof 1), exactly 0 when all values are equal; NaN below two."""
    if returns.size < 2:
        return math.nan
    # The mean of equal values can miss them by a rounding, and the residue would make a ratio.
    return 0.0 if returns.min() == returns.max() else float(returns.std(ddof=1))


def cagr(growth: float, bars: int, bars_per_year: float) -> float:
    """Compound annual growth rate of a value that grew to `growth` times itself in some bars."""
    return float(growth ** (bars_per_year / bars)) - 1


def sharpe_ratio(returns: FloatArray, bars_per_year: float) -> float:
    """`mean(r) / std(r) * sqrt(bars_per_year)`; of active returns it is the information ratio."""
    return ratio(float(returns.mean()), deviation(returns)) * math.sqrt(bars_per_year)


def sortino_ratio(returns: FloatArray, bars_per_year: float) -> float:
    """Mean return over the root mean square of the losses, all bars counted, annualised."""
    downside = math.sqrt(float((np.minimum(returns, 0.0) ** 2).mean()))
    return ratio(float(returns.mean()), downside) * math.sqrt(bars_per_year)


def max_drawdown(level: FloatArray) -> Drawdown:
    """The deepest fall of levels above 0; the first of equals."""
    highest = np.maximum.accumulate(level)
    fall = level / highest - 1
    trough = int(fall.argmin())
    before = level[: trough + 1]
    peak = trough - int(before[::-1].argmax())
    back = np.flatnonzero(level[trough:] >= level[peak])
    recovery = trough + int(back[0]) if back.size else None
    return Drawdown(float(fall[trough]), peak, trough, recovery)


def expected_shortfall(returns: FloatArray, tail: float) -> float:
    """Conditional value at risk: mean of the `floor((n - 1) * tail) + 1` lowest of n returns."""
    worst = int((returns.size - 1) * tail) + 1
    return float(np.sort(returns)[:worst].mean())


def skewness(returns: FloatArray) -> float:
    """Adjusted Fisher-Pearson skewness; NaN below three returns or without variance."""
    n = returns.size
    if n < 3 or not deviation(returns):
        return math.nan
    return _standard_moment(returns, 3) * math.sqrt(n * (n - 1)) / (n - 2)


def kurtosis(returns: FloatArray) -> float:
    """Adjusted excess kurtosis, 0 for a normal distribution; NaN below four or without variance."""
    n = returns.size
    if n < 4 or not deviation(returns):
        return math.nan
    excess = _standard_moment(returns, 4) - 3
    return (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * excess + 6)


def win_rate(returns: FloatArray) -> float:
    """Share of the returns other than 0 that are above 0."""
    return ratio(float((returns > 0).sum()), float((returns != 0).sum()))


def beta(returns: FloatArray, benchmark: FloatArray) -> float:
    """Slope of the regression of returns on a benchmark's; NaN where that has no variance."""
    if not deviation(benchmark) > 0:
        return math.nan
    centred = benchmark - benchmark.mean()
    return float((centred * (returns - returns.mean())).sum() / (centred * centred).sum())


def period_returns(
    open_time: IntArray, level: FloatArray, unit: Literal["D", "M"]
) -> tuple[IntArray, FloatArray]:
    """Returns between the last bars of UTC days or months, the first from the start.

    Args:
        open_time: (T + 1,) bar opens of the levels, UTC microseconds; the first row is the start.
        level: (T + 1,) levels at the bars' closes.
        unit: Days or months.

    Returns:
        The days since 1970-01-01 or months since 1970-01 in which bars open, the start's left out,
        and the return of each.
    """
    period = open_time[1:].astype("datetime64[us]").astype(f"datetime64[{unit}]")
    last = np.flatnonzero(np.append(period[1:] != period[:-1], True))
    ends = np.append(level[0], level[1:][last])
    return period[last].astype(np.int64), ends[1:] / ends[:-1] - 1


def probabilistic_sharpe(
    sharpe: float, threshold: float, bars: int, skewness: float, excess_kurtosis: float
) -> float:
    """Probability that the true Sharpe ratio is above a threshold.

    Skewed returns with fat tails make an estimate less certain. Formula: Bailey and López de Prado,
    "The Sharpe ratio efficient frontier", Journal of Risk 15 (2012).

    Args:
        sharpe: The estimate, of one bar, not annualised.
        threshold: Likewise.
        bars: Returns that it was estimated from.
        skewness: Of these returns.
        excess_kurtosis: Of these returns, 0 for a normal distribution.

    Returns:
        The probability; NaN where a figure is NaN.
    """
    variance = 1 - skewness * sharpe + (excess_kurtosis + 2) / 4 * sharpe**2
    if not variance > 0 or math.isnan(threshold):
        return math.nan
    return _NORMAL.cdf((sharpe - threshold) * math.sqrt((bars - 1) / variance))


def expected_best_sharpe(trials: int, variance: float) -> float:
    """Sharpe ratio that the best of independent trials without skill is expected to show.

    Formula: Bailey and López de Prado, "The deflated Sharpe ratio", Journal of Portfolio
    Management 40 (2014). The deflated Sharpe ratio is the probability to be above it.

    Args:
        trials: Number of trials; the only one is expected to show 0.
        variance: Variance of the trials' Sharpe ratios.
    """
    if trials == 1:
        return 0.0
    usual = _NORMAL.inv_cdf(1 - 1 / trials)
    rare = _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - _EULER_MASCHERONI) * usual + _EULER_MASCHERONI * rare)


def _standard_moment(returns: FloatArray, order: int) -> float:
    """Central moment over the same power of the standard deviation, both with ddof 0."""
    centred = returns - returns.mean()
    return float((centred**order).mean() / (centred * centred).mean() ** (order / 2))
