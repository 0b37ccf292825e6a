"""Statistics beside empyrical, pandas, scipy and statsmodels, and a published example."""

import math
from dataclasses import asdict

import empyrical
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from gold.performance import Performance, performance, relative_performance
from gold.ratios import (
    Drawdown,
    deviation,
    expected_best_sharpe,
    kurtosis,
    max_drawdown,
    period_returns,
    probabilistic_sharpe,
    skewness,
)
from gold.returns import FloatArray, IntArray
from lakehouse.intervals import MICROS_PER_DAY

SEEDS = st.integers(0, 2**32 - 1)
BAR = 4 * 3_600_000_000
BARS_PER_YEAR = 2190.0


def random_levels(seed: int, bars: int = 900) -> tuple[IntArray, FloatArray, FloatArray]:
    """Bar opens and two correlated level series; the first row is the start."""
    rng = np.random.default_rng(seed)
    common = rng.standard_t(4, bars) * 0.01
    paths = [common * b + rng.normal(2e-4, 0.008, bars) for b in (0.8, 1.1)]
    levels = [1000 * np.cumprod(np.append(1.0, 1 + np.maximum(path, -0.5))) for path in paths]
    first = int(rng.integers(17_000, 20_000)) * MICROS_PER_DAY - BAR
    return first + BAR * np.arange(bars + 1), levels[0], levels[1]


def measured(time: IntArray, level: FloatArray, trials: int = 1) -> Performance:
    nothing = np.zeros(level.size)
    return performance(time, level, nothing, nothing, BARS_PER_YEAR, trials)


def by_date(time: IntArray, level: FloatArray, unit: str) -> "pd.Series[float]":
    """Returns of days or months by pandas, the first one from the start."""
    series = pd.Series(level[1:], index=pd.to_datetime(time[1:], unit="us"))
    last = series.resample(unit).last()
    return last / last.shift(fill_value=level[0]) - 1


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_statistics_equal_those_of_empyrical(seed: int) -> None:
    time, level, other = random_levels(seed)
    found = measured(time, level)
    returns, benchmark = level[1:] / level[:-1] - 1, other[1:] / other[:-1] - 1
    daily = by_date(time, level, "D").to_numpy()
    year = {"annualization": BARS_PER_YEAR}
    expected = {
        "total_return": empyrical.cum_returns_final(returns),
        "cagr": empyrical.annual_return(returns, **year),
        "volatility": empyrical.annual_volatility(returns, **year),
        "sharpe": empyrical.sharpe_ratio(returns, **year),
        "sortino": empyrical.sortino_ratio(returns, **year),
        "calmar": empyrical.calmar_ratio(returns, **year),
        "max_drawdown": empyrical.max_drawdown(returns),
        "value_at_risk_95": empyrical.value_at_risk(daily),
        "conditional_value_at_risk_95": empyrical.conditional_value_at_risk(daily),
    }
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-10, abs=1e-13), name
    relative = relative_performance(level, other, BARS_PER_YEAR)
    assert relative.beta == pytest.approx(empyrical.beta(returns, benchmark), rel=1e-10)
    information = empyrical.excess_sharpe(returns, benchmark) * math.sqrt(BARS_PER_YEAR)
    assert relative.information_ratio == pytest.approx(information, rel=1e-10)
    error = empyrical.annual_volatility(returns - benchmark, **year)
    assert relative.tracking_error == pytest.approx(error, rel=1e-10)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_the_others_equal_pandas_and_statsmodels(seed: int) -> None:
    time, level, other = random_levels(seed)
    found = measured(time, level)
    returns, benchmark = (pd.Series(path).pct_change().dropna() for path in (level, other))
    day, month = by_date(time, level, "D"), by_date(time, level, "MS")
    expected = {
        "skewness": returns.skew(),
        "kurtosis": returns.kurtosis(),
        "best_day": day.max(),
        "worst_day": day.min(),
        "best_month": month.max(),
        "worst_month": month.min(),
        "win_rate_day": (day > 0).sum() / (day != 0).sum(),
        "win_rate_month": (month > 0).sum() / (month != 0).sum(),
    }
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-9, abs=1e-12), name
    line = sm.OLS(returns.to_numpy(), sm.add_constant(benchmark.to_numpy())).fit()
    relative = relative_performance(level, other, BARS_PER_YEAR)
    assert [relative.alpha / BARS_PER_YEAR, relative.beta] == pytest.approx(
        line.params.tolist(), rel=1e-9, abs=1e-14
    )


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(1, 500))
def test_the_probabilities_equal_their_formulas_by_scipy(seed: int, trials: int) -> None:
    time, level, _ = random_levels(seed)
    found = measured(time, level, trials)
    returns = level[1:] / level[:-1] - 1
    sharpe, n = returns.mean() / returns.std(ddof=1), returns.size
    third = scipy.stats.skew(returns, bias=False)
    fourth = scipy.stats.kurtosis(returns, fisher=False, bias=False)
    spread = math.sqrt((1 - third * sharpe + (fourth - 1) / 4 * sharpe**2) / (n - 1))
    assert found.probabilistic_sharpe == pytest.approx(
        scipy.stats.norm.cdf(sharpe / spread), rel=1e-9
    )
    best = 0.0
    if trials > 1:
        quantiles = scipy.stats.norm.ppf([1 - 1 / trials, 1 - 1 / (trials * math.e)])
        best = float(quantiles @ [1 - np.euler_gamma, np.euler_gamma]) / math.sqrt(n - 1)
    assert found.deflated_sharpe == pytest.approx(
        scipy.stats.norm.cdf((sharpe - best) / spread), rel=1e-9, abs=1e-300
    )


