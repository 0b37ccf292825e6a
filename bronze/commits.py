"""Committing source files, many at once: marks in the ledger, their rows, and then their facts.

A run that is killed in between leaves the marks. Before the next one loads anything, it undoes
what is marked (`bronze.half_done`), whichever files it wants: nothing is counted twice or lost.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pyspark.errors import PySparkException

from bronze.conditions import in_files
from bronze.contracts import ARCHIVE_FILES, KLINES, REJECTED_LINES
from bronze.differences import NO_DIFFERENCE, Difference, Replacement, differences
from bronze.ledger import Ledger, LedgerRow, as_frame, half_done
from bronze.loading import FileToRead, klines_of, planned_again, rejected_lines_of
from bronze.plan import daily_files_of
from lakehouse.contracts import TableContract
from lakehouse.errors import WriteConflict, in_one_line
from lakehouse.sql import equals, is_in
from lakehouse.tasks import TaskContext

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """What was loaded.

    Attributes:
        files: Files that are new or changed.
        republished: Those of them whose former lines were replaced.
        superseded: Daily files whose lines a monthly file took the place of.
        difference: Bars in which those daily files and their monthly files differ; None if that
            could not be told.
        undone: Files that a run had left half done and that have again what they had.
    """

    files: int = 0
    republished: int = 0
    superseded: int = 0
    difference: Difference | None = NO_DIFFERENCE
    undone: int = 0

    def __add__(self, other: Loaded) -> Loaded:
        difference = None
        if self.difference is not None and other.difference is not None:
            difference = self.difference + other.difference
        return Loaded(
            self.files + other.files,
            self.republished + other.republished,
            self.superseded + other.superseded,
            difference,
            self.undone + other.undone,
        )


def superseded_days(months: Mapping[tuple[str, str], str], ledger: Ledger) -> dict[str, LedgerRow]:
    """The ledger's rows of daily files of these months, each with the monthly file named."""
    by = {
        name: months[month]
        for month, names in daily_files_of(months.keys(), ledger.entries).items()
        for name in names
        if ledger.entries[name].superseded_by is None
    }
    return {name: {**row, "superseded_by": by[name]} for name, row in ledger.rows(by).items()}


