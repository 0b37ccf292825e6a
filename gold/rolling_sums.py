"""Sums over every window of a series, from prefix and suffix sums of fixed segments.

Time is cut into segments of the window's length, counted from bar 0 of the epoch. A window that
ends within one segment is a tail of the segment before and a head of its own, so its sum is one
addition. Nothing is ever subtracted: a value that has left the window leaves no trace, however
large it was, and rounding does not build up. As the segments do not depend on where a series
begins, neither do the sums, to the last bit.

A segment is laid out as `steps` x `strides` bars, bar `stride * steps + step` at [step, stride], so
that running sums are a few additions of long vectors; the sums of whole strides are carried on.
The series that are summed lie between the two, which makes the vectors longer by their number.

Source: van Herk, "A fast algorithm for local minimum and maximum filters on rectangular and
octagonal kernels" (1992), with addition in the place of the minimum.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from gold.returns import FloatArray

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
        """Runs of `steps` bars in a segment, two or more; the last may be cut short."""
        return max(2, -(-self.window // self.steps))

    def cut(self, values: FloatArray) -> FloatArray:
        """(..., bars) values as (count, steps, ..., strides); a bar outside the series is 0."""
        shape = values.shape[:-1]
        whole = np.zeros((*shape, self.count * self.window))
        whole[..., self.lead : self.lead + self.bars] = values
        padded = whole.reshape(*shape, self.count, self.window)
        if padding := self.strides * self.steps - self.window:
            padded = np.pad(padded, [*[(0, 0)] * (len(shape) + 1), (0, padding)])
        cut = padded.reshape(*shape, self.count, self.strides, self.steps)
        return np.ascontiguousarray(np.moveaxis(cut, (-3, -1), (0, 1)))

    def joined(self, values: FloatArray) -> FloatArray:
        """(..., s, steps, strides) values in the order of their bars, (..., s * window)."""
        by_segment = np.moveaxis(values, -2, -1)
        shape = by_segment.shape[:-2]
        bars = by_segment.reshape(*shape, -1)[..., : self.window]
        return bars.reshape(*shape[:-1], -1)


def sums_of_windows(segments: FloatArray) -> FloatArray:
    """Sum of the window that ends at each bar of all segments but the first.

    Args:
        segments: (s + 1, steps, ..., strides) consecutive segments; overwritten.

    Returns:
        (..., s, steps, strides) sums, not contiguous; a NaN or infinity stays within the windows
        that hold it.
    """
    own, before = segments[1:], segments[:-1]
    sums = np.empty_like(own)
    sums[:, 0] = own[:, 0]
    for step in range(1, own.shape[1]):
        np.add(sums[:, step - 1], own[:, step], out=sums[:, step])
    carried = np.zeros_like(sums[:, 0])
    np.cumsum(sums[:, -1, ..., :-1], axis=-1, out=carried[..., 1:])
    # Of the segment before, the bars after the one that has just left the window.
    for step in reversed(range(own.shape[1] - 1)):
        before[:, step] += before[:, step + 1]
    sums[:, :-1] += before[:, 1:]
    carried[..., :-1] += np.cumsum(before[:, 0, ..., :0:-1], axis=-1)[..., ::-1]
    sums += carried[:, None]
    return np.moveaxis(sums, (0, 1), (-3, -2))


def rolling_sum(values: FloatArray, window: int, first_bar: int) -> FloatArray:
    """Sum of the window that ends at each bar.

    Args:
        values: (..., n) values, one for each bar.
        window: Bars of a window.
        first_bar: Number of the first bar, counted from the epoch.

    Returns:
        (..., n) sums, each of the bar and the window - 1 before it; a bar before the first is 0.
    """
    segments = Segments.of(first_bar, values.shape[-1], window)
    cut = segments.cut(values)
    sums = segments.joined(sums_of_windows(np.concatenate([np.zeros_like(cut[:1]), cut])))
    return sums[..., segments.lead : segments.lead + segments.bars]
