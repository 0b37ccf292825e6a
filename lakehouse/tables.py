"""Reads and writes tables by Spark; `delta_rows` reads small ones without it.

A `Lake` is opened for each task. It creates tables from their contracts on first use, pins the
version of each table at the task's first read, and remembers every version it read and wrote, so
that the task's results can be traced and had again.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from lakehouse.conformity import column_types, conform
from lakehouse.contracts import LAYERS, TableContract
from lakehouse.creation import until_made
from lakehouse.delta_log import Commit, newest_commits, versions_in
from lakehouse.errors import TableError, WriteConflict
from lakehouse.locks import by_one_process
from lakehouse.places import absolute, is_uri
from lakehouse.sql import equals, identifier, literal
from lakehouse.table_sql import (
    create_statement,
    renewal_statements,
    retention_statements,
    schema_of,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

log = logging.getLogger(__name__)

# Tables that a session has made or compared with their contract, so that each task need not.
_created: WeakKeyDictionary[SparkSession, dict[str, TableContract]] = WeakKeyDictionary()

# Tables that a session has seen more than the creation of.
_written: WeakKeyDictionary[SparkSession, set[str]] = WeakKeyDictionary()

_renewing = Lock()

# Version of a table's first rows: 0 is its creation. They are appended and replace nothing.
FIRST_VERSION = 1

# Delta takes one commit of this name and number into a table, however many writers try.
_FIRST = {"txnAppId": "candlelake-first", "txnVersion": "1"}

# Table -> the lock of the thread that writes its first rows.
_first_writers: dict[str, Lock] = {}

# Errors of Delta's optimistic concurrency.
_CONFLICTS = ("DELTA_CONCURRENT", "DELTA_METADATA_CHANGED", "DELTA_PROTOCOL_CHANGED")

# Operations of Delta's history that leave every row as it was.
_UPKEEP = {
    *("OPTIMIZE", "VACUUM START", "VACUUM END", "COMPUTE STATS"),
    *("SET TBLPROPERTIES", "UNSET TBLPROPERTIES"),
}

# Commits that may lie between ours and the look at the history that finds it.
_HISTORY_DEPTH = 50


@dataclass(frozen=True)
class TableSize:
    """Data files of a table's newest version, and their bytes."""

    files: int
    size_bytes: int


