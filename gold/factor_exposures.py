"""The task `factor_exposures`: each coin's rolling regression on the factors.

Bars are cut into blocks, each with the window before it, and coins into groups, so that the work
spreads and no piece holds more than `_BLOCK_CANDLES` candles, whatever the market's size. The
kernel gives the same bits however they are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from gold.factor_candles import (
    bar_of,
    from_bar,
    in_blocks,
    published_candles,
    since,
    span,
    stamped,
)
from gold.factor_changes import first_changed_day
from gold.factor_contracts import FACTOR_EXPOSURES, FACTOR_RETURNS
from gold.factor_names import MODEL_FACTORS
from gold.factor_returns import CANDLE_VALUES
from gold.factor_rows import EXPOSURES_DDL, exposure_rows
from lakehouse.arrow import frame_of
from lakehouse.errors import NotEnoughData
from lakehouse.intervals import MICROS_PER_DAY, instant, interval_micros
from lakehouse.tasks import TaskContext, TaskOutcome
from silver.contracts import CANDLES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Candles of a piece, the window before its bars included: a worker takes about 0.5 GB with them.
_BLOCK_CANDLES: Final = 1_000_000

# A block of so many windows: a longer one would spare little and leave cores idle.
_BLOCK_WINDOWS: Final = 4


DECIDED_BY: Final = ("buckets", "portfolios", "window", "min_bars", "ridge")
"""Settings below `factors`, beside interval, that decide about the rows."""


@dataclass(frozen=True)
class Cut:
    """How the work is cut.

    Attributes:
        bars: Bars of a block, without the window before it.
        coins: Coins of a group, at the most.
    """

    bars: int
    coins: int

    @classmethod
    def of(cls, coins: int, window: int, candles: int) -> Cut:
        """Pieces of at most so many candles, or two windows, of at least a window's bars."""
        together = max(1, min(coins, candles // (2 * window)))
        bars = max(candles // together - window, window)
        return cls(min(bars, _BLOCK_WINDOWS * window), together)


def run_factor_exposures(context: TaskContext) -> TaskOutcome:
    """Bring the exposures up to the newest candles and factor returns.

    Raises:
        NotEnoughData: There are no candles, or no coin has enough bars with all factors.
    """
    covered = span(context)
    inputs = [
        (CANDLES, CANDLE_VALUES),
        (FACTOR_RETURNS, MODEL_FACTORS[context.settings.factors.portfolios]),
    ]
    start = first_changed_day(context, DECIDED_BY, inputs, (FACTOR_EXPOSURES,))
    if start == -1:
        return TaskOutcome("no candle and no factor changed", unchanged=True)
    step = interval_micros(context.settings.factors.interval)
    first_us = covered.first_us if start is None else start * MICROS_PER_DAY
    wanted = range(first_us // step, covered.end_us // step)
    rows = _exposures(context, covered.symbols, wanted)
    context.lake.replace(FACTOR_EXPOSURES, rows, since(context, start))
    return _outcome(context, start)


def _exposures(context: TaskContext, symbols: Sequence[str], wanted: range) -> DataFrame:
    """Rows of gold.factor_exposures at the wanted bars."""
    if not wanted:  # the newest candles are gone
        return context.lake.frame(FACTOR_EXPOSURES, [])
    settings = context.settings.factors
    cut = Cut.of(len(symbols), settings.window, _BLOCK_CANDLES)
    step, halo = interval_micros(settings.interval), settings.window - 1
    factors = MODEL_FACTORS[settings.portfolios]
    read_from = max(wanted.start - halo, 0)
    blocks = range(wanted.start // cut.bars, (wanted.stop - 1) // cut.bars + 1)

    def fit(key: tuple[pa.Scalar, ...], candles: pa.Table, returns: pa.Table) -> pa.Table:
        begin = max(key[0].as_py() * cut.bars, wanted.start)
        bars = range(begin, min((key[0].as_py() + 1) * cut.bars, wanted.stop))
        return exposure_rows(candles, returns, factors, bars, settings)

    returns = context.lake.read(FACTOR_RETURNS).where(since(context, None))
    returns = from_bar(returns.select(bar_of(step), *factors, "month"), read_from, step)
    candles = from_bar(published_candles(context, "open", "close"), read_from, step)
    group = np.arange(len(symbols)) // cut.coins
    groups = frame_of(context.spark, pa.table({"symbol": symbols, "group": group}))
    every_group = F.sequence(F.lit(0).cast("bigint"), F.lit(int(group[-1])).cast("bigint"))
    pieces = (
        in_blocks(candles, cut.bars, halo, blocks)
        .join(F.broadcast(groups), "symbol", "inner")
        .groupBy("block", "group")
        .cogroup(
            in_blocks(returns, cut.bars, halo, blocks)
            .withColumn("group", F.explode(every_group))
            .groupBy("block", "group")
        )
    )
    return stamped(context, pieces.applyInArrow(fit, EXPOSURES_DDL))


def _outcome(context: TaskContext, start: int | None) -> TaskOutcome:
    """What was written.

    Raises:
        NotEnoughData: There is no row, of earlier days neither.
    """
    written = context.lake.read_own(FACTOR_EXPOSURES).where(since(context, start))
    # An exact median would hold every R² of the table in memory.
    rows, coins, r2 = written.agg(
        F.count("*"), F.count_distinct("symbol"), F.percentile_approx("r2", 0.5)
    ).collect()[0]
    settings = context.settings.factors
    if not rows and context.lake.read_own(FACTOR_EXPOSURES).where(since(context, None)).isEmpty():
        raise NotEnoughData(
            f"no coin has {settings.min_bars} of {settings.window} bars at which every factor has "
            "a return: sorting takes three coins or more and the days before, so give the model "
            "more symbols or months, or lower factors.min_bars"
        )
    scope = "all bars" if start is None else f"from {instant(start * MICROS_PER_DAY):%Y-%m-%d} on"
    figures = {"median R²": f"{r2:.3f}"} if r2 is not None else {}
    return TaskOutcome(f"{scope}: {rows:,} regressions of {coins:,} coins", figures)
