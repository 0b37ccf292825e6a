"""The task `ingest_archive`: new and republished files of the archive -> bronze.

Rows are committed first and the ledger last, both by replacing what belongs to the same files:
a run that was killed in between does those files again and counts nothing twice.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from bronze.archive import ListedFile
from bronze.contracts import ARCHIVE_FILES, KLINES, REJECTED_LINES
from bronze.http import Sleep
from bronze.loading import facts_of, file_facts, klines_of, rejected_lines_of
from bronze.plan import Hole, LedgerEntry, holes, needs_reading, wanted_files
from bronze.reading import download_failed
from bronze.source import Source, open_source
from lakehouse.contracts import TableContract
from lakehouse.errors import ArchiveError
from lakehouse.settings import Settings
from lakehouse.sql import equals, is_in
from lakehouse.tasks import TaskContext, TaskOutcome

log = logging.getLogger(__name__)

# Files to a commit: few enough to keep the work of a killed run, many enough for large tables.
_BATCH_FILES = 10_000
_NAMED_FILES = 10

_ARROW_TYPES = {
    "STRING": pa.string(),
    "BIGINT": pa.int64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
}

LedgerRow = dict[str, Any]

_LEDGER = pa.schema([(column.name, _ARROW_TYPES[column.type]) for column in ARCHIVE_FILES.columns])


@dataclass(frozen=True)
class _Plan:
    """What the archive holds of the run's market, interval, months and universe."""

    source: Source
    files: tuple[ListedFile, ...]
    holes: tuple[Hole, ...]


def run_ingest_archive(context: TaskContext, sleep: Sleep | None = None) -> TaskOutcome:
    """Bring bronze up to the archive.

    Args:
        context: The task's.
        sleep: Waits between two attempts of a request; None waits in real time.

    Raises:
        ArchiveError: The archive is missing or holds no file of the wanted market, interval,
            months and symbols.
        EnvironmentProblem: The landing folder of an http archive has no room.
    """
    plan = _plan(open_source(context, sleep), context.settings)
    ledger = _ledger(context)
    due = needs_reading(plan.files, {name: _entry(row) for name, row in ledger.items()})
    log.info("%d files wanted, %d of them to be read", len(plan.files), len(due))
    root = str(plan.source.root.absolute())
    written = 0
    for batch in _batches(due):
        changed = _read_batch(context, root, batch, ledger)
        ledger.update(changed)
        written += len(changed)
        log.info("%d files new or changed", written)
    return _outcome(plan, ledger, due, written)


def _plan(source: Source, settings: Settings) -> _Plan:
    archive = settings.archive
    files = wanted_files(source.files, archive.start, archive.end)
    if not files:
        raise ArchiveError(
            f"{archive.url} holds no {archive.interval} candles of market {archive.market} from "
            f"{archive.start} to {archive.end} for universe.mode={settings.universe.mode}: check "
            "these settings"
        )
    return _Plan(source, files, holes(source.files, archive.start, archive.end))


def _ledger(context: TaskContext) -> dict[str, LedgerRow]:
    frame = context.lake.read_own(ARCHIVE_FILES).where(equals(context.settings.scope))
    return {row["source_file"]: row for row in frame.toArrow().to_pylist()}


def _entry(row: LedgerRow) -> LedgerEntry:
    return LedgerEntry(row["status"], row["published_sha256"], row["size_bytes"])


def _batches(due: Sequence[ListedFile]) -> Iterator[list[ListedFile]]:
    """Files of one month lie together: a commit then touches few partitions."""
    ordered = sorted(due, key=lambda file: (file.key.month, file.key.source_file))
    for start in range(0, len(ordered), _BATCH_FILES):
        yield ordered[start : start + _BATCH_FILES]


def _read_batch(
    context: TaskContext, root: str, batch: Sequence[ListedFile], ledger: Mapping[str, LedgerRow]
) -> dict[str, LedgerRow]:
    """Read one batch and commit what is new; returns the ledger rows that changed."""
    there = [(f.key.source_file, f.published_sha256) for f in batch if f.failure is None]
    facts = file_facts(context.spark, root, there, context.settings.archive.require_checksum)
    missing = [download_failed(f.key, None, f.failure) for f in batch if f.failure is not None]
    keys = {file.key.source_file: file.key for file in batch}
    rows = {}
    for fact in facts.to_pylist() + [facts_of(reading) for reading in missing]:
        key = keys[fact["source_file"]]
        row = {
            **fact,
            "market": key.market,
            "interval": key.interval,
            "symbol": key.symbol,
            "month": key.month,
            "period": key.period,
            "cadence": key.cadence,
            "run_id": context.run_id,
            "ingested_at": context.now,
        }
        rows[key.source_file] = _merged(row, ledger.get(key.source_file))
    changed = {
        name: row for name, row in rows.items() if _content(row) != _content(ledger.get(name))
    }
    if changed:
        _commit(context, root, changed, ledger)
    return changed


