"""Sums of products over every window of a series, from prefix and suffix sums of fixed segments.

Time is cut into segments of the window's length, counted from bar 0 of the epoch. A window that
ends within one segment is a tail of the segment before and a head of its own, so its sum is one
addition. Nothing is ever subtracted: a value that has left the window leaves no trace, however
large it was, and rounding does not build up. As the segments do not depend on where a series
begins, neither do the sums, to the last bit.

A segment is laid out as `steps` x `strides` bars, bar `stride * steps + step` at [step, stride], so
that running sums are a few additions of long vectors; the sums of whole strides are carried on.

Source: van Herk, "A fast algorithm for local minimum and maximum filters on rectangular and
octagonal kernels" (1992), with addition in the place of the minimum.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from gold.compiled import compiled
from gold.returns import FloatArray, IntArray

# Strides to each step: long vectors, and still few bars to a running sum.
_STRIDES_PER_STEP: Final = 10


@dataclass(frozen=True)
class Segments:
    """How a series of bars lies on the segments.

    Attributes:
        window: Bars of a window and of a segment.
        lead: Bars of the first segment before the series begins, 1 to `window`: the first window
            ends in a segment that has one before it.
        bars: Bars of the series.
    """

    window: int
    lead: int
    bars: int

    @classmethod
    def of(cls, first_bar: int, bars: int, window: int) -> "Segments":
        """Segments of a series whose first bar is number `first_bar` since the epoch."""
        return cls(window, (first_bar - 1) % window + 1, bars)

    @property
    def count(self) -> int:
        """Segments from the first to the one that the series ends in."""
        return -(-(self.lead + self.bars) // self.window)

    @property
    def steps(self) -> int:
        """Bars that are added up one by one, if possible so many that all strides are whole."""
        least = math.ceil(math.sqrt(self.window / _STRIDES_PER_STEP))
        return next((n for n in range(least, 2 * least) if self.window % n == 0), least)

    @property
    def strides(self) -> int:
        """Runs of `steps` bars in a segment; the last may be cut short."""
        return -(-self.window // self.steps)

    def cut(self, values: FloatArray, which: slice) -> FloatArray:
        """(n, bars) values as (n, s, steps, strides) of some consecutive segments.

        A bar outside the series is 0.
        """
        count = which.stop - which.start
        start = which.start * self.window - self.lead
        bars = slice(max(start, 0), min(start + count * self.window, self.bars))
        whole = np.zeros((len(values), count * self.window))
        whole[:, bars.start - start : bars.stop - start] = values[:, bars]
        padded = whole.reshape(len(values), count, self.window)
        if padding := self.strides * self.steps - self.window:
            padded = np.pad(padded, [(0, 0), (0, 0), (0, padding)])
        cut = padded.reshape(len(values), count, self.strides, self.steps)
        return np.ascontiguousarray(cut.swapaxes(-1, -2))

    def joined(self, values: FloatArray) -> FloatArray:
        """(..., s, steps, strides) values in the order of their bars, (..., s * window)."""
        by_segment = values.swapaxes(-1, -2)
        shape = by_segment.shape[:-2]
        bars = by_segment.reshape(*shape, -1)[..., : self.window]
        return bars.reshape(*shape[:-1], -1)


@compiled(
    "void(float64[:, :, :, ::1], float64[:, :, :, ::1], int64[::1], int64[::1],"
    " float64[:, :, :, ::1])"
)
def sums_of_products(
    a: FloatArray, b: FloatArray, left: IntArray, right: IntArray, sums: FloatArray
) -> None:
    """Sums, over the window that ends at each bar of all segments but the first, of a * b.

    Args:
        a: (n, s + 1, steps, strides) values at consecutive segments.
        b: (m, s + 1, steps, strides) others.
        left: Row of `a` in each product.
        right: Row of `b` in each product.
        sums: (len(left), s, steps, strides), filled; a NaN or infinity stays within the windows
            that hold it.
    """
    _, segments, steps, strides = a.shape
    tails, carried = np.empty(strides), np.empty(strides)
    for product in range(left.size):
        for segment in range(1, segments):
            x, y = a[left[product], segment], b[right[product], segment]
            out = sums[product, segment - 1]
            for t in range(strides):
                out[0, t] = x[0, t] * y[0, t]
            for step in range(1, steps):
                for t in range(strides):
                    out[step, t] = out[step - 1, t] + x[step, t] * y[step, t]
            total = 0.0
            for t in range(strides):
                carried[t] = total
                total += out[-1, t]
            # Of the segment before, the bars after the one that has just left the window.
            x, y = a[left[product], segment - 1], b[right[product], segment - 1]
            for t in range(strides):
                tails[t] = x[-1, t] * y[-1, t]
            for step in range(steps - 2, -1, -1):
                for t in range(strides):
                    out[step, t] += tails[t]
                    tails[t] += x[step, t] * y[step, t]
            total = 0.0
            for t in range(strides - 1, -1, -1):
                carried[t] += total
                total += tails[t]
            for step in range(steps):
                for t in range(strides):
                    out[step, t] += carried[t]


def rolling_sum(values: FloatArray, window: int, first_bar: int) -> FloatArray:
    """Sum of the window that ends at each bar.

    Args:
        values: (..., n) values, one for each bar.
        window: Bars of a window.
        first_bar: Number of the first bar, counted from the epoch.

    Returns:
        (..., n) sums, each of the bar and the window - 1 before it; a bar before the first is 0.
    """
    rows = np.vstack([values.reshape(-1, values.shape[-1]), np.ones(values.shape[-1])])
    segments = Segments.of(first_bar, values.shape[-1], window)
    # The first segment has none before it.
    cut = segments.cut(rows, slice(-1, segments.count))
    series = np.arange(len(rows) - 1)
    sums = np.empty((series.size, segments.count, *cut.shape[2:]))
    sums_of_products(cut, cut, series, np.full_like(series, series.size), sums)
    joined = segments.joined(sums).reshape(*values.shape[:-1], -1)
    return joined[..., segments.lead : segments.lead + segments.bars]
