"""What the portfolios of an index did in each holding period: silver.candles -> a row for each.

A period is a group of its own, with the candles of the symbols that a portfolio may hold in it; one
task of an executor works on it. The driver sees bars x portfolios.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from gold.calendar import HoldingPeriod
from gold.holding import hold, price_panel
from gold.index_rows import HELD_DDL, HOLDING_COLUMNS, held_rows
from gold.random_portfolios import BITCOIN, portfolio_weights
from gold.statistics import scoped_candles
from gold.windows import in_windows
from lakehouse.arrow import frame_of
from lakehouse.intervals import interval_micros

if TYPE_CHECKING:
    from gold.decisions import Determination
    from gold.returns import FloatArray
    from gold.rulebook import Rulebook
    from lakehouse.settings import Settings
    from lakehouse.tasks import TaskContext

BASIS_POINT: Final = 1e-4


def held_periods(
    context: TaskContext,
    rulebook: Rulebook,
    periods: Sequence[HoldingPeriod],
    determinations: Sequence[Determination],
    always: set[str],
) -> pa.Table:
    """What the portfolios did in each period, from the prices of what they may hold.

    Args:
        context: The task.
        rulebook: The index.
        periods: Its holding periods, in order.
        determinations: Its determinations; the first ones are those of the periods.
        always: Symbols that every period is given, held or not.

    Returns:
        The rows that `gold.index_rows.held_of` reads.
    """
    interval = context.settings.archive.interval
    step = interval_micros(interval)
    windows = [(period.as_of, period.start - step, period.end + step) for period in periods]
    roster = frame_of(context.spark, _roster(periods, determinations, always))
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
    rate = rules.cost_bps * BASIS_POINT

    def of_period(candles: pa.Table, roster: pa.Table) -> pa.Table:
        roster = roster.sort_by("symbol")
        symbols = roster["symbol"].to_pylist()
        period = by_date[roster["as_of"][0].as_py()]

        def weights(which: str, as_of: int) -> FloatArray:
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