class Lake:
    """Reads and writes the tables of one warehouse for one task.

    In a thread of the task's own, its session must be made active first (`session.threads`).

    Attributes:
        read_versions: Table name -> Delta version that this task read.
        written_versions: Table name -> last Delta version that this task wrote.
        rows_written: Rows of all its commits; None when Delta does not tell it of one.
    """

    def __init__(self, spark: SparkSession, warehouse: str, catalog: str | None = None) -> None:
        self._spark = spark
        self._warehouse = absolute(warehouse)
        self._catalog = None if catalog is None else identifier(catalog)
        self._is_folder = catalog is None and not is_uri(warehouse)
        # Not when a Spark Connect server, which may be elsewhere, is the one that commits.
        engine = type(spark).__module__
        self._is_committed_here = self._is_folder and not engine.startswith("pyspark.sql.connect.")
        self.read_versions: dict[str, int] = {}
        self.written_versions: dict[str, int] = {}
        self.rows_written: int | None = 0
        self._own: defaultdict[str, set[int]] = defaultdict(set)
        self._counting = Lock()  # a task may commit in two threads

    def name(self, contract: TableContract) -> str:
        """What SQL calls the table: by its folder, or by its name in the catalog."""
        return self._sql_name(contract.full_name)

    def _sql_name(self, table: str) -> str:
        if self._catalog:
            return f"{self._catalog}.{table}"
        # By folder and not by a registered name: on a shared server, two warehouses never meet.
        return f"delta.`{self._location(table).replace('`', '``')}`"

    def read(self, contract: TableContract) -> DataFrame:
        """The table as it stood when this task first read it; the version is recorded."""
        table = contract.full_name
        if table not in self.read_versions:
            self.read_versions[table] = self.version(contract)
        return self._at(contract, self.read_versions[table])

    def read_own(self, contract: TableContract, version: int | None = None) -> DataFrame:
        """A table at its newest version, or at a given one, without recording the read.

        For a task's look at its own output: what it wrote, or an earlier state of it that
        spares work and changes no result.
        """
        if version is not None:
            return self._at(contract, version)
        self.create(contract)
        return self._spark.table(self.name(contract))

    def rows(self, contract: TableContract, equal: Mapping[str, str]) -> pa.Table:
        """Rows that the driver has room for, without recording the read.

        They come without a query where they can: a session that commits itself into a folder, and
        a plain table that has such rows. The first query of a session takes seconds.

        Args:
            contract: The table.
            equal: Partition column of type STRING -> its value in the rows.

        Returns:
            The rows, with the contract's columns in its order.

        Raises:
            TableError: The table has other columns.
        """
        found = self._rows_without_spark(contract, equal)
        if found is None:
            rows = self.read_own(contract).where(equals(equal))
            found = rows.select(*contract.column_names).toArrow()
        return found

    def _rows_without_spark(
        self, contract: TableContract, equal: Mapping[str, str]
    ) -> pa.Table | None:
        """The same; None where a query is needed."""
        if not self._is_committed_here:
            return None
        from lakehouse.delta_rows import rows_in  # imports Arrow, which the command line spares

        return rows_in(Path(self._location(contract.full_name)), contract, equal)

    def read_unchanged(self, contract: TableContract) -> DataFrame:
        """A table that is there, at its newest version, without bringing it up to this release.

        Columns that an older release did not have are NULL.
        """
        found = self._spark.table(self.name(contract))
        lacking = [
            f"CAST(NULL AS {column.type}) AS `{column.name}`"
            for column in contract.columns
            if column.name in contract.added and column.name not in found.columns
        ]
        return found.selectExpr("*", *lacking)

    def _at(self, contract: TableContract, version: int) -> DataFrame:
        self.create(contract)
        return self._spark.read.option("versionAsOf", version).table(self.name(contract))

    def version(self, contract: TableContract) -> int:
        """The table's newest Delta version."""
        self.create(contract)
        return self._newest(contract.full_name)

    def version_unchanged(self, contract: TableContract) -> int:
        """The newest version, without bringing the table up to this release; 0 if not there."""
        return self._newest(contract.full_name) if self.exists(contract) else 0

    def changed_since(self, contract: TableContract, version: int) -> bool:
        """Whether a commit after a version may have changed rows."""
        return self.changes_since(contract, version) != set()

    def changes_since(self, contract: TableContract, version: int) -> set[int] | None:
        """The versions after one that may have other rows than the version before them.

        Compacting files, deleting old ones and setting properties changes no row.

        Returns:
            The versions; None where the log was cleaned up and no longer tells them all.
        """
        self.create(contract)
        while (newest := self._newest(contract.full_name)) > version:
            later = self._history(contract.full_name, newest - version)
            if later[0].version > newest:
                continue  # a commit that came since has taken the place of the oldest
            if len(later) < newest - version:
                return None
            return {commit.version for commit in later if commit.operation not in _UPKEEP}
        return set()

    def changed_by_others(self, contract: TableContract, version: int, where: str) -> bool:
        """Whether another writer may have changed rows that match since a version.

        Args:
            contract: The table.
            version: What this task knows of, from before its own commits.
            where: SQL condition on the partition columns.
        """
        own = self._own[contract.full_name]
        if self.version(contract) == version + len([each for each in own if each > version]):
            return False
        changes = self.changes_since(contract, version)
        return changes is None or any(
            self._files_of(contract, each, where) != self._files_of(contract, each - 1, where)
            for each in changes - own
        )

    def _files_of(self, contract: TableContract, version: int, where: str) -> set[str]:
        """The data files of the partitions that match."""
        return set(self._at(contract, version).where(where).inputFiles())

    def rows_read(self) -> int:
        """Rows of the tables that this task read, at the versions it read, used or not."""
        # Delta answers from its log, without a look at the data.
        counts = " UNION ALL ".join(
            f"SELECT count(*) AS rows FROM {self._sql_name(table)} VERSION AS OF {version}"
            for table, version in self.read_versions.items()
        )
        return sum(row["rows"] for row in self._spark.sql(counts).collect()) if counts else 0

    def append(self, contract: TableContract, frame: DataFrame) -> int:
        """Add rows in one commit; returns its Delta version."""
        return self._write(contract, frame, where=None)

    def replace(self, contract: TableContract, frame: DataFrame, where: str) -> int:
        """Put `frame` in the place of the rows that match `where`, in one commit.

        Every row of `frame` must match `where` too.

        Args:
            contract: The table.
            frame: Its new rows, with the contract's columns.
            where: SQL condition on the table's columns; partition columns first make it cheap.

        Raises:
            WriteConflict: Another writer changed rows that match while this one wrote.
        """
        return self._write(contract, frame, where)

    def frame(self, contract: TableContract, rows: Sequence[Mapping[str, object]]) -> DataFrame:
        """A DataFrame of a few rows made on the driver, with the contract's columns and types."""
        values = [tuple(row[name] for name in contract.column_names) for row in rows]
        return self._spark.createDataFrame(values, schema_of(contract))

    def exists(self, contract: TableContract) -> bool:
        """Whether the table has been created, without creating it."""
        if self._is_folder:
            return bool(versions_in(Path(self._location(contract.full_name))))
        if self._catalog:
            return self._spark.catalog.tableExists(self.name(contract))
        log = f"{self._location(contract.full_name)}/_delta_log"
        return bool(_listed(self._spark, log, "path"))

    def create(self, contract: TableContract) -> bool:
        """Make the table unless it is there; returns whether it is new.

        Raises:
            TableError: It is there with other columns, or its folder holds no table.
        """
        name = self.name(contract)
        created = _created.setdefault(self._spark, {})
        if created.get(name) == contract:
            return False
        is_new = not self.exists(contract)
        location = self._location(contract.full_name)
        folder = Path(location) if self._is_folder else None
        made = until_made(lambda: self._made(contract, is_new), location, folder, self._alone())
        if column_types(made) != contract.column_types:
            raise TableError(
                f"{contract.full_name} in {self._warehouse} has other columns than this version "
                "of candlelake writes: name another warehouse, or migrate the table"
            )
        created[name] = contract
        return is_new

    def is_unwritten(self, contract: TableContract) -> bool:
        """Whether the table has never had a row, as of now."""
        self.create(contract)
        written = _written.setdefault(self._spark, set())
        name = self.name(contract)
        if name not in written and not self._is_as_created(contract):
            written.add(name)
        return name not in written

    def _is_as_created(self, contract: TableContract) -> bool:
        # A table that was made by a query or a copy has rows from the first.
        table = contract.full_name
        folder = Path(self._location(table))
        newest = newest_commits(folder, 1) if self._is_folder else self._history(table, 1)
        return [(each.version, each.operation) for each in newest] == [(0, "CREATE TABLE")]

    def _made(self, contract: TableContract, is_new: bool) -> StructType:
        name = self.name(contract)
        if is_new:
            self._make(contract, name)
        if contract.added:
            self._renew(contract)
        return self._spark.table(name).schema

    def _make(self, contract: TableContract, name: str) -> None:
        if self._catalog:
            self._spark.sql(f"CREATE SCHEMA IF NOT EXISTS {self._catalog}.{contract.layer}")
        try:
            with self._alone():
                self._spark.sql(create_statement(contract, name))
        except Exception as error:
            # Of two tasks that create a table at once, one is told so, and finds it there.
            if not _is_conflict(error):
                raise

    def _renew(self, contract: TableContract) -> None:
        name = self.name(contract)
        with _renewing:  # two tasks of a run may open it at once
            there = self._spark.table(name).columns
            statements = renewal_statements(contract, name, there, self._properties(name))
            for statement in statements:
                with self._alone():
                    self._spark.sql(statement)
        if statements:
            log.info("%s is of an older release and has its new columns now", contract.full_name)

    def tables(self) -> list[str]:
        """`<layer>.<name>` of every table in the warehouse, sorted."""
        if self._catalog:
            return _tables_in(self._spark, self._catalog)
        return _tables_below(self._spark, self._warehouse)

    def maintain(self, table: str, retention_days: int | None) -> tuple[TableSize, TableSize]:
        """Rewrite small files into few and delete those that no kept version needs.

        No row changes.

        Args:
            table: `<layer>.<name>`.
            retention_days: For how long its versions can be read; None leaves it to the table, and
                makes it what a new table has where it is less.

        Returns:
            The table before and after.

        Raises:
            WriteConflict: Another writer changed the table at the same time.
        """
        name = self._sql_name(table)
        version, before = self._newest(table), self._size(name)
        with _conflict_named(table), self._alone():
            for statement in retention_statements(name, self._properties(name), retention_days):
                self._spark.sql(statement)
            self._spark.sql(f"OPTIMIZE {name}").collect()
            # Without RETAIN, it is the table's own retention that counts. Asked first, because
            # Delta commits each VACUUM, also one that finds no file.
            if self._spark.sql(f"VACUUM {name} DRY RUN").take(1):
                self._spark.sql(f"VACUUM {name}").collect()
        newest = self._newest(table)
        if newest == version:
            return before, before
        self.written_versions[table] = newest
        return before, self._size(name)

    def _properties(self, name: str) -> dict[str, str]:
        rows = self._spark.sql(f"SHOW TBLPROPERTIES {name}").collect()
        return {row["key"]: row["value"] for row in rows}

    def _size(self, name: str) -> TableSize:
        detail = self._spark.sql(f"DESCRIBE DETAIL {name}").collect()[0]
        return TableSize(detail["numFiles"], detail["sizeInBytes"])

    def _write(self, contract: TableContract, frame: DataFrame, where: str | None) -> int:
        self.create(contract)
        started = time.monotonic()
        types = column_types(self._spark.table(self.name(contract)).schema)
        conforming = conform(contract, frame, types)
        version = None
        with self._alone():
            if where is not None and self.is_unwritten(contract):
                version = self._commit_first(contract, conforming)
            if version is None:
                version = self._commit(contract, conforming, where)
        _written.setdefault(self._spark, set()).add(self.name(contract))
        self.written_versions[contract.full_name] = version
        seconds = time.monotonic() - started
        log.debug("%s: version %d written in %.1f s", contract.full_name, version, seconds)
        return version

    def _commit_first(self, contract: TableContract, frame: DataFrame) -> int | None:
        """Append what would replace nothing, in a third of the time; None if another was first.

        Of two runs that both found a table without a commit, the second then replaces what the
        first has written.
        """
        if not self._is_folder:
            return self._append_once(contract, frame, _FIRST)
        # Other processes wait already. A name is not needed then, and Delta would read the state of
        # the table for it, which takes a new JVM as long as the append.
        with _first_writers.setdefault(self.name(contract), Lock()):
            return self._append_once(contract, frame, {}) if self.is_unwritten(contract) else None

    def _append_once(
        self, contract: TableContract, frame: DataFrame, name: Mapping[str, str]
    ) -> int | None:
        token = uuid.uuid4().hex
        writer = frame.write.format("delta").mode("append").options(**name, userMetadata=token)
        try:
            writer.saveAsTable(self.name(contract))
        except Exception as error:
            if not _is_conflict(error):
                raise
            return None
        return self._note_commit(contract, token)

    def _commit(self, contract: TableContract, frame: DataFrame, where: str | None) -> int:
        token = uuid.uuid4().hex
        writer = frame.write.format("delta").option("userMetadata", token)
        if where is None:
            writer = writer.mode("append")
        else:
            writer = writer.mode("overwrite").option("replaceWhere", where)
        with _conflict_named(contract.full_name):
            writer.saveAsTable(self.name(contract))
        version = self._note_commit(contract, token)
        # Delta commits no append without rows: the newest version is then as good as its own.
        return self.version(contract) if version is None else version

    def _note_commit(self, contract: TableContract, token: str) -> int | None:
        """Count the rows of our commit; returns its version, None when Delta made none."""
        history = self._history(contract.full_name, _HISTORY_DEPTH)
        own = next((commit for commit in history if commit.user_metadata == token), None)
        if own is None:
            return None
        rows = _rows_of_commit(own)
        with self._counting:
            known = self.rows_written is not None and rows is not None
            self.rows_written = (self.rows_written or 0) + (rows or 0) if known else None
        self._own[contract.full_name].add(own.version)
        return own.version

    def _newest(self, table: str) -> int:
        newest = self._history(table, 1)
        if not newest:
            raise TableError(f"{table} has no version in {self._warehouse} any more: run again")
        return newest[0].version

    def _history(self, table: str, depth: int) -> list[Commit]:
        """The newest commits, newest first."""
        if self._is_committed_here:
            return newest_commits(Path(self._location(table)), depth)
        rows = self._spark.sql(f"DESCRIBE HISTORY {self._sql_name(table)} LIMIT {depth}").collect()
        return [
            Commit(
                int(row["version"]),
                row["operation"],
                row["userMetadata"],
                row["operationMetrics"] or {},
            )
            for row in rows
        ]

    def _alone(self) -> AbstractContextManager[None]:
        """Keeps other processes of this machine from writing into a folder meanwhile."""
        if not self._is_folder:
            return nullcontext()
        return by_one_process(self._warehouse, "writing of tables")

    def _location(self, table: str) -> str:
        return f"{self._warehouse}/{table.replace('.', '/')}"


