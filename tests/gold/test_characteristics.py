"""Liquidity, volatility and momentum against pandas, by way of sums over days."""

import numpy as np
import pandas as pd
import pytest

from gold.characteristics import (
    DAY_SUMS,
    MOMENTUM_WINDOWS,
    characteristics,
    day_sums,
    momentum_scores,
)
from gold.factors import mean_over_coins
from gold.returns import FloatArray

DAY, DAYS, COINS = 1440, 3, 5


def market(seed: int = 1, holes: float = 0.0) -> tuple[FloatArray, FloatArray]:
    """(COINS, DAYS * DAY) returns and trades; NaN in holes."""
    rng = np.random.default_rng(seed)
    common = rng.normal(0, 1e-3, DAYS * DAY)
    scale = rng.uniform(0.5, 2, (COINS, 1))
    returns = scale * common + rng.normal(0, 1e-3, (COINS, DAYS * DAY))
    trades = rng.poisson(rng.uniform(5, 500, (COINS, 1)), returns.shape).astype(np.float64)
    missing = rng.random(returns.shape) < holes
    returns[missing] = trades[missing] = np.nan
    return returns, trades


def from_days(returns: FloatArray, trades: FloatArray) -> FloatArray:
    """The characteristics at the end of the last day, a day at a time."""
    scores = momentum_scores(returns, first_bar=0)
    lookback = np.zeros((COINS, len(DAY_SUMS)))
    for day in range(DAYS):
        part = slice(day * DAY, (day + 1) * DAY)
        market_return = mean_over_coins(returns[:, part])
        sums = day_sums(returns[:, part], trades[:, part], market_return, scores[:, part])
        lookback += sums
    return characteristics(lookback, sums)


@pytest.mark.parametrize("holes", [0.0, 0.0005])
def test_against_pandas(holes: float) -> None:
    returns, trades = market(holes=holes)
    frame = pd.DataFrame(returns.T)
    whole = frame.mean(axis=1)
    rolled = sum(frame.rolling(window).sum() for window in MOMENTUM_WINDOWS)
    assert isinstance(rolled, pd.DataFrame)
    expected = [
        pd.DataFrame(trades.T).mean().to_numpy(),
        [whole[frame[i].notna()].cov(frame[i].dropna()) / frame[i].var() for i in frame],
        rolled.iloc[-DAY:].mean().to_numpy(),
    ]
    np.testing.assert_allclose(from_days(returns, trades), expected, rtol=1e-9)


def test_momentum_needs_all_of_the_last_720_bars() -> None:
    returns, _ = market()
    returns[0, 1000] = np.nan
    scores = momentum_scores(returns, first_bar=17)
    assert np.flatnonzero(np.isnan(scores[1])).tolist() == list(range(719))
    hole = range(1000, 1720)
    assert np.flatnonzero(np.isnan(scores[0])).tolist() == [*range(719), *hole]


def test_a_coin_that_does_not_move_has_liquidity_and_momentum_but_no_beta() -> None:
    returns, trades = market()
    returns[2], returns[3] = 0.0, 0.001
    found = from_days(returns, trades)
    assert np.isnan(found[1]).tolist() == [False, False, True, True, False]
    assert found[2, 2] == 0.0
    assert found[2, 3] == pytest.approx(0.001 * sum(MOMENTUM_WINDOWS))
    assert np.isfinite(found[0]).all()


def test_a_coin_without_a_bar_has_nothing_and_one_without_a_last_day_no_momentum() -> None:
    returns, trades = market()
    returns[1], trades[1] = np.nan, np.nan
    returns[4, -DAY:], trades[4, -DAY:] = np.nan, np.nan
    found = from_days(returns, trades)
    assert np.isnan(found[:, 1]).all()
    assert np.isnan(found[:, 4]).tolist() == [False, False, True]


def test_a_coin_beside_others_has_the_same_bits() -> None:
    returns, trades = market()
    scores = momentum_scores(returns, first_bar=0)
    beside = mean_over_coins(returns)
    together = day_sums(returns, trades, beside, scores)
    for coin in range(COINS):
        alone = slice(coin, coin + 1)
        np.testing.assert_array_equal(momentum_scores(returns[alone], 0), scores[alone])
        np.testing.assert_array_equal(
            day_sums(returns[alone], trades[alone], beside, scores[alone]), together[alone]
        )
