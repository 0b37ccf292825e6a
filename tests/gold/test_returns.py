"""Log returns and their matrix, against tables worked out by hand and against pandas."""

from math import log

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gold.returns import FloatArray, IntArray, log_returns, returns_matrix

NAN = float("nan")
PRICES = st.floats(min_value=1e-6, max_value=1e6)


def floats(*values: float) -> FloatArray:
    return np.array(values, dtype=np.float64)


def ints(*values: int) -> IntArray:
    return np.array(values, dtype=np.int64)


def test_returns_of_a_table_by_hand() -> None:
    close = floats(100, 110, 99, 8.61, 8.61, 12.915)
    segment = ints(0, 0, 0, 1, 1, 1)
    expected = [NAN, log(1.1), log(0.9), NAN, 0.0, log(1.5)]
    np.testing.assert_allclose(log_returns(close, segment), expected, rtol=1e-15)


@pytest.mark.parametrize("no_price", [NAN, float("inf"), 0.0, -3.0])
def test_a_close_that_is_no_price_makes_no_return_on_either_side(no_price: float) -> None:
    close = floats(2, 4, no_price, 4, 2)
    expected = [NAN, log(2), NAN, NAN, -log(2)]
    np.testing.assert_allclose(log_returns(close, ints(0, 0, 0, 0, 0)), expected)


@pytest.mark.parametrize("bars", [0, 1])
def test_too_few_bars_for_any_return(bars: int) -> None:
    returns = log_returns(np.ones(bars), np.zeros(bars, dtype=np.int64))
    assert returns.shape == (bars,)
    assert np.isnan(returns).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(PRICES, st.booleans()), min_size=1, max_size=60))
def test_returns_equal_pandas_within_each_segment(rows: list[tuple[float, bool]]) -> None:
    close = floats(*(price for price, _ in rows))
    segment = np.cumsum([starts for _, starts in rows])
    frame = pd.DataFrame({"close": close, "segment": segment})
    expected = np.log(frame["close"]) - np.log(frame.groupby("segment")["close"].shift(1))
    np.testing.assert_allclose(log_returns(close, segment), expected, rtol=1e-12, atol=1e-14)


@settings(max_examples=60, deadline=None)
@given(st.lists(PRICES, min_size=1, max_size=60), st.data())
def test_cutting_the_future_changes_no_past_return(
    prices: list[float], data: st.DataObject
) -> None:
    close = floats(*prices)
    segment = np.arange(close.size) // 7
    known = data.draw(st.integers(0, close.size))
    np.testing.assert_array_equal(
        log_returns(close[:known], segment[:known]), log_returns(close, segment)[:known]
    )


def test_matrix_of_a_table_by_hand() -> None:
    # Symbol 1 has no return at 20, symbol 2 none at all, and nobody has one at 10 and at 50.
    times, matrix = returns_matrix(
        symbol_index=ints(0, 0, 0, 0, 1, 1, 1, 2, 2),
        open_time=ints(10, 20, 30, 40, 20, 30, 40, 40, 50),
        returns=floats(NAN, 0.1, 0.2, NAN, NAN, 0.3, -0.4, NAN, NAN),
    )
    assert times.tolist() == [20, 30, 40]
    assert matrix.tolist() == [[0.1, 0.0, 0.0], [0.2, 0.3, 0.0], [0.0, -0.4, 0.0]]


def test_matrix_keeps_times_at_which_every_return_is_zero() -> None:
    times, matrix = returns_matrix(ints(0, 0), ints(10, 20), floats(0.0, NAN))
    assert times.tolist() == [10]
    assert matrix.tolist() == [[0.0]]


def test_matrix_of_nothing_and_of_no_return() -> None:
    times, matrix = returns_matrix(ints(), ints(), floats())
    assert (times.shape, matrix.shape) == ((0,), (0, 0))
    times, matrix = returns_matrix(ints(0, 1), ints(10, 10), floats(NAN, NAN))
    assert (times.shape, matrix.shape) == ((0,), (0, 2))


def long_form(seed: int) -> tuple[IntArray, IntArray, FloatArray]:
    rng = np.random.default_rng(seed)
    present: npt.NDArray[np.bool_] = rng.random((25, 6)) < 0.7
    present[0] = True  # each symbol has a row
    bar, symbol_index = np.nonzero(present)
    returns = np.where(rng.random(bar.size) < 0.2, NAN, rng.standard_normal(bar.size))
    return symbol_index, 1_727_740_800_000_000 + bar * 14_400_000_000, returns


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_matrix_equals_a_pandas_pivot(seed: int) -> None:
    symbol_index, open_time, returns = long_form(seed)
    frame = pd.DataFrame({"t": open_time, "s": symbol_index, "r": returns}).dropna()
    pivot = frame.pivot_table(index="t", columns="s", values="r").reindex(columns=range(6))
    times, matrix = returns_matrix(symbol_index, open_time, returns)
    np.testing.assert_array_equal(times, pivot.index)
    np.testing.assert_array_equal(matrix, pivot.fillna(0.0))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_matrix_is_the_same_for_rows_in_any_order(seed: int) -> None:
    symbol_index, open_time, returns = long_form(seed)
    order = np.random.default_rng(seed + 1).permutation(returns.size)
    times, matrix = returns_matrix(symbol_index, open_time, returns)
    shuffled_times, shuffled = returns_matrix(symbol_index[order], open_time[order], returns[order])
    np.testing.assert_array_equal(shuffled_times, times)
    np.testing.assert_array_equal(shuffled, matrix)


def test_cutting_the_future_changes_no_past_row_of_the_matrix() -> None:
    symbol_index, open_time, returns = long_form(3)
    times, matrix = returns_matrix(symbol_index, open_time, returns)
    past = open_time <= times[11]
    past_times, past_matrix = returns_matrix(symbol_index[past], open_time[past], returns[past])
    np.testing.assert_array_equal(past_times, times[:12])
    np.testing.assert_array_equal(past_matrix, matrix[:12])