def require_tables(warehouse: str) -> None:
    """Say so early, before a session starts, when a warehouse folder holds no table.

    Raises:
        TableError: There is no table below the folder.
    """
    if not is_uri(warehouse) and not _local_tables(warehouse):
        raise TableError(
            f"no tables in {absolute(warehouse)}: run `candlelake run medallion` first, or "
            "name the warehouse with --set warehouse=…"
        )


def register_tables(spark: SparkSession, warehouse: str, catalog: str | None) -> list[str]:
    """Give every table of a warehouse folder or URI its SQL name; returns the names, sorted.

    A catalog keeps the names itself: it becomes the session's own, where they need no third part.
    """
    if catalog:
        spark.catalog.setCurrentCatalog(catalog)
        return _tables_in(spark, identifier(catalog))
    names = _tables_below(spark, warehouse)
    for name in names:
        layer, _, table = name.partition(".")
        spark.sql(f"CREATE SCHEMA IF NOT EXISTS {layer}")
        if spark.catalog.tableExists(name):  # it may stand for another warehouse
            if spark.catalog.getTable(name).tableType == "MANAGED":
                raise TableError(f"{name} is a table of this session's own: use another session")
            spark.sql(f"DROP TABLE {name}")  # of an external table, only the name goes
        location = literal(f"{absolute(warehouse)}/{layer}/{table}")
        spark.sql(f"CREATE TABLE {name} USING delta LOCATION {location}")
    return names


