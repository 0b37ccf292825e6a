"""What a run that was cut short left behind is undone before anything is loaded.

The ledger marks a file before its lines are written, except in the first batch of a market and
interval: then it is empty, and whatever lines there are belong to no file.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import reduce

from pyspark.sql import DataFrame

from bronze.commits import files_where, has_rows, lines_of_files
from bronze.contracts import ARCHIVE_FILES, KLINES, REJECTED_LINES
from bronze.ledger import Ledger, LedgerRow, as_frame, before_the_cut
from bronze.plan import CUT_SHORT
from lakehouse.contracts import TableContract
from lakehouse.sql import equals
from lakehouse.tasks import TaskContext

log = logging.getLogger(__name__)


def undo_half_done(context: TaskContext, ledger: Ledger) -> int:
    """Give files that a run left half done what they had before; returns how many those are.

    Args:
        context: The task.
        ledger: What bronze holds of the market and interval; updated.
    """
    if not ledger.entries:
        for contract in (KLINES, REJECTED_LINES):
            _clear(context, contract, equals(context.settings.scope))
        return 0
    marked = ledger.rows([name for name, each in ledger.entries.items() if each.is_half_done])
    if not marked:
        return 0
    _restore_klines(context, marked)
    log.info("%d files that a run left half done have what they had before", len(marked))
    replaced = {name for name, row in marked.items() if row["error"] == CUT_SHORT}
    loaded = marked.keys() - replaced
    _clear(context, REJECTED_LINES, files_where(context, loaded))
    before = {name: before_the_cut(row) for name, row in marked.items()}
    rejected = _rejected_lines(context, replaced) if replaced else {}
    rows = {
        name: {**row, "rejected_lines": rejected.get(name, 0)}
        for name, row in before.items()
        if row is not None
    }
    where = files_where(context, marked)
    context.lake.replace(ARCHIVE_FILES, as_frame(context, rows.values()), where)
    ledger.update(rows, context.lake.written_versions.get(KLINES.full_name))
    ledger.forget(marked.keys() - rows.keys())
    return len(marked)


def _clear(context: TaskContext, contract: TableContract, where: str) -> None:
    if context.lake.exists(contract) and has_rows(context, contract, where):
        log.info("%s: what a run that was cut short left there is removed", contract.full_name)
        context.lake.replace(contract, context.lake.frame(contract, []), where)


def _restore_klines(context: TaskContext, marked: Mapping[str, LedgerRow]) -> None:
    """Give files the candles again that they had in a version of bronze.klines, or none."""
    months = {row["month"] for row in marked.values()}
    where = lines_of_files(context, KLINES, months, marked)
    versions = {
        name: row["former"][-1]["version"]
        for name, row in marked.items()
        if row["error"] == CUT_SHORT
    }
    if not versions:
        _clear(context, KLINES, where)
        return
    parts = [
        context.lake.read_own(KLINES, version).where(
            lines_of_files(
                context, KLINES, months, [n for n, v in versions.items() if v == version]
            )
        )
        for version in sorted(set(versions.values()))
    ]
    context.lake.replace(KLINES, reduce(DataFrame.unionByName, parts), where)


def _rejected_lines(context: TaskContext, names: set[str]) -> dict[str, int]:
    """Source file -> its rejected lines as the table has them: no version is kept of those."""
    table = context.lake.read_own(REJECTED_LINES).where(files_where(context, names))
    counted = table.groupBy("source_file").count().toArrow().to_pylist()
    return {each["source_file"]: each["count"] for each in counted}
