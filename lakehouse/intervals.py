"""Bar intervals in Binance's spelling.

A bar is named by its `open_time`, covers `[open_time, open_time + interval)` in UTC and is known
at its close. Every interval here divides the UTC day, so the grid starts at the epoch.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, Literal, get_args

Interval = Literal["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"]

INTERVALS: tuple[Interval, ...] = get_args(Interval)

MICROS_PER_DAY: Final = 24 * 60 * 60 * 1_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIT_MINUTES = {"m": 1, "h": 60, "d": 24 * 60}
_MINUTES_PER_YEAR = 365 * 24 * 60


def interval_minutes(interval: Interval) -> int:
    """Length of one bar in minutes (240 for `4h`)."""
    return int(interval[:-1]) * _UNIT_MINUTES[interval[-1]]


def interval_micros(interval: Interval) -> int:
    """Length of one bar in microseconds, the unit of a Delta TIMESTAMP."""
    return interval_minutes(interval) * 60_000_000


def bars_per_year(interval: Interval) -> float:
    """Bars in a 365-day year of round-the-clock trading: 2,190 for `4h`, never 252."""
    return _MINUTES_PER_YEAR / interval_minutes(interval)


def instant(micros: int) -> datetime:
    """The time, in UTC, so many microseconds after the epoch."""
    return _EPOCH + timedelta(microseconds=micros)
