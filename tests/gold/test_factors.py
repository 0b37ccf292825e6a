"""Factor returns and terciles against plain tables, and what they must not depend on."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gold.factors import (
    bucket_returns,
    high_minus_low,
    mean_over_coins,
    simple_returns,
    terciles,
)
from gold.returns import FloatArray

NAN = float("nan")


def returns_with_holes(seed: int, coins: int, bars: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    returns = rng.normal(0, 1e-3, (coins, bars))
    returns[rng.random(returns.shape) < 0.2] = np.nan
    return returns


def test_simple_returns() -> None:
    open_ = np.array([100.0, 100.0, 0.0, NAN, 100.0, np.inf, 100.0, -1.0])
    close = np.array([101.0, 100.0, 1.0, 1.0, NAN, 1.0, -5.0, 1.0])
    found = simple_returns(open_, close)
    assert found[:2].tolist() == [0.01, 0.0]
    assert np.isnan(found[2:]).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 20))
def test_means_are_over_the_coins_that_have_the_bar(seed: int, coins: int, bars: int) -> None:
    returns = returns_with_holes(seed, coins, bars)
    expected = pd.DataFrame(returns).mean(axis=0).to_numpy()
    np.testing.assert_allclose(mean_over_coins(returns), expected, rtol=1e-12, atol=1e-18)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.data())
def test_absent_coins_change_no_bit(seed: int, coins: int, data: st.DataObject) -> None:
    returns = returns_with_holes(seed, coins, 15)
    at = data.draw(st.lists(st.integers(0, coins), max_size=4))
    with_absent = np.insert(returns, at, np.nan, axis=0)
    np.testing.assert_array_equal(mean_over_coins(with_absent), mean_over_coins(returns))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], []),
        ([5.0], [1]),
        ([5.0, 1.0], [1, 1]),
        ([5.0, 1.0, 3.0], [2, 0, 1]),
        ([4.0, 3.0, 2.0, 1.0], [2, 1, 1, 0]),
        ([1.0, 2.0, 3.0, 4.0, 5.0], [0, 1, 1, 1, 2]),
        ([6.0, 5.0, 4.0, 3.0, 2.0, 1.0], [2, 2, 1, 1, 0, 0]),
        # Ties rank in symbol order.
        ([7.0, 7.0, 7.0], [0, 1, 2]),
        ([2.0, 1.0, 1.0, 2.0, 2.0, 2.0], [1, 0, 0, 1, 2, 2]),
        # A coin without a value is in no bucket and does not count.
        ([NAN, 5.0, NAN, 1.0, 3.0], [-1, 2, -1, 0, 1]),
        ([NAN, 5.0, 1.0], [-1, 1, 1]),
        ([NAN, NAN, NAN], [-1, -1, -1]),
        ([np.inf, -np.inf, 0.0], [2, 0, 1]),
    ],
)
def test_terciles(value: list[float], expected: list[int]) -> None:
    assert terciles(np.array(value)).tolist() == expected


def test_buckets_and_long_short() -> None:
    returns = np.array([[1.0, 2.0, NAN], [3.0, NAN, NAN], [5.0, 6.0, 7.0], [9.0, 9.0, 9.0]])
    buckets = np.array([[0, 0, 2, 1], [1, 1, 1, -1]])
    found = bucket_returns(returns, buckets)
    expected = np.array(
        [[2, 2, NAN], [9, 9, 9], [5, 6, 7], [NAN, NAN, NAN], [3, 4, 7], [NAN, NAN, NAN]]
    )
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(high_minus_low(found), [[3.0, 4.0, NAN], [NAN, NAN, NAN]])


def test_with_three_or_more_coins_the_market_is_the_weighted_mean_of_its_buckets() -> None:
    rng = np.random.default_rng(1)
    returns = rng.normal(size=(8, 5))
    by_bucket = bucket_returns(returns, terciles(rng.normal(size=8))[None])
    np.testing.assert_allclose(
        np.array([2, 4, 2]) @ by_bucket / 8, mean_over_coins(returns), rtol=1e-12
    )
