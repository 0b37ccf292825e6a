"""A walk-forward index: silver.candles -> a determination at each date, and levels between them.

Dates and holding periods are independent given the candles, so each is a group of its own: its
candles go to one task of an executor. The driver sees dates x symbols and bars x portfolios.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from gold.backtest import Levels, chain
from gold.calendar import HoldingPeriod, holding_periods, rebalance_dates
from gold.eligibility import Eligibility
from gold.holding import hold, price_panel
from gold.index_rows import (
    HELD_DDL,
    HOLDING_COLUMNS,
    LOOKBACK_COLUMNS,
    LOOKBACK_DDL,
    held_of,
    held_rows,
    lookback_candles,
    lookback_of,
    lookback_rows,
)
from gold.listings import Listings
from gold.lookback import Lookback, determine_in_turn, look_back
from gold.random_portfolios import BITCOIN, portfolio_weights
from gold.statistics import scoped_candles
from gold.windows import by_date, in_windows
from lakehouse.intervals import MICROS_PER_DAY, interval_micros

if TYPE_CHECKING:
    from gold.decisions import Determination
    from gold.returns import IntArray
    from gold.rulebook import Rulebook
    from lakehouse.settings import Settings
    from lakehouse.tasks import TaskContext

_BASIS_POINT: Final = 1e-4
_NO_CANDLES: Final = pa.schema(
    [
        ("symbol", pa.string()),
        ("open_us", pa.int64()),
        ("close", pa.float64()),
        ("segment", pa.int32()),
        ("quote_volume", pa.float64()),
        ("is_filled", pa.bool_()),
    ]
).empty_table()


@dataclass(frozen=True)
class WalkForward:
    """What a walk-forward index was and did.

    Attributes:
        dates: D determination dates, ascending, UTC microseconds.
        determinations: D determinations.
        levels: Levels of the index, equal weight, Bitcoin if the market has it, and the random
            portfolios; None while no determination has taken effect.
        has_bitcoin: Whether the market has it.
        stopped: By the open of a bar, the members sold at it because they had stopped trading.
    """

    dates: IntArray
    determinations: tuple[Determination, ...]
    levels: Levels | None
    has_bitcoin: bool
    stopped: dict[int, list[str]]


def determination_dates(settings: Settings, rulebook: Rulebook, market: Listings) -> IntArray:
    """Dates at which an index is determined; none while the candles are too few."""
    rules = rulebook.rules
    return rebalance_dates(
        market.first_open,
        market.last_open,
        settings.archive.interval,
        rules.calendar,
        rules.lookback_days,
    )


def walk_forward(
    context: TaskContext, rulebook: Rulebook, market: Listings, dates: IntArray
) -> WalkForward:
    """Determine an index at each date from what was known, and hold it until the next.

    Args:
        context: The task.
        rulebook: The index.
        market: Its symbols.
        dates: At least one date, ascending.
    """
    known = lookbacks(context, rulebook, market, dates)
    return hold_in_turn(context, rulebook, market, dates, determine_in_turn(known, rulebook.rules))


def hold_in_turn(
    context: TaskContext,
    rulebook: Rulebook,
    market: Listings,
    dates: IntArray,
    determinations: tuple[Determination, ...],
) -> WalkForward:
    """Hold each determination until the next one's trades, beside the benchmarks.

    Args:
        context: The task.
        rulebook: The index; of its rules those of the trades and the costs.
        market: Its symbols.
        dates: D >= 1 dates, ascending.
        determinations: D determinations, each from what was known at its date.
    """
    settings = context.settings
    periods = holding_periods(
        dates, market.last_open, settings.archive.interval, rulebook.rules.delay_bars
    )
    has_bitcoin = BITCOIN in market.symbols
    levels, stopped = None, dict[int, list[str]]()
    if periods:
        # A period must have a row, though nothing be eligible in a market without Bitcoin.
        always = {BITCOIN if has_bitcoin else market.symbols[0]}
        rows = _held(context, rulebook, periods, determinations, always)
        pieces = by_date(rows)
        held = []
        for period in periods:
            piece, gone = held_of(pieces[period.as_of], period, settings.archive.interval)
            held.append(piece)
            stopped |= gone
        rate = rulebook.rules.cost_bps * _BASIS_POINT
        levels = chain(held, settings.archive.interval, rate)
    return WalkForward(dates, determinations, levels, has_bitcoin, stopped)


def lookbacks(
    context: TaskContext, rulebook: Rulebook, market: Listings, dates: IntArray
) -> Iterable[Lookback]:
    """What each date knows: the candles of its lookback, looked at by one task of an executor.

    Nothing is computed before the first one is asked for.
    """
    settings, rules = context.settings, rulebook.rules
    known = {
        int(as_of): Eligibility(
            rules, int(as_of), settings.archive.interval, settings.silver.max_fill_bars
        )
        for as_of in dates
    }

    def look(candles: pa.Table) -> pa.Table:
        date = known[candles["as_of"][0].as_py()]
        symbols, first = market.before(date.as_of)
        return lookback_rows(look_back(symbols, first, lookback_candles(candles, symbols), date))

    windows = [(date, date - rules.lookback_days * MICROS_PER_DAY, date) for date in known]
    candles = in_windows(context.spark, scoped_candles(context).select(*LOOKBACK_COLUMNS), windows)
    found = by_date(candles.groupBy("as_of").applyInArrow(look, LOOKBACK_DDL).toArrow())
    for date in known.values():
        symbols, first = market.before(date.as_of)
        if date.as_of in found:
            yield lookback_of(found[date.as_of], first, date)
        else:
            yield look_back(symbols, first, lookback_candles(_NO_CANDLES, symbols), date)


def _held(
    context: TaskContext,
    rulebook: Rulebook,
    periods: Sequence[HoldingPeriod],
    determinations: Sequence[Determination],
    always: set[str],
) -> pa.Table:
    """What the portfolios did in each period, from the prices of what they may hold."""
    interval = context.settings.archive.interval
    step = interval_micros(interval)
    windows = [(period.as_of, period.start - step, period.end + step) for period in periods]
    roster = context.spark.createDataFrame(_roster(periods, determinations, always))
    candles = in_windows(context.spark, scoped_candles(context).select(*HOLDING_COLUMNS), windows)
    priced = candles.join(
        F.broadcast(roster.select("as_of", "symbol")), on=["as_of", "symbol"], how="left_semi"
    )
    return (
        priced.groupBy("as_of")
        .cogroup(roster.groupBy("as_of"))
        .applyInArrow(_holder(context.settings, rulebook, periods), HELD_DDL)
        .toArrow()
    )


def _holder(
    settings: Settings, rulebook: Rulebook, periods: Sequence[HoldingPeriod]
) -> Callable[[pa.Table, pa.Table], pa.Table]:
    """Of one period's candles and roster, what the portfolios did."""
    rules, index, interval = rulebook.rules, settings.index, settings.archive.interval
    by_date = {period.as_of: period for period in periods}
    last = periods[-1].as_of
    rate = rules.cost_bps * _BASIS_POINT

    def of_period(candles: pa.Table, roster: pa.Table) -> pa.Table:
        roster = roster.sort_by("symbol")
        symbols = roster["symbol"].to_pylist()
        period = by_date[roster["as_of"][0].as_py()]

        def weights(which: str, as_of: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
            return portfolio_weights(
                roster[f"{which}weight"].to_numpy(),
                np.flatnonzero(roster[f"{which}eligible"].to_numpy()),
                symbols.index(BITCOIN) if BITCOIN in symbols else None,
                as_of,
                size=rules.top_n,
                portfolios=index.random_portfolios,
                seed=index.seed,
            )

        codes = pc.index_in(candles["symbol"], pa.array(symbols, pa.string()))
        panel = price_panel(
            len(symbols),
            codes.to_numpy().astype(np.int64),
            candles["open_us"].to_numpy(),
            candles["open"].to_numpy(),
            candles["close"].to_numpy(),
            period,
            interval,
            rules.execution,
        )
        targets = weights("", period.as_of)
        following = roster["next_as_of"][0].as_py()
        after = None if period.as_of == last else weights("next_", following)
        held = hold(panel, targets, after, rate)
        return held_rows(period.as_of, held, symbols, targets[0] > 0)

    return of_period


def _roster(
    periods: Sequence[HoldingPeriod], determinations: Sequence[Determination], always: set[str]
) -> pa.Table:
    """For each period the symbols that a portfolio may hold now or next, and `always`.

    Columns: as_of, next_as_of, symbol, weight and eligible at the entry, next_weight and
    next_eligible at the exit.
    """
    columns: dict[str, list[object]] = {name: [] for name in _ROSTER.names}
    for position, period in enumerate(periods):
        following = min(position + 1, len(periods) - 1)
        now, after = determinations[position], determinations[following]
        weights, next_weights = (
            {row.symbol: row.weight for row in each.holdings} for each in (now, after)
        )
        eligible, next_eligible = set(now.eligible), set(after.eligible)
        symbols = sorted(eligible | next_eligible | always)
        columns["as_of"] += [period.as_of] * len(symbols)
        columns["next_as_of"] += [periods[following].as_of] * len(symbols)
        columns["symbol"] += symbols
        columns["weight"] += [weights.get(symbol, 0.0) for symbol in symbols]
        columns["eligible"] += [symbol in eligible for symbol in symbols]
        columns["next_weight"] += [next_weights.get(symbol, 0.0) for symbol in symbols]
        columns["next_eligible"] += [symbol in next_eligible for symbol in symbols]
    return pa.table(columns, _ROSTER)


_ROSTER: Final = pa.schema(
    [
        ("as_of", pa.int64()),
        ("next_as_of", pa.int64()),
        ("symbol", pa.string()),
        ("weight", pa.float64()),
        ("eligible", pa.bool_()),
        ("next_weight", pa.float64()),
        ("next_eligible", pa.bool_()),
    ]
)
