"""What executors hand back of an index, as Arrow rows: a lookback, or a holding period, at a time.

Rows grow with dates x symbols or with bars x portfolios, never with bars x symbols.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gold.calendar import HoldingPeriod
from gold.eligibility import Candidates, Eligibility
from gold.holding import HeldPeriod
from gold.lookback import Lookback, LookbackCandles
from gold.returns import BoolArray, IntArray
from lakehouse.intervals import Interval, interval_micros

LOOKBACK_COLUMNS: Final = ("symbol", "open_us", "close", "segment", "quote_volume", "is_filled")
LOOKBACK_DDL: Final = (
    "as_of bigint, symbol string, last_open_time bigint, real_bars bigint, returns bigint, "
    "sharpe double, annual_volatility double, median_daily_quote_volume double, "
    "correlated array<int>, rho array<double>"
)

HOLDING_COLUMNS: Final = ("symbol", "open_us", "open", "close")
HELD_DDL: Final = (
    "as_of bigint, portfolio int, invested double, growth array<double>, sold array<double>, "
    "exit_growth double, exit_turnover double, stopped array<string>, stopped_bar array<int>"
)


def lookback_candles(rows: pa.Table, symbols: Sequence[str]) -> LookbackCandles:
    """Candles as they come from Spark, in any order, as the arrays of one lookback.

    Args:
        rows: `LOOKBACK_COLUMNS`, no NULL.
        symbols: All symbols that may occur, ascending.
    """
    codes = pc.index_in(rows["symbol"], pa.array(symbols, pa.string()))
    rows = rows.append_column("code", codes).sort_by(
        [("code", "ascending"), ("open_us", "ascending")]
    )
    return LookbackCandles(
        symbol_index=rows["code"].to_numpy().astype(np.int64),
        open_time=rows["open_us"].to_numpy(),
        close=rows["close"].to_numpy(),
        segment=rows["segment"].to_numpy().astype(np.int64),
        quote_volume=rows["quote_volume"].to_numpy(),
        is_filled=rows["is_filled"].to_numpy(),
    )


def lookback_rows(known: Lookback) -> pa.Table:
    """One row for each symbol listed before the date; its pairs are those in which it is first."""
    found = known.candidates
    size = len(found.symbols)
    starts = pa.array(np.searchsorted(known.pairs[:, 0], np.arange(size + 1)), pa.int32())
    second = pa.array(known.pairs[:, 1], pa.int32())
    return pa.table(
        {
            "as_of": pa.repeat(pa.scalar(known.eligibility.as_of, pa.int64()), size),
            "symbol": pa.array(found.symbols, pa.string()),
            "last_open_time": found.last_open_time,
            "real_bars": found.real_bars,
            "returns": found.returns,
            "sharpe": found.sharpe,
            "annual_volatility": found.annual_volatility,
            "median_daily_quote_volume": found.median_daily_quote_volume,
            "correlated": pa.ListArray.from_arrays(starts, second),
            "rho": pa.ListArray.from_arrays(starts, pa.array(known.rho, pa.float64())),
        }
    )


def lookback_of(rows: pa.Table, first_open_time: IntArray, eligibility: Eligibility) -> Lookback:
    """What `lookback_rows` made of one date, its rows in any order.

    Args:
        rows: The rows of the date.
        first_open_time: Opens of the symbols' first published bars, in symbol order.
        eligibility: The date and its rules.
    """
    rows = rows.sort_by("symbol").combine_chunks()
    correlated, rho = (rows[name].combine_chunks() for name in ("correlated", "rho"))
    first = np.repeat(np.arange(rows.num_rows), pc.list_value_length(correlated).to_numpy())
    second = correlated.flatten().to_numpy().astype(np.int64)
    return Lookback(
        eligibility,
        Candidates(
            symbols=tuple(rows["symbol"].to_pylist()),
            first_open_time=first_open_time,
            last_open_time=rows["last_open_time"].to_numpy(),
            real_bars=rows["real_bars"].to_numpy(),
            returns=rows["returns"].to_numpy(),
            sharpe=rows["sharpe"].to_numpy(),
            annual_volatility=rows["annual_volatility"].to_numpy(),
            median_daily_quote_volume=rows["median_daily_quote_volume"].to_numpy(),
        ),
        pairs=np.column_stack([first, second]),
        rho=rho.flatten().to_numpy(),
    )


def held_rows(as_of: int, held: HeldPeriod, symbols: Sequence[str], members: BoolArray) -> pa.Table:
    """One row for each portfolio; the first names what it bought and sold as it stopped trading.

    Args:
        as_of: Date of the determination that is held, UTC microseconds.
        held: What P portfolios did.
        symbols: S symbols of the period's prices.
        members: S flags, whether the first portfolio was to hold the symbol.
    """
    bars, portfolios = held.growth.shape
    gone = np.flatnonzero(members & held.priced & (held.stopped < bars)).tolist()
    stopped = [[symbols[i] for i in gone], *[None] * (portfolios - 1)]
    stopped_bar = [held.stopped[gone].tolist(), *[None] * (portfolios - 1)]
    sold = [row.tolist() if row.any() else None for row in held.sold.T]
    offsets = pa.array(np.arange(portfolios + 1) * bars, pa.int32())
    growth = pa.array(np.ascontiguousarray(held.growth.T).ravel())
    return pa.table(
        {
            "as_of": pa.repeat(pa.scalar(as_of, pa.int64()), portfolios),
            "portfolio": pa.array(np.arange(portfolios), pa.int32()),
            "invested": held.invested,
            "growth": pa.ListArray.from_arrays(offsets, growth),
            "sold": pa.array(sold, pa.list_(pa.float64())),
            "exit_growth": held.exit_growth,
            "exit_turnover": held.exit_turnover,
            "stopped": pa.array(stopped, pa.list_(pa.string())),
            "stopped_bar": pa.array(stopped_bar, pa.list_(pa.int32())),
        }
    )


def held_of(
    rows: pa.Table, period: HoldingPeriod, interval: Interval
) -> tuple[HeldPeriod, dict[int, list[str]]]:
    """What `held_rows` made of one period, its rows in any order.

    Returns:
        The period (without `priced` and `stopped`), and by the open of a bar what the first
        portfolio sold at it as it had stopped trading.
    """
    rows = rows.sort_by("portfolio").combine_chunks()
    open_time = np.arange(period.start, period.end, interval_micros(interval), dtype=np.int64)
    growth = rows["growth"].combine_chunks().flatten().to_numpy()
    sold = np.zeros((rows.num_rows, open_time.size))
    for position, amounts in enumerate(rows["sold"].to_pylist()):
        if amounts is not None:
            sold[position] = amounts
    stopped: dict[int, list[str]] = {}
    for symbol, bar in zip(rows["stopped"][0].as_py(), rows["stopped_bar"][0].as_py(), strict=True):
        stopped.setdefault(int(open_time[bar]), []).append(symbol)
    held = HeldPeriod(
        open_time=open_time,
        invested=rows["invested"].to_numpy(),
        growth=growth.reshape(rows.num_rows, open_time.size).T,
        sold=sold.T,
        exit_growth=rows["exit_growth"].to_numpy(),
        exit_turnover=rows["exit_turnover"].to_numpy(),
        priced=np.empty(0, dtype=np.bool_),
        stopped=np.empty(0, dtype=np.int64),
    )
    return held, stopped
