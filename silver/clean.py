"""The task `clean_candles`: bronze.klines -> the four silver tables.

Only symbols and months whose files changed are built again, and the result equals a full
rebuild: a symbol is carried on from its last candle before the first month that changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from bronze.contracts import ARCHIVE_FILES, ARCHIVE_SYMBOLS, KLINES
from lakehouse.arrow import frame_of
from lakehouse.errors import ConservationError, NotEnoughData
from lakehouse.intervals import interval_micros
from lakehouse.sql import is_in
from lakehouse.tasks import TaskContext, TaskOutcome
from silver.alignment import align
from silver.changes import condition, in_scope, pending
from silver.cleaning import accepted, file_facts, rejected, resolve_duplicates, tag
from silver.contracts import CANDLES, GAPS, LISTINGS, REJECTED_CANDLES
from silver.history import gaps, listings, symbols_with_gaps, with_silent_symbols

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class _Part:
    """The part of the tables that is built again.

    Attributes:
        where: It as a SQL condition, the same on klines, candles and quarantine.
        before: The rows of its symbols that come before it; None when there are none.
        market_last_us: open_time of the market's last bar, microseconds.
    """

    where: str
    before: str | None
    market_last_us: int


def run_clean_candles(context: TaskContext) -> TaskOutcome:
    """Bring the silver tables up to the newest bronze rows.

    Raises:
        NotEnoughData: Bronze has no candle for the market and interval.
        ConservationError: A published row is in neither or in both of candles and quarantine.
    """
    ledger = in_scope(context.lake.read(ARCHIVE_FILES), context).where("rows > 0")
    if ledger.isEmpty():
        raise NotEnoughData(_nothing_ingested(context))
    changed = pending(context)
    if changed == {}:
        listed = in_scope(context.lake.read_own(LISTINGS), context).toArrow()
        if set(_named(context)["symbol"].to_pylist()) <= set(listed["symbol"].to_pylist()):
            return _outcome(context, "nothing new in bronze", listed, unchanged=True)
        return _outcome(context, "no candle changed", _write_history(context))
    settings = context.settings
    klines = in_scope(context.lake.read(KLINES), context)
    tagged = tag(klines, file_facts(ledger), settings.archive.interval, settings.silver)
    part = _whole(context, tagged) if changed is None else _part(context, tagged, changed)
    resolved = resolve_duplicates(tagged.where(part.where))
    candles = align(
        _carried_on(context, accepted(resolved), part),
        settings.archive.interval,
        settings.silver.max_fill_bars,
        part.market_last_us,
    ).where(part.where)
    context.lake.replace(CANDLES, candles, where=part.where)
    _quarantine(context, ledger, tagged, part)
    listed = _write_history(context)
    scope = "all symbols" if part.before is None else f"{len(changed or {})} symbols changed"
    return _outcome(context, scope, listed)


def _nothing_ingested(context: TaskContext) -> str:
    archive = context.settings.archive
    return (
        f"bronze holds no {archive.interval} candles of market {archive.market}: "
        "SELECT source_file, status, error FROM bronze.archive_files tells why"
    )


def _whole(context: TaskContext, tagged: DataFrame) -> _Part:
    last = _last_bar(tagged)
    if last is None:
        raise NotEnoughData("every published row broke a rule: no candle is left to clean")
    return _Part(condition(context), None, last)


def _part(context: TaskContext, tagged: DataFrame, changed: dict[str, str]) -> _Part:
    """The changed symbols from the first month that changed, and who else must be built again.

    When the market's last bar has moved on, a symbol that had stopped shortly before it gets more
    filled bars. When it has moved back, everything is built again.
    """
    listed = in_scope(context.lake.read_own(LISTINGS), context)
    last_bars = {
        row["symbol"]: row["us"]
        for row in listed.where("bars > 0")
        .select("symbol", F.unix_micros("last_open_time").alias("us"))
        .collect()
    }
    new = tagged.where(f"month >= '{min(changed.values())}' AND {is_in('symbol', changed)}")
    unchanged = [us for symbol, us in last_bars.items() if symbol not in changed]
    market_last = max([*unchanged, _last_bar(new) or 0])
    old_last = max(last_bars.values(), default=0)
    if market_last < old_last or not last_bars:
        return _whole(context, tagged)
    months = dict(changed)
    if market_last > old_last:
        fillable = context.settings.silver.max_fill_bars * interval_micros(
            context.settings.archive.interval
        )
        for symbol, us in last_bars.items():
            if us >= old_last - fillable:
                months[symbol] = min(months.get(symbol, _month(us)), _month(us))
    start = min(months.values())
    symbols = "" if set(months) >= set(last_bars) else f" AND {is_in('symbol', months)}"
    scope = condition(context)
    return _Part(
        where=f"{scope} AND month >= '{start}'{symbols}",
        before=f"{scope} AND month < '{start}'{symbols}",
        market_last_us=market_last,
    )


def _last_bar(tagged: DataFrame) -> int | None:
    row = tagged.where(F.size("rules") == 0).agg(F.max("open_us")).collect()[0]
    return None if row[0] is None else int(row[0])


def _month(micros: int) -> str:
    return f"{datetime.fromtimestamp(micros / 1e6, UTC):%Y-%m}"


def _carried_on(context: TaskContext, candles: DataFrame, part: _Part) -> DataFrame:
    """The part's candles, and before them each symbol's last candle that comes before the part."""
    fresh = candles.withColumn("segment", F.lit(None).cast("int"))
    if part.before is None:
        return fresh
    earlier = context.lake.read_own(CANDLES).where(part.before).where("NOT is_filled")
    last = earlier.groupBy("market", "interval", "symbol").agg(
        F.max(F.unix_micros("open_time")).alias("open_us"),
        F.max_by("close", "open_time").alias("close"),
        F.max_by("segment", "open_time").alias("segment"),
    )
    return fresh.unionByName(last, allowMissingColumns=True)


def _quarantine(context: TaskContext, ledger: DataFrame, tagged: DataFrame, part: _Part) -> None:
    """Write the rows that are no candles, and see that every published row is accounted for.

    Raises:
        ConservationError: A published row is in neither or in both of candles and quarantine.
    """
    files = ledger.where(part.where).select("source_file")
    klines = in_scope(context.lake.read(KLINES), context).where(part.where)
    published = (
        klines.join(files, "source_file", "left_semi")
        .groupBy("source_file", "symbol")
        .agg(F.count("*").alias("published"))
    )
    kept = _in_files(context.lake.read_own(CANDLES).where(part.where).where("NOT is_filled"))
    lacking = _differing(published, kept).select("symbol").distinct().collect()
    if not lacking and context.lake.read_own(REJECTED_CANDLES).where(part.where).isEmpty():
        return
    # Only symbols that lost a row on the way are looked at again.
    again = tagged.where(part.where).where(is_in("symbol", {row[0] or "" for row in lacking}))
    context.lake.replace(REJECTED_CANDLES, rejected(resolve_duplicates(again)), where=part.where)
    refused = _in_files(context.lake.read_own(REJECTED_CANDLES).where(part.where))
    found = kept.unionAll(refused).groupBy("source_file").agg(F.sum("found").alias("found"))
    wrong = _differing(published, found).limit(3).collect()
    if wrong:
        detail = "; ".join(
            f"{row['source_file']}: {row['published'] or 0} published, {row['found'] or 0} found"
            for row in wrong
        )
        raise ConservationError(f"silver does not account for every bronze row: {detail}")


def _differing(published: DataFrame, found: DataFrame) -> DataFrame:
    """Files of which another number of rows was found than was published."""
    both = published.join(found, "source_file", "full")
    return both.where(~F.col("published").eqNullSafe(F.col("found")))


def _in_files(rows: DataFrame) -> DataFrame:
    """Number of rows of each source file, as `found`."""
    return rows.groupBy("source_file").agg(F.count("*").alias("found"))


def _named(context: TaskContext) -> pa.Table:
    return in_scope(context.lake.read(ARCHIVE_SYMBOLS), context).toArrow()


def _write_history(context: TaskContext) -> pa.Table:
    """Write listings and gaps; returns the listings."""
    interval, silver = context.settings.archive.interval, context.settings.silver
    scope = condition(context)
    candles = context.lake.read_own(CANDLES).where(scope)
    listed = listings(candles, interval, silver.max_fill_bars).toArrow()
    rows = with_silent_symbols(listed, _named(context))
    context.lake.replace(LISTINGS, frame_of(context.spark, rows), scope)
    holed = symbols_with_gaps(listed, interval)
    if holed or not context.lake.read_own(GAPS).where(scope).isEmpty():
        inside = candles.where(is_in("symbol", holed))
        spans = frame_of(context.spark, listed)
        found = gaps(inside, spans, interval, silver.max_fill_bars, silver.outage_share)
        context.lake.replace(GAPS, found, scope)
    return rows


def _outcome(
    context: TaskContext, scope: str, listed: pa.Table, *, unchanged: bool = False
) -> TaskOutcome:
    refused = in_scope(context.lake.read_own(REJECTED_CANDLES), context)
    rules = (
        refused.select(F.explode("rules").alias("rule")).groupBy("rule").count().orderBy("rule")
    ).collect()
    found = in_scope(context.lake.read_own(GAPS), context)
    holes = found.groupBy("kind").count().orderBy("kind").collect()
    ended = pc.sum(pc.equal(listed["status"], "ended")).as_py() or 0
    figures = {
        "candles": f"{pc.sum(listed['bars']).as_py():,}",
        "filled bars": f"{pc.sum(listed['filled_bars']).as_py():,}",
        "symbols": f"{pc.sum(pc.is_valid(listed['status'])).as_py():,} ({ended:,} ended)",
        "rejected candles": f"{refused.count() if rules else 0:,}",
        "gaps": ", ".join(f"{row['count']:,} {row['kind']}" for row in holes) or "0",
    }
    if rules:
        figures["broken rules"] = ", ".join(f"{row['rule']} {row['count']:,}" for row in rules)
        figures["rows and their rules"] = "table silver.rejected_candles"
    message = f"{scope}: {figures['candles']} candles, {figures['rejected candles']} rejected"
    return TaskOutcome(message, figures, unchanged)
