"""The factor model's kernels on the rows of one block: Arrow tables in, Arrow tables out.

No Spark here: each function runs inside one task of an executor, or in a test. What a block of
bars gives depends on those bars alone and not on what else is computed beside them.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gold.characteristics import (
    DAY_SUMS,
    MOMENTUM_WINDOWS,
    characteristics,
    day_sums,
    momentum_scores,
)
from gold.factor_names import (
    BUCKET_FACTORS,
    BUCKETS,
    CHARACTERISTICS,
    LONG_SHORT_FACTORS,
    MARKET_RETURN,
    beta_name,
)
from gold.factor_panel import by_bar, factor_panel
from gold.factors import bucket_returns, high_minus_low, mean_over_coins, terciles
from gold.returns import FloatArray, IntArray
from gold.rolling_ridge import rolling_ridge
from lakehouse.settings import FactorSettings

# Bars before a day that its momentum looks back on.
MOMENTUM_HALO: Final = max(MOMENTUM_WINDOWS) - 1

DAYS_DDL: Final = "day bigint, symbol string, " + ", ".join(f"{name} double" for name in DAY_SUMS)
BUCKETS_DDL: Final = "as_of_us bigint, factor string, symbol string, value double, bucket string"
_RETURNS: Final = (MARKET_RETURN, *BUCKET_FACTORS, *LONG_SHORT_FACTORS)
RETURNS_DDL: Final = "bar bigint, coins bigint, " + ", ".join(f"{name} double" for name in _RETURNS)
_NUMBERS: Final = (
    *("constant", *map(beta_name, _RETURNS)),
    *("r2", "adj_r2", "residual_variance", "condition_number"),
)
EXPOSURES_DDL: Final = "symbol string, bar bigint, bars bigint, " + ", ".join(
    f"{name} double" for name in _NUMBERS
)


def day_rows(candles: pa.Table, days: range, bars_per_day: int) -> pa.Table:
    """Day sums of each coin (`DAYS_DDL`) from the candles of some days and of the halo before."""
    first = days.start * bars_per_day - MOMENTUM_HALO
    panel = factor_panel(candles, first, MOMENTUM_HALO + len(days) * bars_per_day, "trades")
    market = mean_over_coins(panel.returns)
    scores = momentum_scores(panel.returns, first)
    rows = []
    for day in days:
        bars = slice(day * bars_per_day - first, (day + 1) * bars_per_day - first)
        trades = panel.others["trades"][:, bars]
        sums = day_sums(panel.returns[:, bars], trades, market[bars], scores[:, bars])
        columns = {
            "day": np.full(len(panel.symbols), day),
            "symbol": pa.array(panel.symbols, pa.string()),
            **dict(zip(DAY_SUMS, sums.T, strict=True)),
        }
        rows.append(pa.table(columns).filter(pa.array(sums[:, 0] > 0)))
    return pa.concat_tables(rows)


def bucket_rows(
    days: pa.Table, dates: Sequence[tuple[int, int, int]], *, trading: bool
) -> pa.Table:
    """Buckets of the coins at each date (`BUCKETS_DDL`).

    Args:
        days: Day sums of any days and coins.
        dates: For each date its as_of in UTC microseconds, and the first and last day that it
            looks back on.
        trading: Whether a coin without a bar on the last day is in no bucket; else it is in none
            by momentum alone.
    """
    symbols = pc.unique(days["symbol"]).sort()
    coins = pc.index_in(days["symbol"], symbols).to_numpy().astype(np.int64)
    numbers = days["day"].to_numpy()
    start = min(int(numbers.min()), *(last for *_, last in dates))
    end = max(int(numbers.max()), *(last for *_, last in dates)) + 1
    sums = np.zeros((end - start, len(symbols), len(DAY_SUMS)))
    sums[numbers - start, coins] = np.column_stack([days[name].to_numpy() for name in DAY_SUMS])
    found = []
    for as_of, first, last in dates:
        lookback = np.zeros_like(sums[0])
        for day in sums[max(first - start, 0) : last - start + 1]:
            lookback += day
        if trading:
            lookback[sums[last - start, :, 0] == 0] = 0
        values = characteristics(lookback, sums[last - start])
        for name, row in zip(CHARACTERISTICS, values, strict=True):
            buckets = terciles(row)
            sorted_ = np.flatnonzero(buckets >= 0)
            found.append(
                pa.table(
                    {
                        "as_of_us": np.full(sorted_.size, as_of),
                        "factor": pa.array([name] * sorted_.size, pa.string()),
                        "symbol": symbols.take(pa.array(sorted_)),
                        "value": row[sorted_],
                        "bucket": pa.array(BUCKETS).take(pa.array(buckets[sorted_])),
                    }
                )
            )
    return pa.concat_tables(found)


def return_rows(candles: pa.Table, buckets: pa.Table, first_bar: int, bars: int) -> pa.Table:
    """Factor returns (`RETURNS_DDL`) of a block of bars from its candles and buckets."""
    panel = factor_panel(candles, first_bar, bars)
    by_bucket = bucket_returns(panel.returns, _placed(buckets, panel.symbols))
    market = mean_over_coins(panel.returns)
    series = np.concatenate([market[None], by_bucket, high_minus_low(by_bucket)])
    coins_at = np.count_nonzero(~np.isnan(panel.returns), axis=0)
    table = pa.table(
        {
            "bar": np.arange(first_bar, first_bar + bars),
            "coins": coins_at,
            **{name: _nullable(row) for name, row in zip(_RETURNS, series, strict=True)},
        }
    )
    return table.filter(pa.array(coins_at > 0))


def _placed(buckets: pa.Table, symbols: tuple[str, ...]) -> IntArray:
    """(3, N) bucket of each coin by each characteristic; -1 for a coin that is in none."""
    place = np.full((len(CHARACTERISTICS), len(symbols)), -1)
    present = buckets.filter(pc.is_in(buckets["symbol"], pa.array(symbols, pa.string())))
    rows, coins, which = (
        pc.index_in(present[column], pa.array(names, pa.string())).to_numpy()
        for column, names in (
            ("factor", CHARACTERISTICS),
            ("symbol", symbols),
            ("bucket", BUCKETS),
        )
    )
    place[rows, coins] = which
    return place


def exposure_rows(
    candles: pa.Table,
    returns: pa.Table,
    factors: tuple[str, ...],
    bars: range,
    settings: FactorSettings,
) -> pa.Table:
    """Exposures (`EXPOSURES_DDL`) at a block of bars, of the coins that have the bar.

    Args:
        candles: Of the block and the `window - 1` bars before it.
        returns: Rows of gold.factor_returns of these bars.
        factors: Which of its columns are regressed on.
        bars: Numbers of the block's bars.
        settings: Window, penalty, and the least bars of a window for a row.
    """
    halo, min_bars = settings.window - 1, settings.min_bars
    panel = factor_panel(candles, bars.start - halo, halo + len(bars))
    x = by_bar(returns, factors, panel.first_bar, halo + len(bars))
    fit = rolling_ridge(
        x, panel.returns, panel.first_bar, settings.window, settings.ridge, min_bars
    )
    wanted = ~np.isnan(panel.returns[:, halo:]) & (fit.bars >= min_bars)
    coins, columns = np.nonzero(wanted)
    betas = dict(zip(("constant", *map(beta_name, factors)), fit.coefficients, strict=True))
    numbers = {
        **betas,
        "r2": fit.r2,
        "adj_r2": fit.adj_r2,
        "residual_variance": fit.residual_variance,
        "condition_number": fit.condition_number,
    }
    none = pa.nulls(coins.size, pa.float64())
    return pa.table(
        {
            "symbol": pa.array(panel.symbols, pa.string()).take(pa.array(coins)),
            "bar": columns + bars.start,
            "bars": fit.bars[wanted],
            **{
                name: _nullable(numbers[name][wanted]) if name in numbers else none
                for name in _NUMBERS
            },
        }
    )


def _nullable(values: FloatArray) -> pa.Array:
    """Doubles with NULL for NaN."""
    return pa.array(values, mask=np.isnan(values))
