"""Reading source files in batches: what each batch holds that is new or changed is committed.

A file that is new is read once: its rows are committed, and of those rows its facts are told. Any
other file is read twice (`bronze.loading`), so that a bad one leaves what bronze has of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from pyspark.sql import functions as F

from bronze.archive import ArchiveKey, ListedFile
from bronze.commits import Loaded, commit_files, lines_of_files, mark_half_done, superseded_days
from bronze.contracts import KLINES
from bronze.ledger import Ledger, LedgerRow, content, half_done
from bronze.lines import MIN_MICROSECONDS, MIN_MILLISECONDS, time_unit_of
from bronze.loading import FileToRead, facts_of, file_facts, whole_files
from bronze.plan import daily_files_of, whole_months
from bronze.reading import download_failed, not_had
from lakehouse.sql import equals, is_in
from lakehouse.tables import FIRST_VERSION
from lakehouse.tasks import TaskContext

log = logging.getLogger(__name__)

# Files to a commit: few enough to keep the work of a killed run, many enough for large tables.
_BATCH_FILES = 10_000
_BATCH_BYTES = 2 * 1024**3

# What a failed republication leaves as the last good one had it.
_KEPT = ("sha256", "size_bytes", "rows", "rejected_lines", "has_header", "time_unit")


def load_files(
    context: TaskContext, root: str, due: Sequence[ListedFile], ledger: Ledger
) -> Loaded:
    """Read files, commit what is new or changed, and bring the ledger up to it.

    Args:
        context: The task.
        root: Folder or URI of the archive, as the executors see it.
        due: The files to read.
        ledger: What bronze holds of the market and interval; updated.
    """
    loaded, read = Loaded(), 0
    for batch in _batches(due):
        loaded += _load_batch(context, root, batch, ledger)
        read += len(batch)
        counts = (f"{count:,}" for count in (read, len(due), loaded.files))
        log.info("%s of %s files read, %s new or changed", *counts)
    # Daily files that another run loaded beside their month.
    late = superseded_days(whole_months(ledger.entries), ledger)
    return loaded + commit_files(context, root, {}, late, ledger)


def _batches(due: Sequence[ListedFile]) -> Iterator[list[ListedFile]]:
    """Files of one month lie together: a commit then touches few partitions."""
    batch: list[ListedFile] = []
    weight = 0
    for file in sorted(due, key=lambda file: (file.key.month, file.key.source_file)):
        if batch and (len(batch) == _BATCH_FILES or weight + file.size_bytes > _BATCH_BYTES):
            yield batch
            batch, weight = [], 0
        batch.append(file)
        weight += file.size_bytes
    if batch:
        yield batch


def _load_batch(
    context: TaskContext, root: str, batch: Sequence[ListedFile], ledger: Ledger
) -> Loaded:
    old = ledger.rows([file.key.source_file for file in batch])
    monthly = {(f.key.symbol, f.key.month) for f in batch if f.key.cadence == "monthly"}
    superseding = daily_files_of(monthly, ledger.entries)
    new = [
        file
        for file in batch
        if file.key.source_file not in ledger.entries
        and file.published_sha256 is not None
        and (file.key.symbol, file.key.month) not in superseding
    ]
    _mark_new(context, batch, ledger)
    whole = _load_whole(context, root, new)
    again = [file for file in batch if file.key.source_file not in whole]
    facts = whole | _facts(context, root, again)
    rows = {
        file.key.source_file: _merged(
            _row(context, file.key, facts[file.key.source_file]), old.get(file.key.source_file)
        )
        for file in batch
    }
    changed = {name: row for name, row in rows.items() if content(row) != content(old.get(name))}
    taken = {
        (row["symbol"], row["month"]): name
        for name, row in changed.items()
        if row["cadence"] == "monthly" and row["rows"] and not row["rejected_lines"]
    }
    superseded = superseded_days(taken, ledger)
    changed = {name: row for name, row in changed.items() if name not in superseded}
    return commit_files(context, root, changed, superseded, ledger, whole.keys())


def _mark_new(context: TaskContext, batch: Sequence[ListedFile], ledger: Ledger) -> None:
    """Tell in the ledger which files are going to be loaded that it does not know.

    While it is empty it need not be told: lines that a killed run leaves then are of no file.
    """
    if ledger.entries:
        keys = [file.key for file in batch if file.failure is None]
        unread = {
            key.source_file: _row(context, key, facts_of(download_failed(key, None, "")))
            for key in keys
            if key.source_file not in ledger.entries
        }
        mark_half_done(context, {name: half_done(row, None) for name, row in unread.items()})


def _load_whole(
    context: TaskContext, root: str, files: Sequence[ListedFile]
) -> dict[str, LedgerRow]:
    """Commit the rows of those new files that are good in every line; returns their facts."""
    if not files:
        return {}
    listed = {file.key.source_file: file for file in files}
    wanted = [FileToRead(name, f.published_sha256, f.size_bytes) for name, f in listed.items()]
    where = lines_of_files(context, KLINES, {file.key.month for file in files}, listed)
    whole = whole_files(context.spark, root, wanted)
    version = context.lake.replace(KLINES, whole.klines, where)
    found = whole.facts() if version == FIRST_VERSION else None
    if found is None:
        found = _facts_of_rows(context, version, {file.key.month for file in files})
    return {
        name: {
            **facts,
            "source_file": name,
            "status": "ingested",
            "error": None,
            "size_bytes": listed[name].size_bytes,
            "sha256": listed[name].published_sha256,
            "published_sha256": listed[name].published_sha256,
            "rejected_lines": 0,
        }
        for name, facts in found.items()
        if name in listed
    }


def _facts_of_rows(
    context: TaskContext, version: int, months: set[str]
) -> dict[str, dict[str, object]]:
    """Source file -> rows, has_header and time_unit, told from the rows of these months."""
    # All files of these months: naming those of the batch would cost more than it spares.
    committed = (
        context.lake.read_own(KLINES, version)
        .where(f"{equals(context.settings.scope)} AND {is_in('month', months)}")
        .groupBy("source_file")
        .agg(
            F.count("*").alias("rows"),
            F.min("line").alias("first_line"),
            F.count_if(F.col("open_time") >= MIN_MILLISECONDS).alias("milliseconds"),
            F.count_if(F.col("open_time") >= MIN_MICROSECONDS).alias("microseconds"),
        )
    )
    return {
        row["source_file"]: {
            "rows": row["rows"],
            "has_header": row["first_line"] == 2,
            "time_unit": time_unit_of(row["rows"], row["milliseconds"], row["microseconds"]),
        }
        for row in committed.toArrow().to_pylist()
    }


def _facts(context: TaskContext, root: str, files: Sequence[ListedFile]) -> dict[str, LedgerRow]:
    facts = {
        file.key.source_file: facts_of(not_had(file.key, file.published_sha256, file.failure))
        for file in files
        if file.failure is not None
    }
    there = [file for file in files if file.failure is None]
    if there:
        wanted = [FileToRead(f.key.source_file, f.published_sha256, f.size_bytes) for f in there]
        required = context.settings.archive.require_checksum
        found = file_facts(context.spark, root, wanted, required).to_pylist()
        facts |= {fact["source_file"]: fact for fact in found}
    return facts


def _row(context: TaskContext, key: ArchiveKey, facts: LedgerRow) -> LedgerRow:
    return {
        **facts,
        "market": key.market,
        "interval": key.interval,
        "symbol": key.symbol,
        "month": key.month,
        "period": key.period,
        "cadence": key.cadence,
        "superseded_by": None,
        "former": None,
        "run_id": context.run_id,
        "ingested_at": context.now,
    }


def _merged(row: LedgerRow, old: LedgerRow | None) -> LedgerRow:
    """A failed republication leaves the rows of the last good one, and the facts about them."""
    if old is None:
        return row
    row = {**row, "former": old["former"]}
    if row["status"] == "ingested" or not old["rows"]:
        return row
    return {**row, **{name: old[name] for name in _KEPT}}
