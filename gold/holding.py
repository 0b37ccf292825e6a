"""What portfolios earn over one holding period: from the trades of one determination to the next.

`hold` works on the prices of one period alone and knows the weights at both of its ends, so
periods can be worked on side by side; `gold.backtest` chains them. Weights drift with prices. A
symbol that lacks more bars than silver.candles fills has no price any more: it is sold into cash
at its last one.

Sums run over the symbols that a portfolio holds one by one, in their order. A matrix product would
order its sums by the shape of its operands, so that another number of bars, or a symbol that nobody
holds, could change the last bits of a level; and it would multiply mostly by 0, for a random
portfolio holds few of many symbols.
"""

from dataclasses import dataclass

import numpy as np

from gold.calendar import HoldingPeriod
from gold.returns import BoolArray, FloatArray, IntArray, prices
from lakehouse.intervals import Interval, interval_micros
from lakehouse.settings import Execution


@dataclass(frozen=True)
class PricePanel:
    """Prices of one holding period, NaN where a symbol has no candle.

    Attributes:
        open_time: B opens of the period's bars, UTC microseconds, all that the grid has.
        entry: S prices at which the period's trades are done.
        close: (B, S) closes.
        exit: S prices at which the next period's trades are done; no matter in the last period.
    """

    open_time: IntArray
    entry: FloatArray
    close: FloatArray
    exit: FloatArray


@dataclass(frozen=True)
class HeldPeriod:
    """What P portfolios did in one holding period.

    Attributes:
        open_time: B opens of its bars, UTC microseconds.
        invested: P shares of the value that went into symbols at the entry; the rest is cash.
        growth: (B, P) values at each bar's close, of 1 at the entry after its costs.
        sold: (B, P) shares of the value that were sold at the bar because a symbol had stopped
            trading; their costs are taken from `growth`.
        exit_growth: P values at the exit, before its costs.
        exit_turnover: P one-way turnovers into the next weights; NaN without next weights.
        priced: S flags, whether there was a price to buy a symbol at.
        stopped: S numbers of the bar at which a symbol had stopped trading, 0 also where it had
            no price at the entry, B where it traded to the end.
    """

    open_time: IntArray
    invested: FloatArray
    growth: FloatArray
    sold: FloatArray
    exit_growth: FloatArray
    exit_turnover: FloatArray
    priced: BoolArray
    stopped: IntArray


def price_panel(
    symbols: int,
    symbol_index: IntArray,
    open_time: IntArray,
    open_price: FloatArray,
    close: FloatArray,
    period: HoldingPeriod,
    interval: Interval,
    execution: Execution,
) -> PricePanel:
    """Lay out candles as the prices of one holding period.

    Args:
        symbols: S, the number of symbols.
        symbol_index: n codes 0..S-1, the rows in any order, one for each symbol and bar.
        open_time: n bar opens, UTC microseconds. Candles from the bar before the period to the
            bar after it are used, others left out.
        open_price: n opens.
        close: n closes.
        period: The period.
        interval: Length of a bar.
        execution: Whether trades are done at the open of a period's first bar, or at the close of
            the bar before it.
    """
    step = interval_micros(interval)
    times = np.arange(period.start - step, period.end + step, step)
    row = (open_time - times[0]) // step
    used = (row >= 0) & (row < times.size)
    opens, closes = (np.full((times.size, symbols), np.nan) for _ in range(2))
    opens[row[used], symbol_index[used]] = prices(open_price[used])
    closes[row[used], symbol_index[used]] = prices(close[used])
    at_open = execution == "next_open"
    return PricePanel(
        open_time=times[1:-1],
        entry=opens[1] if at_open else closes[0],
        close=closes[1:-1],
        exit=opens[-1] if at_open else closes[-2],
    )