def _merged(row: LedgerRow, old: LedgerRow | None) -> LedgerRow:
    """A failed republication leaves the rows of the last good one, and the facts about them."""
    if row["status"] == "ingested" or old is None or not old["rows"]:
        return row
    kept = ("sha256", "size_bytes", "rows", "rejected_lines", "has_header", "time_unit")
    return {**row, **{name: old[name] for name in kept}}


def _content(row: LedgerRow | None) -> LedgerRow:
    return {k: v for k, v in (row or {}).items() if k not in ("run_id", "ingested_at")}


def _commit(
    context: TaskContext,
    root: str,
    changed: Mapping[str, LedgerRow],
    ledger: Mapping[str, LedgerRow],
) -> None:
    # Files without rows are among them: a killed run may have left rows of theirs.
    stale = [
        row
        for name, row in changed.items()
        if not row["rows"] or _lines(row) != _lines(ledger.get(name))
    ]
    republished = [row for row in stale if (ledger.get(row["source_file"]) or {}).get("rows")]
    if republished:
        # Were this run killed before its last commit, the ledger would tell of the old lines.
        nothing = context.lake.frame(ARCHIVE_FILES, [])
        context.lake.replace(ARCHIVE_FILES, nothing, _files(republished))
    if stale:
        _replace_lines(context, root, stale)
    frame = context.spark.createDataFrame(pa.Table.from_pylist(list(changed.values()), _LEDGER))
    context.lake.replace(ARCHIVE_FILES, frame, _files(changed.values()))


def _replace_lines(context: TaskContext, root: str, stale: Sequence[LedgerRow]) -> None:
    """Put the lines of these files, of which some may have none, in the place of their old ones."""
    for contract, lines_of, count in (
        (KLINES, klines_of, "rows"),
        (REJECTED_LINES, rejected_lines_of, "rejected_lines"),
    ):
        where = _where(context, contract, stale)
        new = [(row["source_file"], row["sha256"]) for row in stale if row[count]]
        if new or not context.lake.read_own(contract).where(where).isEmpty():
            context.lake.replace(contract, lines_of(context.spark, root, new), where)


def _lines(row: LedgerRow | None) -> tuple[object, ...] | None:
    """What bronze holds of a file: equal answers mean equal lines."""
    return None if row is None else (row["sha256"], row["rows"], row["rejected_lines"])


def _where(context: TaskContext, contract: TableContract, rows: Iterable[LedgerRow]) -> str:
    """The lines of these files as a SQL condition, partition columns first."""
    conditions = [equals(context.settings.scope)]
    if "month" in contract.column_names:
        conditions.append(is_in("month", {row["month"] for row in rows}))
    return " AND ".join([*conditions, _files(rows)])


def _files(rows: Iterable[LedgerRow]) -> str:
    return is_in("source_file", {row["source_file"] for row in rows})


def _outcome(
    plan: _Plan, ledger: Mapping[str, LedgerRow], due: Sequence[ListedFile], written: int
) -> TaskOutcome:
    rows = [ledger[file.key.source_file] for file in plan.files]
    failed = [row for row in rows if row["status"] != "ingested"]
    figures = {
        "files": f"{len(rows):,} ({len(rows) - len(due):,} unchanged)",
        "rows": f"{sum(row['rows'] for row in rows):,}",
        "rejected lines": f"{sum(row['rejected_lines'] for row in rows):,}",
        "symbols": f"{len(plan.source.universe.symbols):,}",
        **plan.source.figures,
    }
    if failed:
        statuses = Counter(row["status"] for row in failed)
        figures["failed files"] = _few(f"{status} {n}" for status, n in statuses.items())
        figures["failed names"] = _few(
            f"{row['source_file'].rpartition('/')[2]}: {row['status']}" for row in failed
        )
    for label, names in (
        ("missing months", [f"{hole.symbol} {hole.month}" for hole in plan.holes]),
        ("unexpected names", plan.source.unexpected),
        ("symbols not in the archive", plan.source.universe.absent),
        ("leveraged tokens left out", plan.source.universe.leveraged),
    ):
        if names:
            figures[label] = _few(names)
    if not written:
        message = f"all {len(rows):,} files unchanged"
    else:
        message = f"{written:,} of {len(rows):,} files new or changed, {len(failed):,} failed"
    return TaskOutcome(message, figures, unchanged=not written and not plan.source.has_snapshot)


def _few(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - _NAMED_FILES:,} more" if len(every) > _NAMED_FILES else ""
    return ", ".join(every[:_NAMED_FILES]) + more
