import math
from datetime import UTC, datetime

import pandas as pd
import pytest

from lakehouse.intervals import (
    INTERVALS,
    Interval,
    bars_per_year,
    interval_micros,
    interval_minutes,
)


@pytest.mark.parametrize(
    ("interval", "minutes", "year"),
    [
        ("1m", 1, 525_600),
        ("15m", 15, 35_040),
        ("1h", 60, 8_760),
        ("4h", 240, 2_190),
        ("1d", 1_440, 365),
    ],
)
def test_lengths_and_bars_per_year(interval: Interval, minutes: int, year: int) -> None:
    assert interval_minutes(interval) == minutes
    assert interval_micros(interval) == minutes * 60 * 10**6
    assert bars_per_year(interval) == year


@pytest.mark.parametrize("interval", INTERVALS)
def test_every_interval_is_as_long_as_its_name_says(interval: Interval) -> None:
    assert interval_micros(interval) == pd.Timedelta(interval) / pd.Timedelta("1us")
    assert bars_per_year(interval) * interval_minutes(interval) == 365 * 24 * 60


@pytest.mark.parametrize("interval", INTERVALS)
def test_the_grid_of_every_interval_starts_at_midnight(interval: Interval) -> None:
    assert (24 * 60) % interval_minutes(interval) == 0
    midnight = datetime(2024, 2, 29, tzinfo=UTC)
    assert int(midnight.timestamp() * 1e6) % interval_micros(interval) == 0


def test_bars_per_year_is_no_count_of_trading_days() -> None:
    assert math.isclose(bars_per_year("4h"), 365 * 24 / 4)
