"""Alignment against a plain loop, and its promise that no later bar changes an earlier row."""

from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from lakehouse.intervals import interval_micros
from silver.alignment import align

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HOUR = interval_micros("1h")
MAX_FILL = 2
SCHEMA = (
    "market string, interval string, symbol string, open_us bigint, open double, high double, "
    "low double, close double, volume double, quote_volume double, taker_buy_base double, "
    "taker_buy_quote double, trades bigint, warnings array<string>, source_file string, "
    "line bigint, segment int"
)

Bars = dict[str, list[int]]
Aligned = list[tuple[str, int, float, bool, int]]

# For each symbol, the hours at which it has a bar.
markets = st.dictionaries(
    st.sampled_from([f"S{i}" for i in range(8)]),
    st.sets(st.integers(0, 30), min_size=1).map(sorted),
    min_size=1,
)


def close_at(symbol: str, hour: int) -> float:
    return 1.0 + hour + 100 * int(symbol[1:])


def aligned_by_spark(spark: "SparkSession", bars: Bars, market_last: int) -> Aligned:
    rows: list[tuple[object, ...]] = [
        (
            "um", "1h", symbol, hour * HOUR, 1.0, 200_000.0, 0.5, close_at(symbol, hour),
            2.0, 3.0, 1.0, 1.5, 4, [], "file", hour, None,
        )
        for symbol, hours in bars.items()
        for hour in hours
    ]  # fmt: skip
    frame = align(spark.createDataFrame(rows, SCHEMA), "1h", MAX_FILL, market_last * HOUR)
    table = frame.selectExpr(
        "symbol", f"unix_micros(open_time) div {HOUR} hour", "close", "is_filled", "segment"
    ).toArrow()
    return sorted(tuple(row.values()) for row in table.to_pylist())


def aligned_by_loop(bars: Bars, market_last: int) -> Aligned:
    result: Aligned = []
    for symbol, hours in bars.items():
        segment = 1
        for hour in range(hours[0], market_last + 1):
            seen = [h for h in hours if h <= hour]
            missing = hour - seen[-1]
            if missing == 0:
                if len(seen) > 1 and hour - seen[-2] - 1 > MAX_FILL:
                    segment += 1
                result.append((symbol, hour, close_at(symbol, hour), False, segment))
            elif missing <= MAX_FILL:
                result.append((symbol, hour, close_at(symbol, seen[-1]), True, segment))
    return sorted(result)


@given(markets)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_equals_a_plain_loop(spark: "SparkSession", bars: Bars) -> None:
    last = max(hours[-1] for hours in bars.values())
    assert aligned_by_spark(spark, bars, last) == aligned_by_loop(bars, last)


@given(markets, st.integers(0, 30))
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_cutting_the_future_changes_no_past_row(
    spark: "SparkSession", bars: Bars, cut: int
) -> None:
    known = {s: [h for h in hours if h <= cut] for s, hours in bars.items()}
    known = {s: hours for s, hours in known.items() if hours}
    if not known:
        return
    known_last = max(hours[-1] for hours in known.values())
    whole = aligned_by_spark(spark, bars, max(hours[-1] for hours in bars.values()))
    past = [row for row in whole if row[0] in known and row[1] <= known_last]
    assert aligned_by_spark(spark, known, known_last) == past


def test_filled_bars_are_flat_and_untraced(spark: "SparkSession") -> None:
    row = ("um", "1h", "S0", 0, 1.0, 9.0, 0.5, 5.0, 2.0, 3.0, 1.0, 1.5, 4, ["w"], "file", 1, None)
    frame = align(spark.createDataFrame([row], SCHEMA), "1h", MAX_FILL, HOUR)
    real, filled = (r.asDict() for r in frame.orderBy("open_time").collect())
    assert (real["open"], real["high"], real["low"], real["close"]) == (1.0, 9.0, 0.5, 5.0)
    assert (filled["open"], filled["high"], filled["low"], filled["close"]) == (5.0,) * 4
    for name in ("volume", "quote_volume", "taker_buy_base", "taker_buy_quote", "trades"):
        assert filled[name] == 0
    assert (filled["source_file"], filled["line"], filled["warnings"]) == (None, None, None)
    assert (real["source_file"], real["line"], real["warnings"]) == ("file", 1, ["w"])
    assert filled["month"] == "1970-01"


@pytest.mark.parametrize(("previous", "expected"), [(3, 3), (None, 1)])
def test_a_series_is_carried_on_in_its_segment(
    spark: "SparkSession", previous: int | None, expected: int
) -> None:
    rows: list[tuple[object, ...]] = [
        ("um", "1h", "S0", h * HOUR, 5.0, 5.0, 5.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0, [], "f", h, segment)
        for h, segment in ((0, previous), (1, None), (10, None))
    ]
    frame = align(spark.createDataFrame(rows, SCHEMA), "1h", MAX_FILL, 10 * HOUR)
    found = frame.where("NOT is_filled").orderBy("open_time").select("segment").collect()
    assert [r[0] for r in found] == [expected, expected, expected + 1]
