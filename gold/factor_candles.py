"""The candles of the factor model, cut into blocks of bars that can be worked on side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.compute as pc
from pyspark.sql import Column
from pyspark.sql import functions as F

from lakehouse.errors import NotEnoughData
from lakehouse.intervals import MICROS_PER_DAY, instant, interval_micros
from lakehouse.sql import equals
from silver.contracts import CANDLES, LISTINGS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.settings import Settings
    from lakehouse.tasks import TaskContext


@dataclass(frozen=True)
class Span:
    """What the candles cover.

    Attributes:
        first_us: Open of the first published bar, UTC microseconds.
        end_us: Close of the last one.
        symbols: Symbols that have a bar, ascending.
    """

    first_us: int
    end_us: int
    symbols: tuple[str, ...]


def scope_of(settings: Settings) -> dict[str, str]:
    """The market and interval that the factor model works on, as table columns name them."""
    return {"market": settings.archive.market, "interval": settings.factors.interval}


def span(context: TaskContext) -> Span:
    """What silver has of the factor model's market and interval.

    Raises:
        NotEnoughData: Nothing.
    """
    scope = scope_of(context.settings)
    listed = (
        context.lake.read(LISTINGS)
        .where(equals(scope))
        .where("bars > 0")
        .select("symbol", F.unix_micros("first_open_time"), F.unix_micros("last_open_time"))
        .toArrow()
        .sort_by("symbol")
    )
    if not listed.num_rows:
        raise NotEnoughData(
            f"silver holds no {scope['interval']} candles of market {scope['market']}: "
            "`candlelake run factor_model` loads them; factors.interval, factors.start and "
            "factors.end say which"
        )
    symbols, first, last = listed.columns
    end = pc.max(last).as_py() + interval_micros(context.settings.factors.interval)
    return Span(pc.min(first).as_py(), end, tuple(symbols.to_pylist()))


def published_candles(context: TaskContext, *columns: str) -> DataFrame:
    """Published bars of silver.candles: symbol, bar (numbered from the epoch), month, and columns.

    A filled bar says nothing of a coin's return, so the coin is missing there.
    """
    step = interval_micros(context.settings.factors.interval)
    return (
        context.lake.read(CANDLES)
        .where(equals(scope_of(context.settings)))
        .where("NOT is_filled")
        .select("symbol", bar_of(step), "month", *columns)
    )


def bar_of(step_us: int) -> Column:
    """Number of the bar that opens at open_time, counted from the epoch."""
    return F.expr(f"unix_micros(open_time) div {step_us}").alias("bar")


def from_bar(frame: DataFrame, bar: int, step_us: int) -> DataFrame:
    """Rows of a bar and those after it, without month: no month before the bar's is read."""
    return frame.where(f"month >= '{instant(bar * step_us):%Y-%m}' AND bar >= {bar}").drop("month")


def since(context: TaskContext, day: int | None, time: str = "open_time") -> str:
    """Rows of the model's market and interval from a day on, all without one, as SQL."""
    scope = equals(scope_of(context.settings))
    if day is None:
        return scope
    midnight = instant(day * MICROS_PER_DAY)
    month = f" AND month >= '{midnight:%Y-%m}'" if time == "open_time" else ""
    return f"{scope}{month} AND {time} >= TIMESTAMP '{midnight:%Y-%m-%d %H:%M:%S}'"


def stamped(context: TaskContext, bars: DataFrame) -> DataFrame:
    """Rows with a column bar as rows of a table: of what, when, and by which run."""
    scope = scope_of(context.settings)
    step = interval_micros(context.settings.factors.interval)
    open_time = F.timestamp_micros(F.expr(f"bar * {step}"))
    return bars.withColumns(
        {
            "market": F.lit(scope["market"]),
            "interval": F.lit(scope["interval"]),
            "open_time": open_time,
            "month": F.date_format(open_time, "yyyy-MM"),
            "buckets": F.lit(context.settings.factors.buckets),
            "run_id": F.lit(context.run_id),
        }
    ).drop("bar")


def in_blocks(frame: DataFrame, bars: int, halo: int, wanted: range) -> DataFrame:
    """Each row once for each of the wanted blocks that needs it, as `block`.

    Block b covers bars [b * bars, (b + 1) * bars) and needs the `halo` bars before them too.
    """
    blocks = F.sequence(F.expr(f"bar div {bars}"), F.expr(f"(bar + {halo}) div {bars}"))
    within = F.col("block").between(wanted.start, wanted.stop - 1)
    return frame.withColumn("block", F.explode(blocks)).where(within)


def bars_per_day(settings: Settings) -> int:
    """Bars in a UTC day."""
    return MICROS_PER_DAY // interval_micros(settings.factors.interval)
