"""Small synthetic markets, rules, and the whole way from candles to levels in one process."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gold.backtest import Levels, chain
from gold.calendar import HoldingPeriod, holding_periods, rebalance_dates
from gold.decisions import Determination, with_sales
from gold.eligibility import Eligibility
from gold.holding import HeldPeriod, hold, price_panel
from gold.index_rows import held_of, held_rows
from gold.lookback import Lookback, LookbackCandles, determine_in_turn, look_back
from gold.random_portfolios import BITCOIN, portfolio_weights
from gold.returns import BoolArray, FloatArray, IntArray
from lakehouse.intervals import MICROS_PER_DAY, Interval, interval_micros
from lakehouse.settings import IndexSettings, RuleSettings, load_settings

CONF = Path(__file__).parents[2] / "conf" / "sample.yaml"
MAX_FILL_BARS = 6
RANDOM_PORTFOLIOS, SEED = 7, 42
# A Tuesday in the middle of a month: no week, month or quarter begins with it.
START = 19_982 * MICROS_PER_DAY

_INDEX = load_settings(CONF).index


def index_with(**changed: object) -> IndexSettings:
    """The settings of base.yaml with some changed, validated."""
    return IndexSettings.model_validate(_INDEX.model_dump() | changed)


def rules_with(**changed: object) -> RuleSettings:
    """Its rules with some changed, validated."""
    rules = {name: getattr(_INDEX, name) for name in RuleSettings.model_fields}
    return RuleSettings.model_validate(rules | changed)


@dataclass(frozen=True)
class Published:
    """What an exchange published: (T, N) arrays, a bar of a symbol where `present`."""

    symbols: tuple[str, ...]
    interval: Interval
    open: FloatArray
    close: FloatArray
    quote_volume: FloatArray
    present: BoolArray
    start: int = START

    def until(self, bars: int) -> "Published":
        """The same with the later bars cut off."""
        return replace(
            self,
            open=self.open[:bars],
            close=self.close[:bars],
            quote_volume=self.quote_volume[:bars],
            present=self.present[:bars],
        )


def noisy_after(market: Published, bars: int, seed: int) -> Published:
    """The same with everything after some bars replaced by noise."""
    rng = np.random.default_rng(seed)
    copies = [getattr(market, name).copy() for name in ("open", "close", "quote_volume", "present")]
    for values in copies[:3]:
        values[bars:] = rng.lognormal(0, 3, values[bars:].shape)
    copies[3][bars:] = rng.random(copies[3][bars:].shape) < 0.7
    copies[3][bars:, market.symbols.index(BITCOIN)] = True
    return replace(
        market, open=copies[0], close=copies[1], quote_volume=copies[2], present=copies[3]
    )


def random_market(seed: int, days: int = 120, symbols: int = 9) -> Published:
    """Correlated random walks of 4h bars: late listings, holes, symbols that end, a stablecoin."""
    rng = np.random.default_rng(seed)
    bars = days * 6
    names = tuple(sorted([BITCOIN, "USDCUSDT", *(f"S{i:02}USDT" for i in range(symbols - 2))]))
    market = rng.normal(0, 0.01, (bars, 1))
    own = rng.normal(
        rng.normal(0, 0.001, symbols), rng.uniform(0.001, 0.02, symbols), (bars, symbols)
    )
    close = np.exp(np.cumsum(market * rng.uniform(0.5, 1.5, symbols) + own, axis=0))
    open_price = np.vstack([np.ones((1, symbols)), close[:-1]]) * rng.lognormal(
        0, 0.002, close.shape
    )
    present = rng.random(close.shape) > 0.01
    for symbol in range(symbols):
        if names[symbol] == BITCOIN:
            present[:, symbol] = True
            continue
        listed, hole, ended = rng.integers([0, bars // 4, bars // 2], [bars // 3, bars, 2 * bars])
        present[:listed, symbol] = False
        present[hole : hole + rng.integers(1, 12), symbol] = False
        present[ended:, symbol] = False
    volume = rng.lognormal(rng.normal(14.5, 0.7, symbols), 0.5, close.shape)
    return Published(names, "4h", open_price, close, volume, present)


@dataclass(frozen=True)
class Candles:
    """Rows of silver.candles, by symbol and time, and their symbols' first published bars."""

    symbols: tuple[str, ...]
    interval: Interval
    first_open_time: IntArray
    first_open: int
    last_open: int
    symbol_index: IntArray
    open_time: IntArray
    open: FloatArray
    close: FloatArray
    segment: IntArray
    quote_volume: FloatArray
    is_filled: BoolArray


