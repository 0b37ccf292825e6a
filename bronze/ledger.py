"""The ledger `bronze.archive_files` as a run knows it: read once, brought up to date as it goes.

Half a million files fit: what the plan needs of each is a small entry, and whole rows are made
only of the files that a run reads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from bronze.contracts import ARCHIVE_FILES, KLINES
from bronze.plan import BEING_LOADED, CUT_SHORT, LedgerEntry
from lakehouse.arrow import ARROW_TYPES, frame_of
from lakehouse.tasks import TaskContext

LedgerRow = dict[str, Any]

_FORMER = pa.list_(
    pa.struct(
        [
            ("sha256", pa.string()),
            ("rows", pa.int64()),
            ("ingested_at", pa.timestamp("us", "UTC")),
            ("replaced_at", pa.timestamp("us", "UTC")),
            ("version", pa.int64()),
        ]
    )
)
_SCHEMA = pa.schema(
    [
        (column.name, ARROW_TYPES.get(column.type.lower(), _FORMER))
        for column in ARCHIVE_FILES.columns
    ]
)
_ENTRY = tuple(each.name for each in fields(LedgerEntry))

# Of a republication that was refused, whose reason the next one took the place of.
REFUSED_BEFORE = (
    "its republication was refused, and a later one cut short: run ingest_archive again"
)

# What of a row names the run and not the file.
_RUN = ("run_id", "ingested_at")


class Ledger:
    """The rows of one market and interval, keyed by source file.

    Attributes:
        klines_seen: Version of bronze.klines before the ledger was read.
    """

    def __init__(self, table: pa.Table, klines_version: int) -> None:
        self._read = table
        self.klines_seen = klines_version
        self._klines_versions: dict[str, int] = {}
        self._written: dict[str, LedgerRow] = {}

    # Not in the thread that reads the table: it would keep the one that lists the folder waiting.
    @cached_property
    def entries(self) -> dict[str, LedgerEntry]:
        """What the plan needs to know of each file."""
        columns = [self._read[name].to_pylist() for name in _ENTRY]
        return {
            name: LedgerEntry(*values)
            for name, *values in zip(self._read["source_file"].to_pylist(), *columns, strict=True)
        }

    @classmethod
    def read(cls, context: TaskContext) -> Ledger:
        """The newest ledger of the run's market and interval."""
        # Before the ledger is read: another run may replace lines at any moment, and writes into
        # the ledger first that it is going to.
        version = context.lake.version_unchanged(KLINES)
        if not context.lake.exists(ARCHIVE_FILES):
            return cls(_SCHEMA.empty_table(), version)
        return cls(context.lake.rows(ARCHIVE_FILES, context.settings.scope), version)

    def rows(self, names: Collection[str]) -> dict[str, LedgerRow]:
        """Whole rows of those of the named files that the ledger has."""
        names = [name for name in names if name in self.entries]
        wanted = pc.is_in(self._read["source_file"], pa.array(names, pa.string()))
        found = {row["source_file"]: row for row in self._read.filter(wanted).to_pylist()}
        return found | {name: self._written[name] for name in names if name in self._written}

    def klines_version(self, name: str) -> int:
        """A version of bronze.klines that has the lines of which the file's row speaks."""
        return self._klines_versions.get(name, self.klines_seen)

    def update(self, rows: Mapping[str, LedgerRow], klines_version: int | None) -> None:
        """Take rows that have been committed, and the version that has their lines.

        None if the run has written no version yet: their lines are still those that were there.
        """
        self._written.update(rows)
        for name, row in rows.items():
            self.entries[name] = LedgerEntry(*(row[field] for field in _ENTRY))
            if klines_version is not None:
                self._klines_versions[name] = klines_version

    def forget(self, names: Collection[str]) -> None:
        """Leave out files that have been taken from the table."""
        for name in names:
            del self.entries[name]


def as_frame(context: TaskContext, rows: Iterable[LedgerRow]) -> DataFrame:
    """Ledger rows with the columns of bronze.archive_files."""
    return frame_of(context.spark, pa.Table.from_pylist(list(rows), _SCHEMA))


def half_done(row: LedgerRow, former: list[LedgerRow] | None) -> LedgerRow:
    """A row that says that the file's lines are being written.

    Args:
        row: What the ledger says of the file; of a new one, what it is going to say.
        former: Its former contents with the one that is being replaced; None if it has no lines.
    """
    told: LedgerRow = {"status": "download_failed", "rows": 0, "rejected_lines": 0}
    if former is None:
        return {**row, **told, "error": BEING_LOADED}
    return {**row, **told, "error": CUT_SHORT, "superseded_by": None, "former": former}


def before_the_cut(row: LedgerRow) -> LedgerRow | None:
    """What a row said before it was `half_done`; None if the ledger had nothing of the file."""
    ingested = {"status": "ingested", "error": None}
    if row["error"] == BEING_LOADED:
        # Days of a month that has come have no lines, and stay known.
        return {**row, **ingested} if row["superseded_by"] else None
    *former, last = row["former"]
    kept = {name: last[name] for name in ("sha256", "rows", "ingested_at")}
    if row["published_sha256"] not in (None, last["sha256"]):
        # What was published last had been refused, and these lines kept.
        ingested = {"status": "download_failed", "error": REFUSED_BEFORE}
    return {**row, **kept, **ingested, "former": former or None}


def content(row: LedgerRow | None) -> LedgerRow:
    """A row without what names the run: equal contents tell the same of a file."""
    return {name: value for name, value in (row or {}).items() if name not in _RUN}
