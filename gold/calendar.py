"""When an index is determined, and from when to when each determination is held.

All times are UTC microseconds. A determination stamped `as_of` knows every bar that had closed by
then and no other. With execution `next_open` its trades are done at the open of the bar that
opens at `start`, with `close` at the close of the bar before, which is the same instant.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from gold.returns import IntArray
from lakehouse.intervals import MICROS_PER_DAY, Interval, interval_micros
from lakehouse.settings import Calendar

# 1970-01-05 was the first Monday of the epoch.
_FIRST_MONDAY: Final = 4


@dataclass(frozen=True)
class HoldingPeriod:
    """From the trades of one determination to those of the next.

    Attributes:
        as_of: The determination's date, exclusive end of what was known.
        start: When its trades are done: `as_of` and the delay.
        end: When the next determination's trades are done; of the last period, the close of the
            market's last bar. The period's bars open in [start, end).
    """

    as_of: int
    start: int
    end: int


def rebalance_dates(
    first_open: int, last_open: int, interval: Interval, calendar: Calendar, lookback_days: int
) -> IntArray:
    """Determination dates of a market: the ends of months, weeks or quarters that its bars span.

    Args:
        first_open: Open of the market's first bar.
        last_open: Open of its last bar.
        interval: Length of a bar.
        calendar: Months, weeks (from Monday on) or quarters.
        lookback_days: Days of candles that a determination needs.

    Returns:
        Ascending `as_of`: the first instants of a month, week or quarter by which the bars cover
        the lookback in full and the month's, week's or quarter's last bar has closed.
    """
    earliest = first_open + lookback_days * MICROS_PER_DAY
    last_close = last_open + interval_micros(interval)
    day = np.arange(first_open // MICROS_PER_DAY, last_close // MICROS_PER_DAY + 1)
    if calendar == "weekly":
        begins = day % 7 == _FIRST_MONDAY
    else:
        date = day.astype("datetime64[D]")
        month = date.astype("datetime64[M]")
        begins = date == month.astype("datetime64[D]")
        if calendar == "quarterly":
            begins &= month.astype(np.int64) % 3 == 0
    dates: IntArray = day[begins] * MICROS_PER_DAY
    return dates[(earliest <= dates) & (dates <= last_close)]


def holding_periods(
    dates: IntArray, last_open: int, interval: Interval, delay_bars: int
) -> tuple[HoldingPeriod, ...]:
    """The periods over which determinations are held, those that have a bar.

    Args:
        dates: Ascending determination dates.
        last_open: Open of the market's last bar.
        interval: Length of a bar.
        delay_bars: Bars between a determination and its effect.

    Returns:
        One period for each determination that has taken effect before the last bar closed; the
        next one starts where one ends.
    """
    step = interval_micros(interval)
    last_close = last_open + step
    starts = [int(date) + delay_bars * step for date in dates]
    return tuple(
        HoldingPeriod(int(as_of), start, min(end, last_close))
        for as_of, (start, end) in zip(dates, pairwise([*starts, last_close]), strict=True)
        if start < last_close
    )
