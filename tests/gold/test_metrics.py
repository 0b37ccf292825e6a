"""Metrics of one symbol, against tables worked out by hand, numpy, pandas and polars."""

from dataclasses import FrozenInstanceError
from math import log, sqrt

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gold.metrics import AssetMetrics, asset_metrics, max_drawdown, median_daily_quote_volume
from gold.returns import FloatArray, IntArray

NAN = float("nan")
HOUR = 3_600_000_000
DAY = 24 * HOUR
MIDNIGHT = 1_727_740_800_000_000  # 2024-10-01T00:00Z


def metrics_of(close: FloatArray, segment: IntArray | None = None) -> AssetMetrics:
    if segment is None:
        segment = np.zeros(close.size, dtype=np.int64)
    open_time = MIDNIGHT + 4 * HOUR * np.arange(close.size)
    return asset_metrics(open_time, close, segment, np.ones(close.size), "4h")


def up_and_down(returns: int) -> FloatArray:
    """Closes whose log returns are ln 2 and -ln 2 in turn, ln 2 first."""
    return np.array([1.0 + bar % 2 for bar in range(returns + 1)])


def test_metrics_of_a_table_by_hand() -> None:
    # 51 returns: ln 2 twenty-six times, -ln 2 twenty-five times; their sum is ln 2.
    metrics = metrics_of(up_and_down(51))
    mean = log(2) / 51
    deviation = sqrt((26 * (log(2) - mean) ** 2 + 25 * (log(2) + mean) ** 2) / 50)
    assert (metrics.bars, metrics.returns) == (52, 51)
    assert metrics.annual_return == pytest.approx(2190 * mean, rel=1e-14)
    assert metrics.annual_volatility == pytest.approx(deviation * sqrt(2190), rel=1e-14)
    assert metrics.sharpe == pytest.approx(mean / deviation * sqrt(2190), rel=1e-14)
    assert metrics.max_drawdown == -0.5
    assert metrics.median_daily_quote_volume == 6.0


def test_fifty_returns_are_too_few() -> None:
    metrics = metrics_of(up_and_down(50))
    assert (metrics.bars, metrics.returns) == (51, 50)
    assert metrics.annual_return is None
    assert metrics.annual_volatility is None
    assert metrics.sharpe is None
    assert metrics.max_drawdown == -0.5


def test_a_segment_break_takes_a_return_away() -> None:
    close = up_and_down(51)
    metrics = metrics_of(close, (np.arange(close.size) >= 30).astype(np.int64))
    assert (metrics.bars, metrics.returns) == (52, 50)
    assert metrics.sharpe is None


def test_no_bars_at_all() -> None:
    assert metrics_of(np.empty(0)) == AssetMetrics(0, 0, None, None, None, None, None)


def test_equal_returns_have_no_volatility_and_no_sharpe() -> None:
    close = np.ldexp(np.ones(70), np.arange(70))
    assert np.full(69, log(2)).std(ddof=1) > 0  # the rounding residue of the plain formula
    metrics = metrics_of(close)
    assert metrics.annual_return == pytest.approx(2190 * log(2), rel=1e-14)
    assert metrics.annual_volatility == 0.0
    assert metrics.sharpe is None


def test_a_flat_price_has_a_return_of_zero() -> None:
    metrics = metrics_of(np.full(60, 0.1))
    assert (metrics.annual_return, metrics.annual_volatility, metrics.sharpe) == (0.0, 0.0, None)
    assert metrics.max_drawdown == 0.0


def test_a_missing_close_takes_two_returns_and_no_drawdown() -> None:
    close = up_and_down(53)
    close[20] = NAN
    metrics = metrics_of(close)
    assert (metrics.bars, metrics.returns) == (54, 51)
    assert metrics.sharpe is not None
    assert metrics.max_drawdown == -0.5
    assert metrics_of(np.full(60, NAN)).max_drawdown is None


@pytest.mark.parametrize(
    ("close", "segment", "expected"),
    [
        ([100.0, 80.0, 120.0, 90.0], [0, 0, 0, 0], -0.25),
        ([1.0, 2.0, 3.0], [0, 0, 0], 0.0),
        ([5.0], [0], 0.0),
        # Two coins under one name: neither the fall nor the rise between them counts.
        ([80.0, 60.0, 0.00005, 0.00004], [0, 0, 1, 1], -0.25),
        ([0.00005, 8.61, 4.305], [0, 1, 1], -0.5),
        ([100.0, NAN, 50.0], [0, 0, 0], -0.5),
        ([NAN, 100.0, -7.0, float("inf"), 90.0], [0, 0, 0, 0, 0], -0.1),
    ],
)
def test_max_drawdown_by_hand(close: list[float], segment: list[int], expected: float) -> None:
    drawdown = max_drawdown(np.array(close), np.array(segment))
    assert drawdown == pytest.approx(expected, rel=1e-15)


