"""Which holes are outages of the exchange: plain numpy, no Spark."""

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def missing_shares(
    gap_start: IntArray, gap_end: IntArray, first: IntArray, last_end: IntArray
) -> FloatArray:
    """Share of the live symbols' bars that are missing during each hole.

    A symbol is live from its first bar to the end of its last one, holes included. The share is
    over all bars of the hole, so that a hole longer than an outage is judged by all its length.

    Args:
        gap_start: (holes,) start of each hole, microseconds since the epoch, UTC.
        gap_end: (holes,) its end, exclusive, after gap_start.
        first: (symbols,) open_time of each symbol's first bar.
        last_end: (symbols,) end of each symbol's last bar, exclusive.

    Returns:
        (holes,) numbers in (0, 1], in the order given.
    """
    missing = _covered(gap_start, gap_end, gap_end) - _covered(gap_start, gap_end, gap_start)
    live = _covered(first, last_end, gap_end) - _covered(first, last_end, gap_start)
    return missing / live


def _covered(starts: IntArray, ends: IntArray, until: IntArray) -> IntArray:
    """Total length of all the spans [start, end) that lies before each time, exactly."""
    return _elapsed(starts, until) - _elapsed(ends, until)


def _elapsed(marks: IntArray, until: IntArray) -> IntArray:
    """Sum over the marks before each time of the time since the mark."""
    ordered = np.sort(marks)
    # Offsets from the earliest mark keep the sums far below the limit of 64 bits.
    origin = ordered[0] if ordered.size else 0
    sums = np.concatenate(([0], np.cumsum(ordered - origin)))
    count = np.searchsorted(ordered, until, side="left")
    return np.asarray(count * (until - origin) - sums[count], dtype=np.int64)
