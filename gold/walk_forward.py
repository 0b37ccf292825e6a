"""A walk-forward index: silver.candles -> a determination at each date, and levels between them.

Dates and holding periods are independent given the candles, so each is a group of its own: its
candles go to one task of an executor. The driver sees dates x symbols and bars x portfolios.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from gold.backtest import Levels, chain
from gold.calendar import holding_periods, rebalance_dates
from gold.decisions import Determination, with_sales
from gold.eligibility import Eligibility
from gold.held_periods import BASIS_POINT, held_periods
from gold.index_rows import (
    LOOKBACK_COLUMNS,
    LOOKBACK_DDL,
    held_of,
    lookback_candles,
    lookback_of,
    lookback_rows,
)
from gold.listings import Listings
from gold.lookback import Lookback, determine_in_turn, look_back
from gold.random_portfolios import BITCOIN
from gold.statistics import scoped_candles
from gold.windows import by_date, in_windows
from lakehouse.intervals import MICROS_PER_DAY, interval_micros

if TYPE_CHECKING:
    from gold.returns import IntArray
    from gold.rulebook import Rulebook
    from lakehouse.settings import Settings
    from lakehouse.tasks import TaskContext

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
        rows = held_periods(context, rulebook, periods, determinations, always)
        pieces = by_date(rows)
        held = []
        for period in periods:
            piece, gone = held_of(pieces[period.as_of], period, settings.archive.interval)
            held.append(piece)
            stopped |= gone
        rate = rulebook.rules.cost_bps * BASIS_POINT
        levels = chain(held, settings.archive.interval, rate)
    bar = interval_micros(settings.archive.interval)
    determinations = with_sales(determinations, dates.tolist(), stopped, bar)
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
