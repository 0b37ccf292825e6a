"""Time of a monthly inverse-volatility backtest, beside bt: 100 assets, five years of daily bars.

    OPENBLAS_NUM_THREADS=1 .venv/bin/python benchmarks/index_backtest.py --runs 5

Synthetic prices (seeded). bt, the index's kernels and the task `smart_index` on Spark weigh the
same names by the same volatilities at the same dates and hold them on the same bars; their levels
are compared before the times are printed. bt and the kernels, in turn, are given the prices in
memory: the calculation alone, medians. The task reads silver.candles and writes its five tables:
its first run in a session, then the median of the next. Timed beside them, by kernels and by the
task: the whole rulebook, with eligibility, correlations, a decision on every name at every date,
and 500 random portfolios.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import bt
import click
import numpy as np
import pandas as pd
import pyarrow as pa
from synthetic import store

from gold.backtest import Levels, chain
from gold.calendar import HoldingPeriod, holding_periods, rebalance_dates
from gold.contracts import INDEX_LEVELS
from gold.decisions import Determination
from gold.eligibility import Eligibility
from gold.holding import PricePanel, hold, price_panel
from gold.lookback import LookbackCandles, determine_in_turn, look_back
from gold.random_portfolios import BITCOIN, portfolio_weights
from gold.returns import FloatArray, IntArray, log_returns
from gold.tasks import smart_index
from gold.weighting import inverse_volatility_weights
from lakehouse.intervals import MICROS_PER_DAY
from lakehouse.session import spark_session
from lakehouse.settings import RuleSettings, load_settings
from lakehouse.tables import Lake

ASSETS, DAYS, LOOKBACK = 100, 5 * 365, 90
SYMBOLS = ("BTCUSDT", *(f"S{i:03}USDT" for i in range(ASSETS - 1)))


class WeighByInverseVolatility(bt.Algo):
    """bt's WeighInvVol, on log returns."""

    def __call__(self, target: bt.Strategy) -> bool:
        """Weigh what the universe holds until now."""
        known = target.universe.loc[: target.now].iloc[-LOOKBACK:]
        inverse = 1 / np.log(known).diff().std()
        target.temp["weights"] = inverse / inverse.sum()
        return True


def by_bt(prices: pd.DataFrame) -> "pd.Series[float]":
    """Levels by bt."""
    strategy = bt.Strategy(
        "reduced",
        [
            bt.algos.RunAfterDays(LOOKBACK - 10),
            bt.algos.RunMonthly(run_on_first_date=False, run_on_end_of_period=True),
            bt.algos.SelectAll(),
            WeighByInverseVolatility(),
            bt.algos.Rebalance(),
        ],
    )
    test = bt.Backtest(strategy, prices, integer_positions=False, progress_bar=False)
    test.run()  # without bt.run's statistics
    return test.strategy.prices


@dataclass(frozen=True)
class Market:
    """Candles in long form, by symbol and then in time order."""

    code: IntArray
    open_time: IntArray
    price: FloatArray

    def between(self, first: int, last: int) -> "Market":
        """Candles that open from one time to another, inclusive."""
        used = np.flatnonzero((first <= self.open_time) & (self.open_time <= last))
        return Market(self.code[used], self.open_time[used], self.price[used])


