"""Committing source files, many at once: their rows first and the ledger last.

Both replace what belongs to the same files, so that a run that was killed in between does those
files again and counts nothing twice.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from bronze.conditions import in_files
from bronze.contracts import ARCHIVE_FILES, KLINES, REJECTED_LINES
from bronze.differences import NO_DIFFERENCE, Difference, Replacement, differences
from bronze.ledger import Ledger, LedgerRow, as_frame, is_cut_short
from bronze.loading import FileToRead, klines_of, rejected_lines_of
from bronze.plan import CUT_SHORT, daily_files_of
from lakehouse.contracts import TableContract
from lakehouse.errors import in_one_line
from lakehouse.sql import equals, is_in
from lakehouse.tasks import TaskContext

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """What was loaded.

    Attributes:
        files: Files that are new or changed.
        superseded: Daily files whose lines a monthly file took the place of.
        difference: Bars in which those daily files and their monthly files differ; None if that
            could not be told.
    """

    files: int = 0
    superseded: int = 0
    difference: Difference | None = NO_DIFFERENCE

    def __add__(self, other: Loaded) -> Loaded:
        difference = None
        if self.difference is not None and other.difference is not None:
            difference = self.difference + other.difference
        return Loaded(self.files + other.files, self.superseded + other.superseded, difference)


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
    # Cut short, and now the file is bad: it has again what it had.
    undone = {
        name: old[name]["former"][-1]["version"]
        for name, row in changed.items()
        if row["status"] != "ingested" and is_cut_short(old.get(name))
    }
    # Files without rows are among them: a killed run may have left rows of theirs.
    stale = [
        row
        for name, row in changed.items()
        if name not in committed
        and name not in undone
        and (not row["rows"] or _lines(row) != _lines(old.get(name)))
    ]
    replaced = [old[row["source_file"]] for row in stale if row["source_file"] in old]
    replaced = [row for row in (*replaced, *superseded.values()) if row["rows"]]
    former = {
        row["source_file"]: _with_former(context, row, ledger.klines_version(row["source_file"]))
        for row in replaced
    }
    _mark(context, replaced, former)
    if stale or superseded:
        _replace_lines(context, root, stale, superseded.values())
    if undone:
        changed = {**changed, **_undo(context, {name: changed[name] for name in undone}, undone)}
    new = {**changed, **{name: _emptied(row) for name, row in superseded.items()}}
    new = {name: {**row, "former": former.get(name, row["former"])} for name, row in new.items()}
    context.lake.replace(ARCHIVE_FILES, as_frame(context, new.values()), _files(context, new))
    ledger.update(new, context.lake.written_versions.get(KLINES.full_name))
    replacements = [
        Replacement(
            name,
            new[name]["former"][-1]["version"],
            row["superseded_by"],
            ledger.klines_version(name),
        )
        for name, row in superseded.items()
        if name in former or is_cut_short(row)
    ]
    return Loaded(len(changed), len(superseded), _difference(context, replacements))


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


def _mark(
    context: TaskContext, replaced: Sequence[LedgerRow], former: Mapping[str, list[LedgerRow]]
) -> None:
    """Tell in the ledger that lines are being replaced.

    Were the run killed before its last commit, the ledger would else speak of lines that are gone.
    """
    if replaced:
        unknown = {"status": "download_failed", "error": CUT_SHORT, "rows": 0, "rejected_lines": 0}
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
    told = {"status": "ingested", "error": None} if row["error"] == CUT_SHORT else {}
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
        where = lines_of_files(context, contract, months, names)
        new = [
            FileToRead(row["source_file"], row["sha256"], row["size_bytes"])
            for row in stale
            if row[count]
        ]
        if new or _has_rows(context, contract, where):
            context.lake.replace(contract, lines_of(context.spark, root, new), where)


def _has_rows(context: TaskContext, contract: TableContract, where: str) -> bool:
    if context.lake.is_unwritten(contract):
        return False
    return not context.lake.read_own(contract).where(where).isEmpty()


def _undo(
    context: TaskContext, rows: Mapping[str, LedgerRow], versions: Mapping[str, int]
) -> dict[str, LedgerRow]:
    """Give files the candles again that they had in a version of bronze.klines.

    Returns:
        The rows, with the rejected lines that the table has of each: of those no version is kept.
    """
    months = {row["month"] for row in rows.values()}
    where = lines_of_files(context, KLINES, months, rows)
    parts = [
        context.lake.read_own(KLINES, version).where(
            lines_of_files(context, KLINES, months, [n for n in rows if versions[n] == version])
        )
        for version in sorted(set(versions.values()))
    ]
    context.lake.replace(KLINES, reduce(DataFrame.unionByName, parts), where)
    table = context.lake.read_own(REJECTED_LINES).where(_files(context, rows))
    counted = table.groupBy("source_file").count().toArrow().to_pylist()
    rejected = {each["source_file"]: each["count"] for each in counted}
    return {name: {**row, "rejected_lines": rejected.get(name, 0)} for name, row in rows.items()}


def forget_rejected(context: TaskContext, names: Collection[str]) -> None:
    """Remove rejected lines that a killed run left of files that have none any more."""
    if context.lake.is_unwritten(REJECTED_LINES):
        return
    table = context.lake.read_own(REJECTED_LINES).where(equals(context.settings.scope))
    left = table.select("source_file").distinct().toArrow()["source_file"].to_pylist()
    stale = set(left).intersection(names)
    if stale:
        nothing = context.lake.frame(REJECTED_LINES, [])
        context.lake.replace(REJECTED_LINES, nothing, _files(context, stale))


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
        forget_rejected(context, never)
        nothing = context.lake.frame(ARCHIVE_FILES, [])
        context.lake.replace(ARCHIVE_FILES, nothing, _files(context, never))
        ledger.forget(never)
    return sorted(never)


def _lines(row: LedgerRow | None) -> tuple[object, ...] | None:
    """What bronze holds of a file: equal answers mean equal lines."""
    return None if row is None else (row["sha256"], row["rows"], row["rejected_lines"])


def lines_of_files(
    context: TaskContext, contract: TableContract, months: Iterable[str], names: Iterable[str]
) -> str:
    """The lines of these files as a SQL condition, partition columns first."""
    if "month" not in contract.partitioned_by:
        return _files(context, names)
    scope = equals(context.settings.scope)
    return f"{scope} AND {is_in('month', set(months))} AND {in_files(names)}"


def _files(context: TaskContext, names: Iterable[str]) -> str:
    return f"{equals(context.settings.scope)} AND {in_files(names)}"
