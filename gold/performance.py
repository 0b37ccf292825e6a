"""What an index earned and at what risk: the statistics of its returns, annualised by 365 days.

Conventions. Returns are simple ones, bar by bar; the risk-free rate is 0. A year is 365 days of
round-the-clock trading, so `bars_per_year` bars. Standard deviations are sample ones (ddof 1);
skewness and kurtosis are the adjusted Fisher-Pearson ones, and kurtosis is excess over a normal
distribution's. A value at risk is a return, negative for a loss. What needs a day or a month (VaR,
CVaR, best, worst, win rates) uses returns between the last bars of UTC days or months, the first
one counted from the start.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from gold.ratios import (
    beta,
    cagr,
    deviation,
    expected_best_sharpe,
    expected_shortfall,
    kurtosis,
    max_drawdown,
    period_returns,
    probabilistic_sharpe,
    ratio,
    sharpe_ratio,
    skewness,
    sortino_ratio,
    win_rate,
)
from gold.returns import FloatArray, IntArray
from lakehouse.intervals import MICROS_PER_DAY

_TAIL: Final = 0.05


@dataclass(frozen=True)
class Performance:
    """Statistics of one index; NaN where one is undefined (no variance, too few returns).

    Attributes:
        total_return: `last level / first level - 1`.
        cagr: `(1 + total_return) ** (bars_per_year / bars) - 1`.
        volatility: `std(r) * sqrt(bars_per_year)`.
        sharpe: `mean(r) / std(r) * sqrt(bars_per_year)`.
        sortino: `mean(r) * sqrt(bars_per_year) / sqrt(mean(min(r, 0) ** 2))`.
        calmar: `cagr / -max_drawdown`.
        max_drawdown: Deepest fall from the highest level so far, <= 0.
        max_drawdown_peak: Open time of its highest bar, UTC microseconds.
        max_drawdown_trough: Open time of its lowest bar.
        max_drawdown_recovery: Open time of the first bar back at the peak, None when none is.
        max_drawdown_days: Days from its peak to its recovery, or to the last bar.
        value_at_risk_95: 5 % quantile of daily returns, linear between the two nearest.
        conditional_value_at_risk_95: Mean of the `floor((n - 1) * 0.05) + 1` lowest daily returns.
        skewness: Of the returns.
        kurtosis: Of the returns, 0 for a normal distribution.
        best_day: Highest daily return.
        worst_day: Lowest daily return.
        best_month: Highest monthly return.
        worst_month: Lowest monthly return.
        win_rate_day: Share of the days with a return other than 0 whose return is above 0.
        win_rate_month: The same of months.
        annual_turnover: One-way turnover of all trades, first purchase included, per year.
        total_cost: Share of what the final level would be without costs that they took:
            `1 - product of (1 - cost)`.
        cost_drag: CAGR of the level without its costs, less the CAGR.
        probabilistic_sharpe: Probability that the true Sharpe ratio is above 0.
        deflated_sharpe: Probability that it is above what the best of the trials would show by
            luck alone. Their own Sharpe ratios are not known here: their variance is taken as
            that of estimates without skill, `1 / (bars - 1)`.
    """

    total_return: float
    cagr: float
    volatility: float
    sharpe: float
    sortino: float
    calmar: float
    max_drawdown: float
    max_drawdown_peak: int
    max_drawdown_trough: int
    max_drawdown_recovery: int | None
    max_drawdown_days: float
    value_at_risk_95: float
    conditional_value_at_risk_95: float
    skewness: float
    kurtosis: float
    best_day: float
    worst_day: float
    best_month: float
    worst_month: float
    win_rate_day: float
    win_rate_month: float
    annual_turnover: float
    total_cost: float
    cost_drag: float
    probabilistic_sharpe: float
    deflated_sharpe: float


@dataclass(frozen=True)
class RelativePerformance:
    """Statistics of an index against a benchmark on the same bars; NaN where undefined.

    Attributes:
        beta: `cov(r, b) / var(b)` of the returns.
        alpha: `(mean(r) - beta * mean(b)) * bars_per_year` (Jensen's, at a risk-free rate of 0).
        tracking_error: `std(r - b) * sqrt(bars_per_year)`.
        information_ratio: `mean(r - b) / std(r - b) * sqrt(bars_per_year)`.
    """

    beta: float
    alpha: float
    tracking_error: float
    information_ratio: float


def performance(
    open_time: IntArray,
    level: FloatArray,
    cost: FloatArray,
    turnover: FloatArray,
    bars_per_year: float,
    trials: int = 1,
) -> Performance:
    """Statistics of one index's levels.

    Args:
        open_time: (T + 1,) bar opens of the levels, UTC microseconds, ascending; the first row is
            the start.
        level: (T + 1,) levels above 0, at the bars' closes; T >= 1.
        cost: (T + 1,) fractions of the value that went into the bars' trades.
        turnover: (T + 1,) one-way turnovers of the bars' trades.
        bars_per_year: Bars in 365 days.
        trials: Settings that were tried, these included.
    """
    returns = level[1:] / level[:-1] - 1
    bars = returns.size
    fall = max_drawdown(level)
    until = bars if fall.recovery is None else fall.recovery
    skew, excess = skewness(returns), kurtosis(returns)
    of_one_bar = sharpe_ratio(returns, 1)
    luck = expected_best_sharpe(trials, ratio(1, bars - 1))
    kept = float(np.prod(1 - cost))
    annual = cagr(level[-1] / level[0], bars, bars_per_year)
    before_costs = cagr(level[-1] / level[0] / kept, bars, bars_per_year)
    return Performance(
        total_return=float(level[-1] / level[0] - 1),
        cagr=annual,
        volatility=deviation(returns) * math.sqrt(bars_per_year),
        sharpe=sharpe_ratio(returns, bars_per_year),
        sortino=sortino_ratio(returns, bars_per_year),
        calmar=ratio(annual, -fall.depth),
        max_drawdown=fall.depth,
        max_drawdown_peak=int(open_time[fall.peak]),
        max_drawdown_trough=int(open_time[fall.trough]),
        max_drawdown_recovery=None if fall.recovery is None else int(open_time[fall.recovery]),
        max_drawdown_days=float(open_time[until] - open_time[fall.peak]) / MICROS_PER_DAY,
        skewness=skew,
        kurtosis=excess,
        annual_turnover=float(turnover.sum()) * bars_per_year / bars,
        total_cost=1 - kept,
        cost_drag=before_costs - annual,
        probabilistic_sharpe=probabilistic_sharpe(of_one_bar, 0.0, bars, skew, excess),
        deflated_sharpe=probabilistic_sharpe(of_one_bar, luck, bars, skew, excess),
        **_of_days_and_months(open_time, level),
    )


def _of_days_and_months(open_time: IntArray, level: FloatArray) -> dict[str, float]:
    """The statistics that need a day or a month, by name."""
    day, month = (period_returns(open_time, level, unit)[1] for unit in ("D", "M"))
    return {
        "value_at_risk_95": float(np.quantile(day, _TAIL)),
        "conditional_value_at_risk_95": expected_shortfall(day, _TAIL),
        "best_day": float(day.max()),
        "worst_day": float(day.min()),
        "best_month": float(month.max()),
        "worst_month": float(month.min()),
        "win_rate_day": win_rate(day),
        "win_rate_month": win_rate(month),
    }


def relative_performance(
    level: FloatArray, benchmark: FloatArray, bars_per_year: float
) -> RelativePerformance:
    """Statistics of an index against a benchmark.

    Args:
        level: (T + 1,) levels of the index.
        benchmark: (T + 1,) levels of the benchmark at the same bars.
        bars_per_year: Bars in 365 days.
    """
    returns, other = (values[1:] / values[:-1] - 1 for values in (level, benchmark))
    slope = beta(returns, other)
    active = returns - other
    return RelativePerformance(
        beta=slope,
        alpha=float(returns.mean() - slope * other.mean()) * bars_per_year,
        tracking_error=deviation(active) * math.sqrt(bars_per_year),
        information_ratio=sharpe_ratio(active, bars_per_year),
    )
