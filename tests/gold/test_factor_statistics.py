"""Statistics of factors beside statsmodels, scipy and pandas."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from gold.factor_statistics import (
    FactorStatistics,
    factor_correlations,
    factor_statistics,
    newey_west_lags,
    newey_west_t,
    order_correlation,
)
from gold.returns import FloatArray

SEEDS = st.integers(0, 2**32 - 1)
NAN = math.nan
YEAR = 525_600.0
NAMES = ("market", "liquidity_low", "liquidity_medium", "liquidity_high")


def autocorrelated(seed: int, bars: int) -> FloatArray:
    """Returns that remember the one before, with a drift and fat tails."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_t(4, bars) * 1e-3
    series: FloatArray = noise + 0.4 * np.roll(noise, 1) + 2e-5
    return series


def by_name(names: tuple[str, ...], returns: FloatArray) -> dict[str, FactorStatistics]:
    return {each.factor: each for each in factor_statistics(names, returns, YEAR)}


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(41, 600), st.integers(0, 40))
def test_t_is_that_of_statsmodels(seed: int, bars: int, lags: int) -> None:
    returns = autocorrelated(seed, bars)
    kernel = {"maxlags": lags, "use_correction": False}
    fit = sm.OLS(returns, np.ones(bars)).fit(cov_type="HAC", cov_kwds=kernel)
    assert newey_west_t(returns, lags) == pytest.approx(float(fit.tvalues[0]), rel=1e-10)


def test_lags_are_those_that_statsmodels_takes_by_itself() -> None:
    returns = autocorrelated(1, 5000)
    fit = sm.OLS(returns, np.ones(5000)).fit(cov_type="HAC", cov_kwds={"maxlags": None})
    (found,) = factor_statistics(["market"], returns[:, None], YEAR)
    assert found.newey_west_t == pytest.approx(float(fit.tvalues[0]), rel=1e-10)
    assert found.newey_west_lags == 9
    assert [newey_west_lags(bars) for bars in (0, 100, 525_600)] == [0, 4, 26]


def test_momentum_of_a_series_makes_its_mean_less_certain() -> None:
    returns = autocorrelated(2, 5000)
    assert abs(newey_west_t(returns, 9)) < abs(newey_west_t(returns, 0))


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_a_factor_is_measured_over_the_bars_that_it_has(seed: int) -> None:
    returns = autocorrelated(seed, 400)
    gaps = np.random.default_rng(seed).random(400) < 0.1
    with_gaps = pd.Series(np.where(gaps, NAN, returns))
    (found,) = factor_statistics(["market"], with_gaps.to_numpy()[:, None], YEAR)
    assert found.bars == with_gaps.count()
    assert found.annual_return == pytest.approx(with_gaps.mean() * YEAR, rel=1e-10)
    assert found.annual_volatility == pytest.approx(with_gaps.std() * YEAR**0.5, rel=1e-10)
    assert found.sharpe == pytest.approx(
        with_gaps.mean() / with_gaps.std() * YEAR**0.5, rel=1e-10, abs=1e-12
    )
    expected = newey_west_t(with_gaps.dropna().to_numpy(), newey_west_lags(found.bars))
    assert found.newey_west_t == expected
    assert math.isnan(found.monotonicity)


@pytest.mark.parametrize("values", [[], [0.1], [NAN, 0.1, NAN], [0.1, 0.1, 0.1]])
def test_without_variance_nothing_is_made_up(values: list[float]) -> None:
    (found,) = factor_statistics(["market"], np.array(values).reshape(-1, 1), YEAR)
    assert math.isnan(found.newey_west_t)
    assert math.isnan(found.sharpe)
    assert found.bars == np.isfinite(values).sum()


def test_the_spread_of_a_sort_is_measured_where_both_ends_are() -> None:
    rng = np.random.default_rng(3)
    returns = rng.normal(0, 1e-3, (500, 4))
    returns[:7, 3] = NAN
    # The spread has a return there as well. These would turn the order of the means.
    returns[490:, 2] = NAN
    returns[490:, 1:4:2] = [0.5, -0.5]
    found = by_name(NAMES, returns)
    assert list(found) == [*NAMES, "liquidity_high_minus_low"]
    spread = found["liquidity_high_minus_low"]
    difference = (returns[:, 3] - returns[:, 1])[7:]
    assert spread.bars == 493
    assert spread.annual_return == pytest.approx(difference.mean() * YEAR)
    assert spread.annual_volatility == pytest.approx(difference.std(ddof=1) * YEAR**0.5)
    means = returns[7:490, 1:].mean(axis=0)
    assert spread.monotonicity == pytest.approx(scipy.stats.spearmanr([1, 2, 3], means)[0])


def test_a_sort_without_a_bucket_has_no_spread() -> None:
    assert list(by_name(NAMES[:3], np.zeros((3, 3)))) == list(NAMES[:3])


@pytest.mark.parametrize(
    ("means", "expected"),
    [((1, 2, 3), 1.0), ((3, 2, 1), -1.0), ((2, 3, 1), -0.5), ((1, 3, 2), 0.5), ((1, 1, 2), 0.866)],
)
def test_monotonicity_by_hand(means: tuple[float, ...], expected: float) -> None:
    assert order_correlation(np.array(means, dtype=float)) == pytest.approx(expected, abs=1e-3)


def test_equal_means_have_no_order() -> None:
    assert math.isnan(order_correlation(np.ones(3)))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=2, max_size=9))
def test_order_correlation_is_spearmans(values: list[int]) -> None:
    found = order_correlation(np.array(values, dtype=float))
    if len(set(values)) > 1:
        expected = scipy.stats.spearmanr(range(len(values)), values)[0]
        assert found == pytest.approx(expected, rel=1e-10, abs=1e-12)
    else:
        assert math.isnan(found)


def test_correlations_are_over_complete_bars() -> None:
    rng = np.random.default_rng(4)
    returns = rng.normal(0, 1e-3, (300, 3)) @ rng.normal(0, 1, (3, 3))
    returns[:50, 0] = NAN
    returns[100, 2] = NAN
    expected = pd.DataFrame(returns).dropna().corr().to_numpy()
    np.testing.assert_allclose(factor_correlations(returns), expected, rtol=0, atol=1e-12)
