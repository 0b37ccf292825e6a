"""Source files into bronze, many to a commit: their rows first and the ledger last.

Both replace what belongs to the same files, so that a run that was killed in between does those
files again and counts nothing twice. A file that is new is read once, and of the rows that its
commit left the ledger's facts are told; any other file is read twice (`bronze.loading`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import functions as F

from bronze.archive import ArchiveKey, ListedFile
from bronze.contracts import ARCHIVE_FILES, KLINES, REJECTED_LINES
from bronze.differences import NO_DIFFERENCE, Difference, Replacement, differences
from bronze.ledger import Ledger, LedgerRow, as_frame, content
from bronze.lines import time_unit_of
from bronze.loading import FileToRead, file_facts, klines_of, rejected_lines_of, whole_klines_of
from bronze.plan import daily_files_of, whole_months
from lakehouse.contracts import TableContract
from lakehouse.sql import equals, is_in
from lakehouse.tasks import TaskContext

log = logging.getLogger(__name__)

# Files to a commit: few enough to keep the work of a killed run, many enough for large tables.
_BATCH_FILES = 10_000
_BATCH_BYTES = 2 * 1024**3

# What a failed republication leaves as the last good one had it.
_KEPT = ("sha256", "size_bytes", "rows", "rejected_lines", "has_header", "time_unit")
_CUT_SHORT = "its lines were being replaced when the run was cut short: run ingest_archive again"


@dataclass(frozen=True)
class Loaded:
    """What was loaded.

    Attributes:
        files: Files that are new or changed.
        superseded: Daily files whose lines a monthly file took the place of.
        difference: Bars in which those daily files and their monthly files differ.
    """

    files: int = 0
    superseded: int = 0
    difference: Difference = NO_DIFFERENCE

    def __add__(self, other: Loaded) -> Loaded:
        return Loaded(
            self.files + other.files,
            self.superseded + other.superseded,
            self.difference + other.difference,
        )


def load_files(
    context: TaskContext, root: str, due: Sequence[ListedFile], ledger: Ledger
) -> Loaded:
    """Read files, commit what is new or changed, and bring the ledger up to it.

    Args:
        context: The task.
        root: Folder of the archive, as the executors see it.
        due: The files to read.
        ledger: What bronze holds of the market and interval; updated.
    """
    loaded = Loaded()
    for batch in _batches(due):
        loaded += _load_batch(context, root, batch, ledger)
        log.info("%d of %d files read, %d new or changed", len(batch), len(due), loaded.files)
    # Daily files that another run loaded beside their month.
    late = _superseded(whole_months(ledger.entries), ledger)
    return loaded + _commit(context, root, {}, late, ledger)


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
        if row["cadence"] == "monthly" and row["rows"]
    }
    return _commit(context, root, changed, _superseded(taken, ledger), ledger, whole.keys())


def _load_whole(
    context: TaskContext, root: str, files: Sequence[ListedFile]
) -> dict[str, LedgerRow]:
    """Commit the rows of those new files that are good in every line; returns their facts."""
    if not files:
        return {}
    listed = {file.key.source_file: file for file in files}
    wanted = [FileToRead(name, f.published_sha256, f.size_bytes) for name, f in listed.items()]
    where = _where(context, KLINES, {file.key.month for file in files}, listed)
    version = context.lake.replace(KLINES, whole_klines_of(context.spark, root, wanted), where)
    _forget_rejected(context, listed)
    first_line = F.min("line")
    committed = (
        context.lake.read_own(KLINES, version)
        .where(where)
        .groupBy("source_file")
        .agg(
            F.count("*").alias("rows"),
            first_line.alias("first_line"),
            F.min_by("open_time", "line").alias("open_time"),
        )
    )
    return {
        row["source_file"]: {
            "source_file": row["source_file"],
            "status": "ingested",
            "error": None,
            "size_bytes": listed[row["source_file"]].size_bytes,
            "sha256": listed[row["source_file"]].published_sha256,
            "published_sha256": listed[row["source_file"]].published_sha256,
            "rows": row["rows"],
            "rejected_lines": 0,
            "has_header": row["first_line"] == 2,
            "time_unit": time_unit_of(row["open_time"]),
        }
        for row in committed.toArrow().to_pylist()
    }


def _facts(context: TaskContext, root: str, files: Sequence[ListedFile]) -> dict[str, LedgerRow]:
    if not files:
        return {}
    wanted = [
        FileToRead(file.key.source_file, file.published_sha256, file.size_bytes) for file in files
    ]
    required = context.settings.archive.require_checksum
    found = file_facts(context.spark, root, wanted, required).to_pylist()
    return {fact["source_file"]: fact for fact in found}


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


def _superseded(months: Mapping[tuple[str, str], str], ledger: Ledger) -> dict[str, LedgerRow]:
    """The ledger's rows of daily files of these months, each with the monthly file named."""
    by = {
        name: months[month]
        for month, names in daily_files_of(months.keys(), ledger.entries).items()
        for name in names
        if ledger.entries[name].superseded_by is None
    }
    return {name: {**row, "superseded_by": by[name]} for name, row in ledger.rows(by).items()}