def test_the_published_example_of_the_deflated_sharpe_ratio() -> None:
    # Bailey and Lopez de Prado (2014): annual Sharpe 2.5 from 5 years of 250 days, skewness -3,
    # kurtosis 10, annual variance 1/2 of 100 trials; 0.9004, with 46 trials 0.9505.
    luck = expected_best_sharpe(100, 0.5 / 250)
    assert luck == pytest.approx(0.1132, abs=5e-5)
    deflated = probabilistic_sharpe(2.5 / math.sqrt(250), luck, 1250, -3.0, 7.0)
    assert deflated == pytest.approx(0.9004, abs=5e-5)
    fewer = expected_best_sharpe(46, 0.5 / 250)
    deflated = probabilistic_sharpe(2.5 / math.sqrt(250), fewer, 1250, -3.0, 7.0)
    assert deflated == pytest.approx(0.9505, abs=5e-5)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ([100, 110, 120], Drawdown(0.0, 0, 0, 0)),
        ([100, 50, 100, 120], Drawdown(-0.5, 0, 1, 2)),
        ([100, 120, 90, 119, 60, 80], Drawdown(-0.5, 1, 4, None)),
        ([100, 120, 120, 90, 130], Drawdown(-0.25, 2, 3, 4)),  # the fall begins at the last peak
        ([100, 75, 100, 75, 100], Drawdown(-0.25, 0, 1, 2)),  # the first of equals
        ([100], Drawdown(0.0, 0, 0, 0)),
    ],
)
def test_drawdown_table(level: list[float], expected: Drawdown) -> None:
    assert max_drawdown(np.array(level, dtype=np.float64)) == expected


def test_the_dates_of_the_drawdown() -> None:
    time = np.arange(6) * BAR
    fell = measured(time, np.array([100.0, 120, 90, 60, 119, 121]))
    assert fell.max_drawdown_peak == 1 * BAR
    assert fell.max_drawdown_trough == 3 * BAR
    assert fell.max_drawdown_recovery == 5 * BAR
    assert fell.max_drawdown_days == pytest.approx(4 * 4 / 24)
    still = measured(time, np.array([100.0, 120, 90, 60, 80, 81]))
    assert still.max_drawdown_recovery is None
    assert still.max_drawdown_days == pytest.approx(4 * 4 / 24)


def test_turnover_and_costs_over_half_a_year() -> None:
    bars = 1095
    time = np.arange(bars + 1) * BAR
    kept = np.ones(bars + 1)
    turnover, cost = np.zeros(bars + 1), np.zeros(bars + 1)
    turnover[[1, 500]], cost[[1, 500]] = [1.0, 0.5], [0.01, 0.005]
    kept[1:] *= 0.99
    kept[500:] *= 0.995
    gross = 1000 * np.linspace(1, 1.1, bars + 1)
    found = performance(time, gross * kept, cost, turnover, BARS_PER_YEAR)
    assert found.annual_turnover == pytest.approx(3.0, rel=1e-12)
    assert found.total_cost == pytest.approx(1 - 0.99 * 0.995, rel=1e-12)
    assert found.cost_drag == pytest.approx(1.1**2 - (1.1 * 0.99 * 0.995) ** 2, rel=1e-9)


def test_days_and_months_of_a_delayed_start() -> None:
    # The start is in the middle of a day: that day counts from there.
    time = 30 * MICROS_PER_DAY + BAR * np.arange(2, 12)  # 31 January 1970, 08:00
    level = np.array([100.0, 101, 102, 103, 104, 105, 106, 107, 108, 109])
    day, returns = period_returns(time, level, "D")
    assert day.tolist() == [30, 31]
    np.testing.assert_allclose(returns, [103 / 100 - 1, 109 / 103 - 1], rtol=1e-15)
    month, returns = period_returns(time, level, "M")
    assert month.tolist() == [0, 1]
    np.testing.assert_allclose(returns, [0.03, 109 / 103 - 1], rtol=1e-14)


def test_what_is_undefined_is_nan() -> None:
    time = np.arange(101) * BAR
    flat = measured(time, np.full(101, 1000.0), trials=5)
    for name in ("sharpe", "sortino", "calmar", "skewness", "kurtosis", "win_rate_day"):
        assert math.isnan(getattr(flat, name)), name
    assert math.isnan(flat.probabilistic_sharpe)
    assert math.isnan(flat.deflated_sharpe)
    assert (flat.total_return, flat.cagr, flat.volatility, flat.max_drawdown) == (0, 0, 0, 0)
    beside = relative_performance(random_levels(1, 100)[1], np.full(101, 1000.0), BARS_PER_YEAR)
    assert math.isnan(beside.beta)
    assert math.isnan(beside.alpha)
    one = measured(time[:2], np.array([1000.0, 1001.0]), trials=3)
    assert math.isnan(one.volatility)
    assert one.best_month == pytest.approx(0.001)
    assert all(value is None or isinstance(value, (int, float)) for value in asdict(one).values())


@pytest.mark.parametrize("value", [0.1, 1 / 3, -0.07])
def test_equal_returns_have_no_deviation(value: float) -> None:
    assert deviation(np.full(1000, value)) == 0.0
    assert math.isnan(skewness(np.full(1000, value)))
    assert math.isnan(kurtosis(np.full(1000, value)))
