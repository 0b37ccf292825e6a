"""From published rows to tagged rows: the rules each row breaks, and which of two is the bar.

Rows are tagged once and split on the tag: a row with no broken rule is a candle, any other row
goes to quarantine. Together they are all the rows that came in.
"""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from lakehouse.intervals import Interval
from lakehouse.settings import SilverSettings
from silver.rules import broken_rules

DUPLICATE = "duplicate"

# Columns that tagging adds to those of bronze.klines.
TAGS = ("open_us", "rules", "warnings")

_MICROS_PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}


def file_facts(ledger: DataFrame) -> DataFrame:
    """What the rules need to know of each file, one row for each.

    Args:
        ledger: Rows of bronze.archive_files with `rows` > 0.

    Returns:
        source_file, unit_us (microseconds in the file's time unit), period_start_us and
        period_end_us (end exclusive), cadence, ingested_at.
    """
    unit = F.coalesce(
        *(F.when(F.col("time_unit") == name, F.lit(us)) for name, us in _MICROS_PER_UNIT.items())
    ).cast("bigint")
    is_daily = F.col("cadence") == "daily"
    start = F.to_timestamp(
        F.when(is_daily, F.col("period")).otherwise(F.concat("period", F.lit("-01")))
    )
    end = F.when(is_daily, start + F.expr("INTERVAL 1 DAY")).otherwise(
        start + F.expr("INTERVAL 1 MONTH")
    )
    return ledger.select(
        "source_file",
        unit.alias("unit_us"),
        F.unix_micros(start).alias("period_start_us"),
        F.unix_micros(end).alias("period_end_us"),
        "cadence",
        "ingested_at",
    )


def tag(
    klines: DataFrame, files: DataFrame, interval: Interval, settings: SilverSettings
) -> DataFrame:
    """Add to each published row the rules it breaks.

    Args:
        klines: Rows of bronze.klines.
        files: `file_facts`; rows of files that are not in it are left out.
        interval: Their bar length.
        settings: Severities and tolerance.

    Returns:
        The columns of klines; open_us (open_time in microseconds since the epoch, NULL when it
        overflows); rules and warnings (ARRAY<STRING>); cadence and ingested_at of the file.
    """
    rows = klines.join(files, "source_file", "inner").withColumn(
        "open_us", F.try_multiply(F.col("open_time"), F.col("unit_us"))
    )
    return rows.select(
        *klines.columns,
        "open_us",
        broken_rules(settings, interval, "reject").alias("rules"),
        broken_rules(settings, interval, "warn").alias("warnings"),
        "cadence",
        "ingested_at",
    )


def resolve_duplicates(tagged: DataFrame) -> DataFrame:
    """Of several rows of one bar, keep one and tag the others `duplicate`.

    A row that breaks a rule never wins. Then the monthly file wins over the daily, the newest
    publication over an older one, and the first line within a file.

    Returns:
        The columns of bronze.klines and `TAGS`, hashed by symbol, so that what works on one
        symbol at a time needs no further shuffle.
    """
    by_bar = Window.partitionBy("market", "interval", "symbol", "open_us").orderBy(
        F.size("rules") > 0,
        F.col("cadence") == "daily",
        F.col("ingested_at").desc(),
        "source_file",
        "line",
    )
    is_loser = (F.size("rules") == 0) & (F.row_number().over(by_bar) > 1)
    published = [name for name in tagged.columns if name not in (*TAGS, "cadence", "ingested_at")]
    return tagged.repartition("market", "interval", "symbol").select(
        *published,
        "open_us",
        F.when(is_loser, F.array(F.lit(DUPLICATE))).otherwise(F.col("rules")).alias("rules"),
        "warnings",
    )


def accepted(resolved: DataFrame) -> DataFrame:
    """Rows that are candles."""
    return resolved.where(F.size("rules") == 0)


def rejected(resolved: DataFrame) -> DataFrame:
    """Rows that go to quarantine, with the columns of silver.rejected_candles."""
    return resolved.where(F.size("rules") > 0).drop("open_us", "warnings")