def _commit(
    context: TaskContext,
    root: str,
    changed: Mapping[str, LedgerRow],
    superseded: Mapping[str, LedgerRow],
    ledger: Ledger,
    committed: Collection[str] = (),
) -> Loaded:
    """Commit the lines of changed files but those `committed` already, then the ledger's rows."""
    if not changed and not superseded:
        return Loaded()
    old = ledger.rows(changed)
    # Files without rows are among them: a killed run may have left rows of theirs.
    stale = [
        row
        for name, row in changed.items()
        if name not in committed and (not row["rows"] or _lines(row) != _lines(old.get(name)))
    ]
    replaced = [old[row["source_file"]] for row in stale if row["source_file"] in old]
    replaced = [row for row in (*replaced, *superseded.values()) if row["rows"]]
    before = context.lake.version(KLINES) if replaced else 0
    former = {row["source_file"]: _with_former(context, row, before) for row in replaced}
    _mark(context, replaced, former)
    if stale or superseded:
        _replace_lines(context, root, stale, superseded.values())
    new = {**changed, **{name: _emptied(row) for name, row in superseded.items()}}
    new = {name: {**row, "former": former.get(name, row["former"])} for name, row in new.items()}
    context.lake.replace(ARCHIVE_FILES, as_frame(context, new.values()), _files(context, new))
    ledger.update(new)
    after = context.lake.written_versions.get(KLINES.full_name, before)
    found = differences(
        context.lake,
        [
            Replacement(name, before, superseded[name]["superseded_by"], after)
            for name in former
            if name in superseded
        ],
    )
    return Loaded(len(changed), len(superseded), sum(found, NO_DIFFERENCE))


def _with_former(context: TaskContext, row: LedgerRow, version: int) -> list[LedgerRow]:
    """The contents that a file had, with the one that is replaced now."""
    told = {name: row[name] for name in ("sha256", "rows", "ingested_at")}
    return [*(row["former"] or []), {**told, "replaced_at": context.now, "version": version}]


def _mark(
    context: TaskContext, replaced: Sequence[LedgerRow], former: Mapping[str, list[LedgerRow]]
) -> None:
    """Tell in the ledger that lines are being replaced.

    Were the run killed before its last commit, the ledger would else speak of lines that are gone.
    """
    if replaced:
        unknown = {"status": "download_failed", "error": _CUT_SHORT, "rows": 0, "rejected_lines": 0}
        rows = {
            row["source_file"]: {
                **row,
                **unknown,
                "superseded_by": None,
                "former": former[row["source_file"]],
            }
            for row in replaced
        }
        context.lake.replace(ARCHIVE_FILES, as_frame(context, rows.values()), _files(context, rows))


def _emptied(row: LedgerRow) -> LedgerRow:
    """The row of a superseded file, of which no line is left."""
    told = {"status": "ingested", "error": None} if row["error"] == _CUT_SHORT else {}
    return {**row, **told, "rows": 0, "rejected_lines": 0}


def _replace_lines(
    context: TaskContext, root: str, stale: Sequence[LedgerRow], superseded: Iterable[LedgerRow]
) -> None:
    """Put the lines of stale files, of which some may have none, in the place of old ones."""
    rows = [*stale, *superseded]
    months = {row["month"] for row in rows}
    names = [row["source_file"] for row in rows]
    for contract, lines_of, count in (
        (KLINES, klines_of, "rows"),
        (REJECTED_LINES, rejected_lines_of, "rejected_lines"),
    ):
        where = _where(context, contract, months, names)
        new = [
            FileToRead(row["source_file"], row["sha256"], row["size_bytes"])
            for row in stale
            if row[count]
        ]
        if new or not context.lake.read_own(contract).where(where).isEmpty():
            context.lake.replace(contract, lines_of(context.spark, root, new), where)


def _forget_rejected(context: TaskContext, names: Collection[str]) -> None:
    """Remove rejected lines that a killed run left of files that have none any more."""
    table = context.lake.read_own(REJECTED_LINES).where(equals(context.settings.scope))
    left = table.select("source_file").distinct().toArrow()["source_file"].to_pylist()
    stale = set(left).intersection(names)
    if stale:
        nothing = context.lake.frame(REJECTED_LINES, [])
        context.lake.replace(REJECTED_LINES, nothing, _files(context, stale))


def _lines(row: LedgerRow | None) -> tuple[object, ...] | None:
    """What bronze holds of a file: equal answers mean equal lines."""
    return None if row is None else (row["sha256"], row["rows"], row["rejected_lines"])


def _where(
    context: TaskContext, contract: TableContract, months: Iterable[str], names: Iterable[str]
) -> str:
    """The lines of these files as a SQL condition, partition columns first."""
    if "month" not in contract.partitioned_by:
        return _files(context, names)
    scope = equals(context.settings.scope)
    return f"{scope} AND {is_in('month', set(months))} AND {is_in('source_file', set(names))}"


def _files(context: TaskContext, names: Iterable[str]) -> str:
    return f"{equals(context.settings.scope)} AND {is_in('source_file', set(names))}"
