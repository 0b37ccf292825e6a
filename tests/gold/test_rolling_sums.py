"""Window sums against plain sums, and what they must not depend on."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gold.rolling_sums import Segments, rolling_sum

SERIES = st.tuples(st.integers(1, 40), st.integers(1, 90), st.integers(0, 2**32 - 1))


def series(bars: int, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.random.default_rng(seed).normal(size=(2, bars))


@settings(max_examples=50, deadline=None)
@given(SERIES, st.integers(0, 10**8))
def test_each_window_is_its_own_sum(given_: tuple[int, int, int], first_bar: int) -> None:
    window, bars, seed = given_
    values = series(bars, seed)
    found = rolling_sum(values, window, first_bar)
    for row, sums in zip(values, found, strict=True):
        exact = [math.fsum(row[max(0, t - window + 1) : t + 1]) for t in range(bars)]
        np.testing.assert_allclose(sums, exact, rtol=1e-13, atol=1e-14)


@settings(max_examples=50, deadline=None)
@given(SERIES, st.integers(0, 10**8), st.data())
def test_a_series_that_begins_later_has_the_same_bits(
    given_: tuple[int, int, int], first_bar: int, data: st.DataObject
) -> None:
    window, bars, seed = given_
    values = series(bars, seed)
    cut = data.draw(st.integers(0, bars - 1))
    whole = rolling_sum(values, window, first_bar)[:, cut + window - 1 :]
    later = rolling_sum(values[:, cut:], window, first_bar + cut)[:, window - 1 :]
    np.testing.assert_array_equal(whole, later)


@settings(max_examples=50, deadline=None)
@given(SERIES, st.integers(0, 10**8), st.data())
def test_what_has_left_the_window_leaves_no_trace(
    given_: tuple[int, int, int], first_bar: int, data: st.DataObject
) -> None:
    window, bars, seed = given_
    values = series(bars, seed)
    at = data.draw(st.integers(0, bars - 1))
    spiked = values.copy()
    spiked[:, at] = data.draw(st.sampled_from([1e8, -1e300, np.nan, np.inf]))
    outside = np.ones(bars, dtype=np.bool_)
    outside[at : at + window] = False
    np.testing.assert_array_equal(
        rolling_sum(spiked, window, first_bar)[:, outside],
        rolling_sum(values, window, first_bar)[:, outside],
    )


def test_segments_are_counted_from_the_epoch() -> None:
    # Bar 2,883 is the fourth of its segment of 1,440; a bar that begins one has a whole before it.
    assert Segments.of(2_883, 10, 1_440).lead == 3
    assert Segments.of(2_880, 10, 1_440).lead == 1_440
    segments = Segments.of(7, 5, 4)
    values = np.arange(5.0)
    # Bars 7 to 11 of segments 4..7 and 8..11.
    laid_out = segments.joined(segments.cut(values[None], slice(0, 2)))
    assert laid_out.tolist() == [[0, 0, 0, 0, 1, 2, 3, 4]]
