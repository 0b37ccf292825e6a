"""Risk beside plain numpy and the definitions in matrix form."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from gold.factor_risk import (
    conditional_moves,
    decompose,
    factor_covariance,
)
from gold.returns import FloatArray

SEEDS = st.integers(0, 2**32 - 1)
NAN = np.nan


def factor_returns(rng: np.random.Generator, bars: int, factors: int) -> FloatArray:
    """Correlated returns of the size of a minute's."""
    mixed: FloatArray = rng.normal(0, 1e-3, (bars, factors)) @ rng.normal(0, 1, (factors, factors))
    return mixed


def model(seed: int) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Weights, exposures, covariance and specific variances of a random portfolio."""
    rng = np.random.default_rng(seed)
    holdings, factors = int(rng.integers(1, 40)), int(rng.integers(1, 12))
    returns = factor_returns(rng, 200, factors)
    return (
        rng.normal(0, 1, holdings),
        rng.normal(0, 1, (holdings, factors)),
        factor_covariance(returns).matrix,
        rng.uniform(0, 1e-5, holdings),
    )


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_contributions_sum_to_the_variance_of_the_matrix_form(seed: int) -> None:
    weights, betas, covariance, specific = model(seed)
    found = decompose(weights, betas, covariance, specific)
    coins = betas @ covariance @ betas.T + np.diag(specific)
    # Contributions of both signs may cancel: the scale is that of what is summed.
    scale = float(np.abs(weights[:, None] * coins * weights).sum())
    assert found.variance == pytest.approx(weights @ coins @ weights, abs=1e-12 * scale)
    by_holding = found.by_holding + found.specific
    np.testing.assert_allclose(by_holding, weights * (coins @ weights), rtol=0, atol=1e-12 * scale)
    assert by_holding.sum() == pytest.approx(found.variance, abs=1e-12 * scale)
    assert found.by_factor.sum() == pytest.approx(found.by_holding.sum(), abs=1e-12 * scale)
    np.testing.assert_allclose(found.exposures, betas.T @ weights, rtol=1e-10, atol=1e-12)


def test_a_contribution_is_the_slope_of_risk_along_its_holding() -> None:
    weights, betas, covariance, specific = model(7)
    found = decompose(weights, betas, covariance, specific)
    step = 1e-6
    for place in range(weights.size):
        up, down = weights.copy(), weights.copy()
        up[place] += step
        down[place] -= step
        slope = (
            decompose(up, betas, covariance, specific).variance
            - decompose(down, betas, covariance, specific).variance
        ) / (2 * step)
        contribution = found.by_holding[place] + found.specific[place]
        assert contribution == pytest.approx(weights[place] * slope / 2, rel=1e-6, abs=1e-15)


def test_two_coins_by_hand() -> None:
    # Half in a coin of beta 2 and half in one of beta 1; the factor's variance is 4.
    found = decompose(
        np.array([0.5, 0.5]), np.array([[2.0], [1.0]]), np.array([[4.0]]), np.array([1.0, 3.0])
    )
    assert found.exposures.tolist() == [1.5]
    assert found.by_factor.tolist() == [9.0]
    assert found.by_holding.tolist() == [6.0, 3.0]
    assert found.specific.tolist() == [0.25, 0.75]
    assert found.variance == 10.0


def test_a_hedge_has_a_negative_contribution() -> None:
    found = decompose(
        np.array([1.0, -0.5]), np.array([[1.0], [1.0]]), np.array([[4.0]]), np.array([1.0, 1.0])
    )
    assert found.by_holding.tolist() == [2.0, -1.0]
    assert found.variance == 1.0 + 1.25


def test_a_portfolio_of_nothing_has_no_risk() -> None:
    found = decompose(np.empty(0), np.empty((0, 3)), np.eye(3), np.empty(0))
    assert found.variance == 0.0
    assert found.exposures.tolist() == [0.0, 0.0, 0.0]


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_covariance_is_the_sample_covariance_of_complete_bars(seed: int) -> None:
    rng = np.random.default_rng(seed)
    returns = factor_returns(rng, 300, 5)
    returns[rng.random(returns.shape) < 0.02] = NAN
    complete = pd.DataFrame(returns).dropna()
    expected = complete.cov().to_numpy()
    covariance = factor_covariance(returns)
    found = covariance.matrix
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12 * expected.max())
    assert (found == found.T).all()
    assert covariance.bars == len(complete)


def test_covariance_of_a_factor_that_never_moves_is_zero() -> None:
    returns = np.column_stack([[0.01, -0.01, 0.02], [0.1, 0.1, 0.1]])
    found = factor_covariance(returns).matrix
    assert found[0, 0] == pytest.approx(np.var(returns[:, 0], ddof=1))
    assert found[1].tolist() == found[:, 1].tolist() == [0.0, 0.0]


def test_a_factor_without_returns_leaves_the_others_their_covariance() -> None:
    returns = np.column_stack([[0.01, -0.01, 0.02], [NAN] * 3, [0.1, 0.2, 0.1]])
    found = factor_covariance(returns).matrix
    assert np.isnan(found[1]).all()
    assert np.isnan(found[:, 1]).all()
    np.testing.assert_allclose(found[::2, ::2], np.cov(returns[:, ::2].T))


@pytest.mark.parametrize("rows", [[], [[0.1, 0.2]], [[0.1, 0.2], [NAN, 0.1], [0.2, NAN]]])
def test_fewer_than_two_complete_bars_have_no_covariance(rows: list[list[float]]) -> None:
    found = factor_covariance(np.array(rows).reshape(-1, 2))
    assert np.isnan(found.matrix).all()
    assert found.bars < 2


def test_a_coin_alone_has_the_variance_of_its_own_return() -> None:
    rng = np.random.default_rng(3)
    factors = factor_returns(rng, 1440, 4)
    coin = factors @ np.array([0.5, 1.0, -0.3, 0.2]) + rng.normal(0, 2e-3, 1440)
    fit = sm.OLS(coin, sm.add_constant(factors)).fit()
    residual = np.array([fit.ssr / 1439])
    found = decompose(np.ones(1), fit.params[None, 1:], factor_covariance(factors).matrix, residual)
    assert found.variance == pytest.approx(coin.var(ddof=1), rel=1e-10)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 4))
def test_conditional_moves_are_those_of_a_regression_on_the_named_factors(
    seed: int, count: int
) -> None:
    rng = np.random.default_rng(seed)
    returns = factor_returns(rng, 400, 5)
    moves = np.full(5, NAN)
    moves[:count] = rng.normal(0, 0.2, count)
    centred = returns - returns.mean(axis=0)
    covariance = factor_covariance(returns).matrix
    for place, found in enumerate(conditional_moves(covariance, moves).tolist()):
        if place < count:
            assert found == moves[place]
        else:
            fit = sm.OLS(centred[:, place], centred[:, :count]).fit()
            assert found == pytest.approx(float(fit.params @ moves[:count]), rel=1e-6, abs=1e-9)


def test_factors_that_are_one_move_as_one() -> None:
    # The market is the mean of the two others: the covariance is singular.
    rng = np.random.default_rng(5)
    common, noise = rng.normal(0, 1e-3, (2, 500))
    returns = np.column_stack([common, common + noise, common - noise])
    covariance = factor_covariance(returns).matrix
    moves = conditional_moves(covariance, np.array([-0.2, NAN, NAN]))
    assert moves[1:].mean() == pytest.approx(-0.2)
    both = conditional_moves(covariance, np.array([NAN, -0.2, -0.2]))
    np.testing.assert_allclose(both, -0.2, rtol=1e-9)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.booleans())
def test_named_factors_that_are_collinear_take_the_least_move(seed: int, consistent: bool) -> None:
    # The market is the mean of the three buckets of a sort, and all four are named.
    rng = np.random.default_rng(seed)
    coins = rng.normal(0, 1e-3, (1440, 1)) + rng.normal(0, 1e-3, (1440, 12))
    buckets = coins.reshape(1440, 3, 4).mean(axis=2)
    others = coins[:, ::2].mean(axis=1)
    returns = np.column_stack([coins.mean(axis=1), buckets, others])
    covariance = factor_covariance(returns).matrix
    named = rng.normal(-0.2, 0.1, 4)
    if consistent:
        named[0] = named[1:].mean()
    found = conditional_moves(covariance, np.append(named, NAN))
    # One direction is none: what is left of it by rounding explains no move.
    values, vectors = np.linalg.eigh(covariance[:4, :4])
    inverse = vectors[:, 1:] / values[1:] @ vectors[:, 1:].T
    assert found[4] == pytest.approx(float(covariance[4, :4] @ inverse @ named), rel=1e-6, abs=1e-9)
    assert found[:4].tolist() == named.tolist()


def test_no_factor_goes_along_with_one_that_never_moves() -> None:
    covariance = np.diag([0.0, 1.0])
    assert conditional_moves(covariance, np.array([-0.2, NAN])).tolist() == [-0.2, 0.0]


def test_without_a_covariance_nothing_is_known_of_the_others() -> None:
    moves = conditional_moves(np.full((2, 2), NAN), np.array([-0.2, NAN]))
    np.testing.assert_array_equal(moves, [-0.2, NAN])