def reduced(market: Market, rules: RuleSettings) -> Levels:
    """Levels of all names by inverse volatility: what bt does, by the index's kernels."""
    dates, periods = calendar(market, rules)
    returns = log_returns(market.price, market.code).reshape(ASSETS, -1)
    close = market.price.reshape(ASSETS, -1).T  # bt is given its prices in this form, too
    first = int(market.open_time[0])
    weights = []
    for as_of in dates.tolist():
        bar = (as_of - first) // MICROS_PER_DAY
        volatility = returns[:, bar - LOOKBACK + 1 : bar].std(axis=1, ddof=1)
        weights.append(inverse_volatility_weights(volatility)[None])
    held = []
    for number, period in enumerate(periods):
        start, end = ((at - first) // MICROS_PER_DAY for at in (period.start, period.end))
        times = market.open_time[start:end]
        panel = PricePanel(times, close[start - 1], close[start:end], close[end - 1])
        following = weights[number + 1] if number + 1 < len(periods) else None
        held.append(hold(panel, weights[number], following, 0.0))
    return chain(held, "1d", 0.0)


def target_weights(made: Determination, as_of: int, portfolios: int) -> FloatArray:
    """Weights of the index, its benchmarks and the random portfolios."""
    held = {row.symbol: row.weight for row in made.holdings}
    index = np.array([held.get(symbol, 0.0) for symbol in SYMBOLS])
    eligible = np.flatnonzero(np.isin(SYMBOLS, made.eligible))
    bitcoin = SYMBOLS.index(BITCOIN)
    return portfolio_weights(
        index, eligible, bitcoin, as_of, size=20, portfolios=portfolios, seed=42
    )


def whole(market: Market, rules: RuleSettings, portfolios: int) -> Levels:
    """Levels of the index, its benchmarks and random portfolios, by all rules."""
    dates, periods = calendar(market, rules)
    listed = np.full(ASSETS, market.open_time[0])
    lookbacks = []
    for as_of in dates.tolist():
        begins = as_of - rules.lookback_days * MICROS_PER_DAY
        part = market.between(begins, as_of - 1)
        bars = part.price.size
        candles = LookbackCandles(
            part.code,
            part.open_time,
            part.price,
            np.ones(bars, dtype=np.int64),
            np.full(bars, 1e8),
            np.zeros(bars, dtype=np.bool_),
        )
        lookbacks.append(look_back(SYMBOLS, listed, candles, Eligibility(rules, as_of, "1d", 6)))
    weights = [
        target_weights(made, as_of, portfolios)
        for as_of, made in zip(dates.tolist(), determine_in_turn(lookbacks, rules), strict=True)
    ]
    held = []
    for number, period in enumerate(periods):
        near = market.between(period.start - MICROS_PER_DAY, period.end)
        columns = (near.code, near.open_time, near.price, near.price)
        panel = price_panel(ASSETS, *columns, period, "1d", "close")
        following = weights[number + 1] if number + 1 < len(periods) else None
        held.append(hold(panel, weights[number], following, 0.0))
    return chain(held, "1d", 0.0)


def calendar(market: Market, rules: RuleSettings) -> tuple[IntArray, tuple[HoldingPeriod, ...]]:
    """Determination dates and holding periods."""
    first, last = int(market.open_time[0]), int(market.open_time[-1])
    dates = rebalance_dates(first, last, "1d", rules.calendar, rules.lookback_days)
    return dates, holding_periods(dates, last, "1d", rules.delay_bars)


def timed(work: Callable[[], object]) -> float:
    """Seconds that a piece of work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# What bt can express.
REDUCED = (
    *("index.correlation_threshold=1", f"index.top_n={ASSETS}", "index.random_portfolios=0"),
    *("index.enter_volume=0", "index.stay_volume=0", "index.execution=close", "index.cost_bps=0"),
)
WHOLE = ("index.execution=close", "index.cost_bps=0")
CONF = Path(__file__).parents[1] / "conf" / "sample.yaml"


def on_spark(market: Market, runs: int) -> tuple[FloatArray, dict[str, list[float]]]:
    """Levels by the task with the reduced rules, and seconds of each of its runs."""
    place = Path(tempfile.mkdtemp())
    common = [f"warehouse={place}/lake", "index.mode=monthly", "archive.interval=1d"]
    by_rules = {
        "reduced": load_settings(CONF, [*common, *REDUCED]),
        "whole": load_settings(CONF, [*common, *WHOLE]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in by_rules}
    with spark_session(by_rules["reduced"].spark) as spark:
        lake = Lake(spark, f"{place}/lake")
        names = pa.array(SYMBOLS)
        prices = dict.fromkeys(("open", "high", "low", "close"), market.price)
        volume = np.full(market.price.size, 1e8)
        candles = {"symbol": names.take(pa.array(market.code)), "open_us": market.open_time}
        opens = np.repeat([[market.open_time[0]], [market.open_time[-1]]], ASSETS, axis=1)
        listed = {"symbol": names, "first": opens[0], "last": opens[1]}
        store(
            lake,
            spark.createDataFrame(pa.table({**candles, **prices, "quote_volume": volume})),
            spark.createDataFrame(pa.table({**listed, "bars": np.full(ASSETS, DAYS)})),
            "1d",
        )
        for number in range(runs + 1):
            for name, settings in by_rules.items():
                work = partial(smart_index.run, spark, settings, f"{name}-{number}", "benchmark")
                seconds[name].append(timed(work))
                if name == "reduced" and not number:
                    rows = lake.read_own(INDEX_LEVELS).where("index_name = rulebook")
                    levels = rows.select("open_time", "level").toArrow().sort_by("open_time")
    shutil.rmtree(place)
    return levels["level"].to_numpy(), seconds


def synthetic() -> tuple[pd.DataFrame, Market]:
    """The same prices for bt and for the index."""
    rng = np.random.default_rng(42)
    noise = rng.normal(0, rng.uniform(0.01, 0.05, ASSETS), (DAYS, ASSETS))
    close = 100 * np.exp(np.cumsum(noise + rng.normal(0, 0.02, (DAYS, 1)), axis=0))
    dates = pd.date_range("2021-01-01", periods=DAYS, freq="D", unit="us")
    market = Market(
        np.repeat(np.arange(ASSETS), DAYS),
        np.tile(dates.asi8, ASSETS),
        np.ascontiguousarray(close.T).ravel(),
    )
    return pd.DataFrame(close, dates, list(SYMBOLS)), market


@click.command()
@click.option("--runs", default=5, show_default=True, help="Of bt and the kernels.")
@click.option("--spark-runs", default=3, show_default=True, help="After the first one.")
def main(runs: int, spark_runs: int) -> None:
    """Compare, run and print."""
    prices, market = synthetic()
    rules = load_settings(CONF).index
    ours = reduced(market, rules)
    theirs = by_bt(prices).loc[pd.to_datetime(ours.open_time, unit="us")].to_numpy()
    seconds: dict[str, list[float]] = {"bt": [], "reduced": [], "whole": []}
    for _ in range(runs):
        seconds["bt"].append(timed(lambda: by_bt(prices)))
        seconds["reduced"].append(timed(lambda: reduced(market, rules)))
        seconds["whole"].append(timed(lambda: whole(market, rules, 500)))
    ratio = statistics.median(a / b for a, b in zip(seconds["bt"], seconds["reduced"], strict=True))
    levels, spark = on_spark(market, spark_runs)
    for name, level in (("kernels", ours.level[:, 0]), ("Spark", levels)):
        apart = np.abs(level / 1000 / (theirs / theirs[0]) - 1).max()
        print(f"{name}: {len(theirs):,} levels differ from bt's by at most {apart:.1e} of them")
    print(f"| bt | {statistics.median(seconds['bt']):.3f} s |")
    print(f"| the same by kernels | {statistics.median(seconds['reduced']):.3f} s |")
    print(f"| the same by the task on Spark | {spread(spark['reduced'])} |")
    print(f"| all rules and 500 random portfolios | {statistics.median(seconds['whole']):.3f} s |")
    print(f"| the same by the task on Spark | {spread(spark['whole'])} |")
    print(f"bt to kernels: ratio {ratio:.1f}, of {runs} runs each")


def spread(seconds: list[float]) -> str:
    """The first run, and the median of the others."""
    later = f", then {statistics.median(seconds[1:]):.1f} s" if seconds[1:] else ""
    return f"{seconds[0]:.1f} s the first time{later}"


if __name__ == "__main__":
    main()
