"""Weights of members: by hand, and within bounds."""

from math import fsum

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from gold.weighting import (
    Weighting,
    cap_and_floor,
    equal_weights,
    inverse_volatility_weights,
    sharpe_weights,
    weights_by,
)

POSITIVE = st.lists(st.floats(min_value=1e-9, max_value=1e9), min_size=1, max_size=200)


def test_weights_of_a_table_by_hand() -> None:
    volatility, sharpe = np.array([0.5, 1.0, 0.25]), np.array([1.0, 0.5, 2.5])
    expected: dict[Weighting, list[float]] = {
        "inverse_volatility": [2 / 7, 1 / 7, 4 / 7],
        "equal": [1 / 3, 1 / 3, 1 / 3],
        "sharpe": [1 / 4, 1 / 8, 5 / 8],
    }
    for weighting, weights in expected.items():
        np.testing.assert_allclose(weights_by(weighting, sharpe, volatility), weights, rtol=1e-15)


@settings(max_examples=60, deadline=None)
@given(POSITIVE)
def test_weights_are_positive_sum_to_one_and_are_proportional(values: list[float]) -> None:
    numbers = np.array(values)
    calm, high = inverse_volatility_weights(numbers), sharpe_weights(numbers)
    for weights in (calm, high, equal_weights(len(values))):
        assert fsum(weights) == pytest.approx(1.0, abs=1e-15)
        assert (weights > 0).all()
    np.testing.assert_allclose(calm * numbers, calm[0] * numbers[0], rtol=1e-12)
    np.testing.assert_allclose(high / numbers, high[0] / numbers[0], rtol=1e-12)
    # A member's weight does not depend on the order of the others, to the last bit.
    np.testing.assert_array_equal(inverse_volatility_weights(numbers[::-1])[::-1], calm)
    np.testing.assert_array_equal(sharpe_weights(numbers[::-1])[::-1], high)


@pytest.mark.parametrize("volatility", [5e-324, 1e308])
def test_weights_survive_extreme_volatilities(volatility: float) -> None:
    assert inverse_volatility_weights(np.full(4, volatility)).tolist() == [0.25] * 4


@pytest.mark.parametrize(
    ("weights", "cap", "floor", "expected"),
    [
        ([0.5, 0.3, 0.2], 1.0, 0.0, [0.5, 0.3, 0.2]),
        ([0.5, 0.3, 0.2], 0.4, 0.0, [0.4, 0.36, 0.24]),
        # What the first gives lifts the second above the cap: a second round.
        ([0.6, 0.3, 0.1], 0.4, 0.0, [0.4, 0.4, 0.2]),
        ([0.6, 0.38, 0.02], 1.0, 0.1, [0.9 * 60 / 98, 0.9 * 38 / 98, 0.1]),
        ([0.8, 0.15, 0.05], 0.6, 0.2, [0.6, 0.2, 0.2]),
        ([0.7, 0.3], 0.4, 0.0, [0.5, 0.5]),  # two of at most 0.4 cannot reach 1
        ([0.7, 0.3], 1.0, 0.6, [0.5, 0.5]),
        ([1.0], 0.05, 0.0, [1.0]),
    ],
)
def test_cap_and_floor_table(
    weights: list[float], cap: float, floor: float, expected: list[float]
) -> None:
    np.testing.assert_allclose(cap_and_floor(np.array(weights), cap, floor), expected, rtol=1e-14)


@settings(max_examples=150, deadline=None)
@given(POSITIVE, st.floats(1.0001, 20), st.floats(0, 0.9999))
def test_caps_and_floors_hold_and_the_rest_keep_their_proportions(
    values: list[float], above_equal: float, below_equal: float
) -> None:
    weights = np.array(values) / fsum(values)
    cap, floor = min(1.0, above_equal / weights.size), below_equal / weights.size
    bounded = cap_and_floor(weights, cap, floor)
    assert fsum(bounded) == pytest.approx(1.0, abs=1e-12)
    if weights.size == 1:
        return
    assert (bounded <= cap).all()
    assert (bounded >= floor).all()

    # The one solution: every weight times one number, cut off at the bounds.
    def missing(scale: float) -> float:
        return fsum(np.clip(scale * weights, floor, cap)) - 1

    highest = 2 * cap / weights.min()
    scale = brentq(missing, 0, highest, xtol=1e-300, rtol=1e-15, maxiter=500)
    np.testing.assert_allclose(bounded, np.clip(scale * weights, floor, cap), rtol=1e-9, atol=1e-12)
