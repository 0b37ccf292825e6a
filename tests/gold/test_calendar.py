"""Rebalance dates and holding periods: exact tables."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gold.calendar import Calendar, HoldingPeriod, holding_periods, rebalance_dates
from lakehouse.intervals import MICROS_PER_DAY, Interval, interval_micros


def micros(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def days(found: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> list[str]:
    return [
        f"{datetime.fromtimestamp(at / 1e6, UTC):%Y-%m-%dT%H:%M}".removesuffix("T00:00")
        for at in found
    ]


@pytest.mark.parametrize(
    ("first", "last", "calendar", "lookback", "expected"),
    [
        # The bar that opens at 20:00 is the month's last: only with it is the month over.
        ("2024-12-01", "2025-02-28T20:00", "monthly", 50, ["2025-02-01", "2025-03-01"]),
        ("2024-10-01", "2025-02-28T16:00", "monthly", 90, ["2025-01-01", "2025-02-01"]),
        # 92 days from October to December: a lookback of 93 is not covered in full.
        ("2024-10-01", "2025-02-01", "monthly", 92, ["2025-01-01", "2025-02-01"]),
        ("2024-10-01", "2025-02-01", "monthly", 93, ["2025-02-01"]),
        ("2024-10-01T04:00", "2025-02-01", "monthly", 92, ["2025-02-01"]),
        ("2024-02-01", "2024-03-01", "monthly", 29, ["2024-03-01"]),  # a leap year
        ("2024-10-01", "2025-08-01", "quarterly", 30, ["2025-01-01", "2025-04-01", "2025-07-01"]),
        ("2024-12-27", "2025-01-13", "weekly", 3, ["2024-12-30", "2025-01-06", "2025-01-13"]),
        ("2024-12-27", "2024-12-28", "monthly", 1, []),
        ("2024-12-27", "2025-01-02", "monthly", 90, []),
    ],
)  # fmt: skip
def test_table_of_rebalance_dates(
    first: str, last: str, calendar: Calendar, lookback: int, expected: list[str]
) -> None:
    assert days(rebalance_dates(micros(first), micros(last), "4h", calendar, lookback)) == expected


@settings(max_examples=60, deadline=None)
@given(
    st.integers(17_000, 20_000),
    st.integers(0, 800),
    st.sampled_from(["1h", "4h", "1d"]),
    st.sampled_from(["monthly", "weekly", "quarterly"]),
    st.integers(1, 120),
)
def test_rebalance_dates_are_those_that_a_calendar_shows(
    first_day: int, length: int, interval: Interval, calendar: Calendar, lookback: int
) -> None:
    first, last = first_day * MICROS_PER_DAY, (first_day + length) * MICROS_PER_DAY
    begun = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=first_day)
    expected = []
    for number in range(length + 2):
        day = begun + timedelta(days=number)
        begins = {
            "weekly": day.weekday() == 0,
            "monthly": day.day == 1,
            "quarterly": day.day == 1 and day.month in (1, 4, 7, 10),
        }[calendar]
        closed = day <= begun + timedelta(days=length, microseconds=interval_micros(interval))
        if begins and closed and number >= lookback:
            expected.append(f"{day:%Y-%m-%d}")
    assert days(rebalance_dates(first, last, interval, calendar, lookback)) == expected


def test_a_later_last_bar_only_adds_dates() -> None:
    first = micros("2024-10-01")
    whole = rebalance_dates(first, micros("2025-12-31T20:00"), "4h", "monthly", 90)
    part = rebalance_dates(first, micros("2025-06-13T08:00"), "4h", "monthly", 90)
    assert part.tolist() == whole[: part.size].tolist()


def test_table_of_holding_periods() -> None:
    dates = np.array([micros("2025-01-01"), micros("2025-02-01"), micros("2025-03-01")])
    last = micros("2025-02-28T20:00")
    january, february, march = (int(at) for at in dates)
    # March's determination is made, but no bar has followed it.
    assert holding_periods(dates, last, "4h", 0) == (
        HoldingPeriod(january, january, february),
        HoldingPeriod(february, february, march),
    )
    later = 2 * interval_micros("4h")
    assert holding_periods(dates, last, "4h", 2) == (
        HoldingPeriod(january, january + later, february + later),
        HoldingPeriod(february, february + later, march),
    )
    assert holding_periods(dates, last + later, "4h", 2)[-1].end == march + later
    assert holding_periods(dates, last + later, "4h", 1)[-1] == HoldingPeriod(
        march, march + later // 2, march + later
    )
    assert holding_periods(dates[:0], last, "4h", 0) == ()
