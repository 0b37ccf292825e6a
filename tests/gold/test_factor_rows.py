"""The factor model without Spark: against pandas, and what a cut or false future may not change."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gold.factor_names import BUCKET_FACTORS, CHARACTERISTICS, beta_name
from tests.gold.factor_market import (
    DAYS,
    FACTORS,
    FIRST_DAY,
    PER_DAY,
    SETTINGS,
    Model,
    candles,
    model,
    scrambled_from,
)
from tests.gold.minutes import exact_ridge

TABLES = {"buckets": "as_of_us", "returns": "bar", "exposures": "bar"}


@pytest.fixture(scope="module")
def whole() -> Model:
    return model(candles())


def rows(table: pa.Table) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table.to_pylist()
    key = ("bar", "as_of_us", "factor", "symbol")
    return sorted(found, key=lambda row: [str(row.get(name)) for name in key])


def wide(frame: pd.DataFrame, value: pd.Series) -> pd.DataFrame:
    return frame.assign(value=value).pivot(index="bar", columns="symbol", values="value")


def returns_by_bar() -> pd.DataFrame:
    """Simple returns, bars x coins, every bar of the grid."""
    frame = candles()
    returns = wide(frame, (frame["close"] - frame["open"]) / frame["open"])
    return returns.reindex(range(FIRST_DAY * PER_DAY, (FIRST_DAY + DAYS) * PER_DAY))


def expected_values(day: int) -> dict[str, pd.Series]:
    """The characteristics known at the start of a day, by pandas."""
    until = day * PER_DAY - 1
    returns = returns_by_bar()
    market = returns.mean(axis=1)
    lookback = slice(until + 1 - 4 * PER_DAY, until)
    trades = wide(candles(), candles()["trades"])
    summed = sum(returns.rolling(window).sum() for window in (60, 120, 180, 360, 720))
    assert isinstance(summed, pd.DataFrame)
    part = returns.loc[lookback]
    beta = {
        coin: market.loc[lookback][part[coin].notna()].cov(part[coin].dropna()) / part[coin].var()
        for coin in part.columns[part.notna().sum() > 1]
    }
    return {
        "liquidity": trades.loc[lookback].mean().dropna(),
        "volatility": pd.Series(beta),
        "momentum": summed.loc[until + 1 - PER_DAY : until].mean().dropna(),
    }


@pytest.mark.parametrize("day", [FIRST_DAY + 1, FIRST_DAY + 8, FIRST_DAY + 11])
def test_buckets_against_pandas(whole: Model, day: int) -> None:
    found = whole.buckets.to_pandas()
    found = found[found["as_of_us"] == day]
    for name, expected in expected_values(day).items():
        of_factor = found[found["factor"] == name].set_index("symbol")
        pd.testing.assert_series_equal(
            of_factor["value"].sort_index(), expected.sort_index(), check_names=False, rtol=1e-9
        )
        third = len(expected) // 3
        ranked = expected.sort_index().sort_values(kind="stable").index
        assert set(of_factor.index[of_factor["bucket"] == "low"]) == set(ranked[:third])
        assert set(of_factor.index[of_factor["bucket"] == "high"]) == set(
            ranked[len(ranked) - third :]
        )


def test_factor_returns_against_pandas(whole: Model) -> None:
    returns = returns_by_bar()
    found = whole.returns.to_pandas().set_index("bar")
    np.testing.assert_allclose(found["market_return"], returns.mean(axis=1).dropna(), rtol=1e-10)
    assert found["coins"].tolist() == returns.notna().sum(axis=1).tolist()
    buckets = whole.buckets.to_pandas()
    for day in (FIRST_DAY, FIRST_DAY + 1, FIRST_DAY + 11):
        bars = slice(day * PER_DAY, (day + 1) * PER_DAY - 1)
        for name in BUCKET_FACTORS:
            factor, bucket = name.split("_")
            held = buckets[
                (buckets["as_of_us"] == day)
                & (buckets["factor"] == factor)
                & (buckets["bucket"] == bucket)
            ]
            expected = returns.loc[bars, held["symbol"].tolist()].mean(axis=1)
            np.testing.assert_allclose(
                found.loc[bars, name].astype(float), expected, rtol=1e-10, err_msg=name
            )
    for name in CHARACTERISTICS:
        spread = found[f"{name}_high"] - found[f"{name}_low"]
        pd.testing.assert_series_equal(found[f"{name}_high_minus_low"], spread, check_names=False)


def test_exposures_against_the_literal_formula(whole: Model) -> None:
    returns, factors = returns_by_bar(), whole.returns.to_pandas().set_index("bar")
    found = whole.exposures.to_pandas()
    assert not found.duplicated(["symbol", "bar"]).any()
    for row in found.sample(60, random_state=1).to_dict("records"):
        window = range(row["bar"] - SETTINGS.window + 1, row["bar"] + 1)
        x = factors.loc[window, list(FACTORS)].astype(float)
        y = returns.loc[window, row["symbol"]]
        used = x.notna().all(axis=1) & y.notna()
        assert row["bars"] == used.sum() >= SETTINGS.min_bars
        expected = exact_ridge(x[used].to_numpy().T, y[used].to_numpy(), SETTINGS.ridge)
        betas = [row["constant"], *(row[beta_name(name)] for name in FACTORS)]
        largest = np.abs(expected.coefficients).max()
        np.testing.assert_allclose(betas, expected.coefficients, rtol=1e-8, atol=1e-10 * largest)
        assert row["r2"] == pytest.approx(expected.r2, rel=1e-9)
        assert row["adj_r2"] == pytest.approx(expected.adj_r2, rel=1e-9)
        assert np.isnan(row["beta_momentum_high_minus_low"])


def test_a_row_for_each_bar_that_a_coin_has_once_it_has_enough(whole: Model) -> None:
    found = whole.exposures.to_pandas().groupby("symbol")["bar"].agg(set)
    have = candles().groupby("symbol")["bar"].agg(set)
    # Momentum is known from the ninth day on: its first buckets need 720 bars.
    first = (FIRST_DAY + 8) * PER_DAY
    for symbol in ("AUSDT", "CUSDT", "DUSDT", "GUSDT"):
        late = 1 if symbol == "DUSDT" else 0
        enough = {bar for bar in have[symbol] if bar >= first + SETTINGS.min_bars - 1}
        assert len(enough - found[symbol]) <= 2 * late
        assert found[symbol] <= enough
    assert min(found["BUSDT"]) == min(have["BUSDT"]) + SETTINGS.min_bars - 1


@settings(max_examples=10, deadline=None)
@given(st.integers(8 * PER_DAY, DAYS * PER_DAY - 1), st.integers(0, 2**32 - 1))
def test_the_future_changes_nothing_before_it(bars: int, seed: int) -> None:
    known, at = model(candles()), FIRST_DAY * PER_DAY + bars
    frame = candles()
    for future in (frame[frame["bar"] < at], scrambled_from(frame, at, seed)):
        found = model(future)
        for name, time in TABLES.items():
            # Buckets are stamped with the day that they hold from: known at its start.
            end = (at - 1) // PER_DAY + 1 if name == "buckets" else at
            now, before = (
                table.filter(pa.array(table[time].to_numpy() < end))
                for table in (getattr(found, name), getattr(known, name))
            )
            assert rows(now) == rows(before)


def test_a_look_ahead_would_be_seen() -> None:
    frame = candles()
    at = FIRST_DAY * PER_DAY + 10 * PER_DAY + 5
    early = model(scrambled_from(frame, at - 1, 1))
    known = model(frame)
    now, before = (
        each.returns.filter(pa.array(each.returns["bar"].to_numpy() < at))
        for each in (early, known)
    )
    assert rows(now) != rows(before)


def test_a_coin_that_stopped_trading_is_not_sorted_from_the_next_day_on() -> None:
    frame = candles()
    stopped = frame[(frame["symbol"] != "EUSDT") | (frame["bar"] < (FIRST_DAY + 9) * PER_DAY)]
    buckets = model(stopped).buckets.to_pandas()
    of_coin = buckets[buckets["symbol"] == "EUSDT"]
    assert of_coin["as_of_us"].max() == FIRST_DAY + 9
    assert set(of_coin["factor"]) == set(CHARACTERISTICS)


def test_fewer_than_three_coins_have_a_market_and_no_sorted_factors() -> None:
    frame = candles()
    two = model(frame[frame["symbol"].isin(["AUSDT", "CUSDT"])])
    assert set(two.buckets["bucket"].to_pylist()) == {"medium"}
    assert two.returns["market_return"].null_count == 0
    for name in ("liquidity_low", "momentum_high", "volatility_high_minus_low"):
        assert two.returns[name].null_count == two.returns.num_rows
    assert two.exposures.num_rows == 0


def test_the_window_is_a_setting() -> None:
    found = model(candles(), SETTINGS.model_copy(update={"window": 96, "min_bars": 96})).exposures
    assert set(found["bars"].to_pylist()) == {96}