def aligned(market: Published) -> Candles:
    """What silver makes of it: short holes filled flat, and a new segment after a longer one."""
    step = interval_micros(market.interval)
    listed = [i for i in range(len(market.symbols)) if market.present[:, i].any()]
    last = int(np.flatnonzero(market.present.any(axis=1))[-1])
    rows: list[tuple[int, int, float, float, int, float, bool]] = []
    for code, symbol in enumerate(listed):
        lacking, segment, price, known = 0, 1, np.nan, False
        for bar in range(last + 1):
            if market.present[bar, symbol]:
                segment += known and lacking > MAX_FILL_BARS
                lacking, known, price = 0, True, float(market.close[bar, symbol])
                volume = float(market.quote_volume[bar, symbol])
                opened = float(market.open[bar, symbol])
                rows.append((code, bar, opened, price, segment, volume, False))
            elif known:
                lacking += 1
                if lacking <= MAX_FILL_BARS:
                    rows.append((code, bar, price, price, segment, 0.0, True))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    first = [market.start + step * int(market.present[:, i].argmax()) for i in listed]
    return Candles(
        tuple(market.symbols[i] for i in listed),
        market.interval,
        np.array(first, dtype=np.int64),
        min(first),
        market.start + step * last,
        columns[0],
        market.start + step * columns[1],
        *columns[2:],
    )


@dataclass(frozen=True)
class Outcome:
    """Everything an index run makes; `sold` is by the open of a bar."""

    dates: IntArray
    determinations: tuple[Determination, ...]
    periods: tuple[HoldingPeriod, ...]
    held: tuple[HeldPeriod, ...]
    levels: Levels | None
    sold: dict[int, list[str]]


Decide = Callable[[Iterable[Lookback], RuleSettings], tuple[Determination, ...]]


def run_index(
    market: Published,
    rules: RuleSettings,
    portfolios: int = RANDOM_PORTFOLIOS,
    decide: Decide = determine_in_turn,
) -> Outcome:
    """From published bars to levels, as the tables are made."""
    candles = aligned(market)
    interval = market.interval
    dates = rebalance_dates(
        candles.first_open, candles.last_open, interval, rules.calendar, rules.lookback_days
    )
    lookbacks = [knowledge(candles, int(as_of), rules) for as_of in dates]
    made = decide(lookbacks, rules)
    periods = holding_periods(dates, candles.last_open, interval, rules.delay_bars)
    weights = [
        target_weights(candles.symbols, each, int(as_of), rules.top_n, portfolios)
        for as_of, each in zip(dates, made, strict=True)
    ]
    held = hold_all(candles, periods, weights, rules)
    levels = chain(held, interval, rules.cost_bps / 1e4) if held else None
    sold: dict[int, list[str]] = {}
    for period, each, targets in zip(periods, held, weights, strict=False):
        rows = held_rows(period.as_of, each, candles.symbols, targets[0] > 0)
        sold |= held_of(rows, period, interval)[1]
    made = with_sales(made, dates.tolist(), sold, interval_micros(interval))
    return Outcome(dates, made, periods, tuple(held), levels, sold)


def target_weights(
    symbols: Sequence[str], made: Determination, as_of: int, size: int, portfolios: int
) -> FloatArray:
    """Weights of the index, its benchmarks and the random portfolios, in symbol order."""
    code = {symbol: position for position, symbol in enumerate(symbols)}
    index = np.zeros(len(symbols))
    for holding in made.holdings:
        index[code[holding.symbol]] = holding.weight
    eligible = np.array([code[symbol] for symbol in made.eligible], dtype=np.int64)
    return portfolio_weights(
        index, eligible, code.get(BITCOIN), as_of, size=size, portfolios=portfolios, seed=SEED
    )


def knowledge(candles: Candles, as_of: int, rules: RuleSettings) -> Lookback:
    """What a determination at a date knows."""
    listed = np.flatnonzero(candles.first_open_time < as_of)
    begins = as_of - rules.lookback_days * MICROS_PER_DAY
    used = (begins <= candles.open_time) & (candles.open_time < as_of)
    return look_back(
        tuple(candles.symbols[i] for i in listed),
        candles.first_open_time[listed],
        LookbackCandles(
            np.searchsorted(listed, candles.symbol_index[used]),
            candles.open_time[used],
            candles.close[used],
            candles.segment[used],
            candles.quote_volume[used],
            candles.is_filled[used],
        ),
        Eligibility(rules, as_of, candles.interval, MAX_FILL_BARS),
    )


def hold_all(
    candles: Candles,
    periods: Sequence[HoldingPeriod],
    weights: Sequence[FloatArray],
    rules: RuleSettings,
) -> list[HeldPeriod]:
    """Each holding period by itself."""
    held = []
    for number, period in enumerate(periods):
        panel = price_panel(
            len(candles.symbols),
            candles.symbol_index,
            candles.open_time,
            candles.open,
            candles.close,
            period,
            candles.interval,
            rules.execution,
        )
        following = weights[number + 1] if number + 1 < len(periods) else None
        held.append(hold(panel, weights[number], following, rules.cost_bps / 1e4))
    return held