def hold(
    panel: PricePanel,
    weights: FloatArray,
    next_weights: FloatArray | None,
    cost_rate: float,
) -> HeldPeriod:
    """Let the weights of P portfolios drift through one holding period.

    A weight whose symbol has no price at the entry stays in cash, and so does what is missing to 1.

    Args:
        panel: Prices of S symbols.
        weights: (P, S) target weights at the entry, >= 0, of sum <= 1.
        next_weights: (P, S) target weights at the exit; None in the last period.
        cost_rate: Cost of one-way turnover as a fraction of it (0.001 is 10 basis points).
    """
    priced = np.isfinite(panel.entry)
    held = np.where(priced, weights, 0.0)
    close = np.ascontiguousarray(panel.close.T)
    trading = np.logical_and.accumulate(np.isfinite(close), axis=1) & priced[:, None]
    stopped = trading.sum(axis=1)
    relative, last = _relative(close, panel.entry, trading, stopped)
    growth = np.where(trading, relative, last[:, None] * (1 - cost_rate))
    value = _value(held, growth)
    sold = _sold(held, last, stopped, value, cost_rate)
    to_the_end = stopped == close.shape[1]
    at_exit = np.where(
        to_the_end, np.where(np.isfinite(panel.exit), panel.exit / panel.entry, last), growth[:, -1]
    )
    exit_growth = _value(held, at_exit[:, None])[:, 0]
    exit_turnover = np.full(exit_growth.shape, np.nan)
    if next_weights is not None:
        drifted = np.where(to_the_end, held * at_exit / exit_growth[:, None], 0.0)
        exit_turnover = one_way_turnover(
            drifted, np.where(np.isfinite(panel.exit), next_weights, 0.0)
        )
    return HeldPeriod(
        open_time=panel.open_time,
        invested=_sum_in_order(held),
        growth=value.T,
        sold=sold.T,
        exit_growth=exit_growth,
        exit_turnover=exit_turnover,
        priced=priced,
        stopped=stopped,
    )


def one_way_turnover(before: FloatArray, after: FloatArray) -> FloatArray:
    """Half the sum of the absolute changes of weights, cash counted as a holding.

    Args:
        before: (P, S) weights before the trades; what is missing to 1 is cash.
        after: (P, S) weights after them.

    Returns:
        P turnovers within [0, 1]: 1 for a first purchase or a complete exchange.
    """
    change = after - before
    return (_sum_in_order(np.abs(change)) + np.abs(_sum_in_order(change))) / 2


def _relative(
    close: FloatArray, entry: FloatArray, trading: BoolArray, stopped: IntArray
) -> tuple[FloatArray, FloatArray]:
    """(S, B) closes as multiples of the entry, and S last ones while the symbol was trading."""
    relative = np.where(trading, close / entry[:, None], np.nan)
    symbols = np.arange(stopped.size)
    last = np.where(stopped > 0, relative[symbols, np.maximum(stopped - 1, 0)], 1.0)
    return relative, last


def _value(weights: FloatArray, growth: FloatArray) -> FloatArray:
    """(P, B) values of portfolios: the growth of their symbols, weighted, and their cash."""
    value = np.repeat((1 - _sum_in_order(weights))[:, None], growth.shape[1], axis=1)
    for row, of_portfolio in zip(weights, value, strict=True):
        held = np.flatnonzero(row)
        if held.size:
            of_portfolio += np.cumsum(row[held, None] * growth[held], axis=0)[-1]
    return value


def _sold(
    weights: FloatArray, last: FloatArray, stopped: IntArray, value: FloatArray, cost_rate: float
) -> FloatArray:
    """(P, B) shares of the value, before the costs of the sale, that were sold at a bar."""
    amount = np.zeros_like(value)
    for symbol in np.flatnonzero(stopped < value.shape[1]):
        amount[:, stopped[symbol]] += weights[:, symbol] * last[symbol]
    return np.asarray(amount / (value + amount * cost_rate))


def _sum_in_order(rows: FloatArray) -> FloatArray:
    """Sum of each row from left to right; a further column of zeros changes no bit."""
    if not rows.shape[1]:
        return np.zeros(rows.shape[0])
    return np.asarray(np.cumsum(rows, axis=1)[:, -1])
