"""What a replacement of a source file's lines changed, told by time travel over bronze.klines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from bronze.archive import parse_key
from bronze.contracts import KLINES
from bronze.lines import MIN_MICROSECONDS, MIN_MILLISECONDS
from lakehouse.arrow import frame_of
from lakehouse.errors import ArchiveError
from lakehouse.intervals import MICROS_PER_DAY
from lakehouse.sql import is_in
from lakehouse.tables import Lake

# What makes two rows of one bar differ: all that is published but the times.
_VALUES = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trades",
    "taker_buy_base",
    "taker_buy_quote",
)
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Replacement:
    """Lines of one file that took the place of another's, or of the same file's older ones.

    Attributes:
        former_file: File whose lines were replaced.
        former_version: Version of bronze.klines that still has them.
        source_file: File whose lines took their place; of a monthly file that superseded a daily
            one, only those of its day are compared.
        version: Version of bronze.klines that has these.
    """

    former_file: str
    former_version: int
    source_file: str
    version: int


@dataclass(frozen=True)
class Difference:
    """Bars that a replacement removed, added and changed."""

    removed: int
    added: int
    changed: int

    @property
    def total(self) -> int:
        """Bars that are not the same before and after."""
        return self.removed + self.added + self.changed

    def __add__(self, other: Difference) -> Difference:
        return Difference(
            self.removed + other.removed, self.added + other.added, self.changed + other.changed
        )


NO_DIFFERENCE = Difference(0, 0, 0)


def differences(lake: Lake, replacements: Sequence[Replacement]) -> list[Difference]:
    """Compare the rows of before and after, bar by bar, for each replacement in the order given.

    Two rows are of one bar when their open times are the same instant, whatever their units. A
    bar that a file tells twice counts twice.

    Raises:
        ArchiveError: A replacement names what is no source file.
    """
    if not replacements:
        return []
    every = range(len(replacements))
    before = [(n, replacements[n].former_file, replacements[n].former_version) for n in every]
    after = [(n, replacements[n].source_file, replacements[n].version) for n in every]
    days = {n: _day(replacements[n].former_file) for n in every}
    key = ["number", "open_us", "nth"]
    joined = _bars(lake, before, days, "old").join(_bars(lake, after, days, "new"), key, "full")
    is_lost, is_gained = F.col("new").isNull(), F.col("old").isNull()
    is_same = F.col("old").eqNullSafe(F.col("new"))
    counted = joined.groupBy("number").agg(
        F.count_if(is_lost).alias("removed"),
        F.count_if(is_gained).alias("added"),
        F.count_if(~is_lost & ~is_gained & ~is_same).alias("changed"),
    )
    found = {row.pop("number"): Difference(**row) for row in counted.toArrow().to_pylist()}
    return [found.get(n, NO_DIFFERENCE) for n in every]


def _bars(
    lake: Lake, sides: Sequence[tuple[int, str, int]], days: dict[int, int | None], values: str
) -> DataFrame:
    """number, open_us, nth (of several rows of one bar) and the values of each row of one side."""
    versions = sorted({version for _, _, version in sides})
    parts = [
        _at(lake, version, [(n, name) for n, name, v in sides if v == version], days)
        for version in versions
    ]
    nth = F.row_number().over(Window.partitionBy("number", "open_us").orderBy("line"))
    return reduce(DataFrame.unionAll, parts).select(
        "number", "open_us", nth.alias("nth"), F.struct(*_VALUES).alias(values)
    )


def _at(
    lake: Lake, version: int, sides: Sequence[tuple[int, str]], days: dict[int, int | None]
) -> DataFrame:
    """The rows of these files in one version, with number and open_us."""
    keys = [parse_key(name) for _, name in sides]
    known = [key for key in keys if key is not None]
    if len(known) < len(keys):
        raise ArchiveError("a row of bronze.archive_files names what is no candle file")
    klines = lake.read_own(KLINES, version).where(
        " AND ".join(
            [
                is_in("market", {key.market for key in known}),
                is_in("interval", {key.interval for key in known}),
                is_in("month", {key.month for key in known}),
            ]
        )
    )
    named = pa.table(
        {
            "number": pa.array([n for n, _ in sides], pa.int64()),
            "source_file": pa.array([name for _, name in sides], pa.string()),
            "day": pa.array([days[n] for n, _ in sides], pa.int64()),
        }
    )
    rows = klines.join(
        F.broadcast(frame_of(klines.sparkSession, named)), "source_file", "inner"
    ).withColumn("open_us", _open_us())
    is_of_day = F.floor(F.col("open_us") / MICROS_PER_DAY) == F.col("day")
    return rows.where(F.col("day").isNull() | is_of_day).select(
        "number", "open_us", "line", *_VALUES
    )


def _open_us() -> Column:
    """A published open time in microseconds, its unit told by its magnitude; NULL on overflow."""
    published = F.col("open_time")
    return (
        F.when(published < MIN_MILLISECONDS, F.try_multiply(published, F.lit(1_000_000)))
        .when(published < MIN_MICROSECONDS, published * 1_000)
        .otherwise(published)
    )


def _day(source_file: str) -> int | None:
    """Days since the epoch of a daily file; None of a monthly one."""
    key = parse_key(source_file)
    if key is None or key.cadence == "monthly":
        return None
    return (date.fromisoformat(key.period) - _EPOCH).days