def _tables_in(spark: SparkSession, catalog: str) -> list[str]:
    """`<layer>.<name>` of every table in a catalog, sorted; people may keep views beside them."""
    schemas = {row[0] for row in spark.sql(f"SHOW SCHEMAS IN {catalog}").collect()}
    return sorted(
        f"{layer}.{table.name}"
        for layer in schemas.intersection(LAYERS)
        for table in spark.catalog.listTables(f"{catalog}.{layer}")
        if not table.isTemporary and "VIEW" not in table.tableType
    )


def _tables_below(spark: SparkSession, warehouse: str) -> list[str]:
    """`<layer>.<name>` of every table below a folder or URI, sorted."""
    return _tables_at(spark, warehouse) if is_uri(warehouse) else _local_tables(warehouse)


def _local_tables(warehouse: str) -> list[str]:
    root = Path(warehouse).absolute()
    folders = (folder for layer in LAYERS for folder in root.glob(f"{layer}/*"))
    return sorted(f"{each.parent.name}.{each.name}" for each in folders if versions_in(each))


def _tables_at(spark: SparkSession, uri: str) -> list[str]:
    """The tables below a URI, which the engine alone can list: it has their commits as files."""
    folders = f"{absolute(uri)}/{{{','.join(LAYERS)}}}/*/_delta_log"
    folder = "slice(split(substring_index(path, '/_delta_log/', 1), '/'), -2, 2)"
    return _listed(spark, folders, f"concat_ws('.', {folder})")


def _listed(spark: SparkSession, folders: str, what: str) -> list[str]:
    """What an expression of `path` gives for the commits in folders, each once and sorted."""
    commits = spark.read.format("binaryFile").option("pathGlobFilter", "*.json")
    try:
        found = commits.load(folders).selectExpr(what).distinct().collect()
    except Exception as error:
        if "PATH_NOT_FOUND" not in str(error):
            raise
        return []
    return sorted(row[0] for row in found)


def _rows_of_commit(commit: Commit) -> int | None:
    """Rows that a commit wrote; not those that it copied because they share a file with others."""
    metrics = commit.metrics
    # Of a commit that only took rows away, Delta tells the files alone.
    rows = "0" if metrics.get("numFiles") == "0" else metrics.get("numOutputRows")
    return None if rows is None else int(rows) - int(metrics.get("numCopiedRows") or 0)


@contextmanager
def _conflict_named(table: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if _is_conflict(error):
            raise WriteConflict(f"{table}: another run changed the same rows: run again") from error
        raise


def _is_conflict(error: BaseException) -> bool:
    return any(code in str(error) for code in _CONFLICTS)