def commit_files(
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
    stale = [
        row
        for name, row in changed.items()
        if name not in committed and _lines(row) != _lines(old.get(name))
    ]
    written = [*committed, *(row["source_file"] for row in stale)]
    before = {name: old[name] for name in written if name in old}
    before |= {name: row for name, row in superseded.items() if row["rows"]}
    former = {
        name: _with_former(context, row, ledger.klines_version(name))
        for name, row in before.items()
        if row["rows"]
    }
    marks = {name: half_done(row, former.get(name)) for name, row in before.items()}
    mark_half_done(context, marks)
    new = dict(changed) | {
        name: {**row, "rows": 0, "rejected_lines": 0} for name, row in superseded.items()
    }
    new = {name: {**row, "former": former.get(name, row["former"])} for name, row in new.items()}
    fresh = {name: half_done(new[name], None) for name in written if name not in old}
    try:
        if stale or superseded:
            _replace_lines(context, root, stale, superseded.values())
        if written or superseded:
            _require_own_lines(context, ledger, {row["month"] for row in new.values()})
        write_rows(context, new)
    except WriteConflict:
        # Another run may have told of its own lines, and which there are now is not known.
        write_rows(context, marks | fresh)
        raise
    ledger.update(new, context.lake.written_versions.get(KLINES.full_name))
    replacements = [
        Replacement(
            name,
            new[name]["former"][-1]["version"],
            row["superseded_by"],
            ledger.klines_version(name),
        )
        for name, row in superseded.items()
        if name in former
    ]
    republished = len(former.keys() - superseded.keys())
    difference = _difference(context, replacements)
    return Loaded(len(changed), republished, len(superseded), difference)


def _difference(context: TaskContext, replacements: Sequence[Replacement]) -> Difference | None:
    """Over all replacements; None if it cannot be told, which is no reason to fail a load."""
    try:
        return sum(differences(context.lake, replacements), NO_DIFFERENCE)
    except PySparkException as error:
        log.warning("what monthly files changed is not known: %s", in_one_line(error))
        return None


def _with_former(context: TaskContext, row: LedgerRow, version: int) -> list[LedgerRow]:
    """The contents that a file had, with the one that is replaced now."""
    told = {name: row[name] for name in ("sha256", "rows", "ingested_at")}
    return [*(row["former"] or []), {**told, "replaced_at": context.now, "version": version}]


def mark_half_done(context: TaskContext, marks: Mapping[str, LedgerRow]) -> None:
    """Commit the ledger's rows of files whose lines are about to be written, if there are any.

    Raises:
        TableError: A table of lines has other columns, and would not take them.
    """
    if marks:
        for contract in (KLINES, REJECTED_LINES):
            context.lake.create(contract)
        write_rows(context, marks)


def write_rows(context: TaskContext, rows: Mapping[str, LedgerRow]) -> None:
    """Commit the ledger's rows of files."""
    if rows:
        where = files_where(context, rows)
        context.lake.replace(ARCHIVE_FILES, as_frame(context, rows.values()), where)


def _require_own_lines(context: TaskContext, ledger: Ledger, months: Collection[str]) -> None:
    """Raise unless the lines of these months are those that the ledger and this run know.

    Delta refuses the later of two commits to one table that overlap; a run whose commits to two
    tables lie around those of another one, it does not see.
    """
    where = f"{equals(context.settings.scope)} AND {is_in('month', months)}"
    if context.lake.changed_by_others(KLINES, ledger.klines_seen, where):
        raise WriteConflict(
            f"{KLINES.full_name}: another run loaded files of the same months: run again"
        )


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
        where = lines_of_files(context, contract, months, names)
        new = [
            FileToRead(row["source_file"], row["sha256"], row["size_bytes"])
            for row in stale
            if row[count]
        ]
        if new or has_rows(context, contract, where):
            with planned_again():
                context.lake.replace(contract, lines_of(context.spark, root, new), where)


def has_rows(context: TaskContext, contract: TableContract, where: str) -> bool:
    """Whether a table has rows that match."""
    if context.lake.is_unwritten(contract):
        return False
    return not context.lake.read_own(contract).where(where).isEmpty()


def _forget_rejected(context: TaskContext, names: Collection[str]) -> None:
    """Remove the rejected lines of these files."""
    if context.lake.is_unwritten(REJECTED_LINES):
        return
    table = context.lake.read_own(REJECTED_LINES).where(equals(context.settings.scope))
    left = table.select("source_file").distinct().toArrow()["source_file"].to_pylist()
    stale = set(left).intersection(names)
    if stale:
        nothing = context.lake.frame(REJECTED_LINES, [])
        context.lake.replace(REJECTED_LINES, nothing, files_where(context, stale))


def forget_withdrawn(
    context: TaskContext, candidates: Collection[str], ledger: Ledger
) -> list[str]:
    """Take those files out of the ledger of which bronze never had a line; returns them, sorted.

    A file that was ingested once stays, whatever the archive lists: its candles are there, or
    time travel has them.
    """
    never = [
        name
        for name, row in ledger.rows(candidates).items()
        if row["status"] != "ingested"
        and not (row["rows"] or row["former"] or row["superseded_by"])
    ]
    if never:
        _forget_rejected(context, never)
        nothing = context.lake.frame(ARCHIVE_FILES, [])
        context.lake.replace(ARCHIVE_FILES, nothing, files_where(context, never))
        ledger.forget(never)
    return sorted(never)


def _lines(row: LedgerRow | None) -> tuple[object, ...] | None:
    """What bronze holds of a file: equal answers mean equal lines, and None that there are none."""
    if row is None or not (row["rows"] or row["rejected_lines"]):
        return None
    return row["sha256"], row["rows"], row["rejected_lines"]


def lines_of_files(
    context: TaskContext, contract: TableContract, months: Iterable[str], names: Iterable[str]
) -> str:
    """The lines of these files as a SQL condition, partition columns first."""
    if "month" not in contract.partitioned_by:
        return files_where(context, names)
    scope = equals(context.settings.scope)
    return f"{scope} AND {is_in('month', set(months))} AND {in_files(names)}"


def files_where(context: TaskContext, names: Iterable[str]) -> str:
    """The rows of these files as a SQL condition."""
    return f"{equals(context.settings.scope)} AND {in_files(names)}"
