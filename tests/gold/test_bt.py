"""Levels beside those of bt, with the rules reduced to what bt can express."""

import bt
import numpy as np
import pandas as pd

from tests.gold.markets import Published, rules_with, run_index

LOOKBACK = 90


class WeighByInverseVolatility(bt.Algo):
    """bt's WeighInvVol on log returns, which this index takes its volatilities of."""

    def __call__(self, target: bt.Strategy) -> bool:
        known: pd.DataFrame = target.universe.loc[: target.now].iloc[-LOOKBACK:]
        inverse = 1 / np.log(known).diff().std()
        target.temp["weights"] = inverse / inverse.sum()
        return True


def test_levels_equal_those_of_bt() -> None:
    rng = np.random.default_rng(11)
    assets, days = 12, 420
    drift, noise = rng.normal(0, 5e-4, assets), rng.uniform(0.01, 0.05, assets)
    close = 100 * np.exp(np.cumsum(rng.normal(drift, noise, (days, assets)), axis=0))
    symbols = ("BTCUSDT", *(f"S{i:02}USDT" for i in range(assets - 1)))
    dates = pd.date_range("2024-01-01", periods=days, freq="D", unit="us")
    strategy = bt.Strategy(
        "reduced",
        [
            bt.algos.RunAfterDays(LOOKBACK - 10),  # no month ends between this and the lookback
            bt.algos.RunMonthly(run_on_first_date=False, run_on_end_of_period=True),
            bt.algos.SelectAll(),
            WeighByInverseVolatility(),
            bt.algos.Rebalance(),
        ],
    )
    prices = pd.DataFrame(close, index=dates, columns=symbols)
    test = bt.Backtest(strategy, prices, integer_positions=False, progress_bar=False)
    theirs = bt.run(test).prices["reduced"]

    market = Published(
        symbols, "1d", close, close, np.ones_like(close), close > 0, int(dates.asi8[0])
    )
    rules = rules_with(
        lookback_days=LOOKBACK,
        top_n=assets,
        correlation_threshold=1.0,
        enter_volume=0,
        stay_volume=0,
        execution="close",
        cost_bps=0,
    )
    levels = run_index(market, rules).levels
    assert levels is not None
    assert levels.open_time.size > 300
    expected = theirs.loc[pd.to_datetime(levels.open_time, unit="us")].to_numpy()
    np.testing.assert_allclose(levels.level[:, 0] / 1000, expected / expected[0], rtol=1e-9)
