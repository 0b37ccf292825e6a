"""Rows of Arrow as matrices of bars."""

import numpy as np
import pyarrow as pa

from gold.factor_panel import by_bar, factor_panel

NAN = float("nan")


def test_rows_outside_of_the_panel_are_left_out_of_candles_and_of_series() -> None:
    bars = pa.array([9, 14, 11, 10, 13])
    series = pa.table({"bar": bars, "a": [1.0, 2.0, 3.0, None, 5.0]})
    np.testing.assert_array_equal(by_bar(series, ("a",), 10, 4), [[NAN, 3.0, NAN, 5.0]])
    prices = {"open": [1.0] * 5, "close": [9.0, 9.0, 2.0, 1.0, 3.0]}
    candles = pa.table({"bar": bars, "symbol": ["A"] * 5, **prices})
    np.testing.assert_array_equal(factor_panel(candles, 10, 4).returns, [[0.0, 1.0, NAN, 2.0]])