def test_median_daily_volume_counts_the_days_that_have_bars() -> None:
    # 1 October 10 + 20, 2 October none, 3 October a filled bar alone, 4 October 7.
    open_time = np.array([20 * HOUR, 23 * HOUR, 2 * DAY, 3 * DAY]) + MIDNIGHT
    assert median_daily_quote_volume(open_time, np.array([10.0, 20.0, 0.0, 7.0])) == 7.0
    assert median_daily_quote_volume(open_time[:3], np.array([10.0, 20.0, 0.0])) == 15.0


def test_median_daily_volume_cuts_days_at_midnight_utc() -> None:
    open_time = np.array([MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + DAY - 1, MIDNIGHT + DAY])
    assert median_daily_quote_volume(open_time, np.array([1.0, 2.0, 3.0, 100.0])) == 5.0


def test_median_daily_volume_is_unknown_where_a_volume_is_missing() -> None:
    open_time = MIDNIGHT + DAY * np.arange(3)
    assert median_daily_quote_volume(open_time, np.array([1.0, NAN, 2.0])) is None
    assert median_daily_quote_volume(open_time[:0], np.empty(0)) is None


def walk(seed: int, bars: int = 400) -> tuple[IntArray, FloatArray, IntArray, FloatArray]:
    """Candles with three segments, holes between them, and some filled bars."""
    rng = np.random.default_rng(seed)
    segment = np.searchsorted([bars // 3, bars // 2], np.arange(bars), side="right")
    open_time = MIDNIGHT + 4 * HOUR * (np.arange(bars) + 40 * segment)
    close = 100 * np.exp(np.cumsum(0.02 * rng.standard_t(4, bars)))
    filled = rng.random(bars) < 0.05
    close[1:][filled[1:]] = close[:-1][filled[1:]]
    return open_time, close, segment, np.where(filled, 0.0, rng.lognormal(12, 1, bars))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_metrics_equal_pandas_and_polars(seed: int) -> None:
    open_time, close, segment, quote_volume = walk(seed)
    metrics = asset_metrics(open_time, close, segment, quote_volume, "4h")
    frame = pd.DataFrame({"close": close, "segment": segment})
    by_segment = frame.groupby("segment")["close"]
    returns = (frame["close"] / by_segment.shift(1)).dropna().map(log)
    daily = (
        pl.DataFrame({"t": open_time, "v": quote_volume})
        .with_columns(pl.col("t").cast(pl.Datetime("us")))
        .group_by_dynamic("t", every="1d")
        .agg(pl.col("v").sum())
    )
    assert (metrics.bars, metrics.returns) == (400, 397)
    assert metrics.annual_return == pytest.approx(returns.mean() * 2190, rel=1e-12)
    assert metrics.annual_volatility == pytest.approx(returns.std() * sqrt(2190), rel=1e-12)
    assert metrics.sharpe == pytest.approx(returns.mean() / returns.std() * sqrt(2190), rel=1e-12)
    assert metrics.max_drawdown == pytest.approx(
        (frame["close"] / by_segment.cummax() - 1).min(), rel=1e-12
    )
    assert metrics.median_daily_quote_volume == pytest.approx(daily["v"].median(), rel=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(min_value=1e-3, max_value=1e3))
def test_metrics_do_not_depend_on_the_price_unit(seed: int, unit: float) -> None:
    open_time, close, segment, volume = walk(seed)
    one = asset_metrics(open_time, close, segment, volume, "4h")
    other = asset_metrics(open_time, close * unit, segment, volume, "4h")
    assert other.sharpe == pytest.approx(one.sharpe, rel=1e-9)
    assert other.max_drawdown == pytest.approx(one.max_drawdown, rel=1e-12)
    assert one.max_drawdown is not None
    assert one.max_drawdown <= 0


@pytest.mark.parametrize("neighbours", [1, 3, 10])
def test_metrics_are_the_same_bits_beside_any_other_symbols(neighbours: int) -> None:
    open_time, close, segment, volume = walk(5)
    alone = asset_metrics(open_time, close, segment, volume, "4h")
    rng = np.random.default_rng(neighbours)
    batch = rng.random((close.size, neighbours, 2))
    batch[:, 0] = np.column_stack([close, volume])
    # Strided columns of a batch, as a frame of many symbols would give them.
    inside = asset_metrics(open_time, batch[:, 0, 0], segment, batch[:, 0, 1], "4h")
    assert inside == alone


def test_bars_per_year_follow_the_interval() -> None:
    open_time, close, segment, volume = walk(1)
    four_hours = asset_metrics(open_time, close, segment, volume, "4h")
    one_minute = asset_metrics(open_time, close, segment, volume, "1m")
    assert four_hours.annual_return is not None
    assert one_minute.annual_return == pytest.approx(240 * four_hours.annual_return, rel=1e-14)


def test_metrics_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        metrics_of(np.ones(3)).bars = 4  # type: ignore[misc]  # what the test is about
