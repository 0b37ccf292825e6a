"""Missing shares against a count bar by bar."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from silver.outages import missing_shares

# A symbol's bars: from its first to its last, with a hole or none in between.
symbols = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 10), st.integers(0, 10), st.integers(1, 10)),
    min_size=1,
    max_size=12,
)


def counted(start: int, end: int, spans: list[tuple[int, int, int, int]]) -> float:
    missing = live = 0
    for bar in range(start, end):
        for first, before, hole, after in spans:
            gap = range(first + before, first + before + hole)
            live += first <= bar < first + before + hole + after
            missing += bar in gap
    return missing / live


@given(symbols, st.sampled_from([0, 1_700_000_000_000_000]))
def test_equals_a_count_bar_by_bar(spans: list[tuple[int, int, int, int]], origin: int) -> None:
    gaps = [(f + b, f + b + hole) for f, b, hole, _ in spans if hole]
    first = np.array([s[0] for s in spans]) + origin
    last_end = np.array([sum(s) for s in spans]) + origin
    start = np.array([g[0] for g in gaps], dtype=np.int64) + origin
    end = np.array([g[1] for g in gaps], dtype=np.int64) + origin
    expected = [counted(s, e, spans) for s, e in gaps]
    np.testing.assert_array_equal(missing_shares(start, end, first, last_end), expected)


def test_a_hole_that_all_symbols_share_is_whole() -> None:
    hole = np.array([3, 3]), np.array([5, 5])
    share = missing_shares(*hole, np.array([0, 1]), np.array([9, 9]))
    np.testing.assert_array_equal(share, [1.0, 1.0])
