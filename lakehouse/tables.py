"""The one module that reads and writes tables.

A `Lake` is opened for each task. It creates tables from their contracts on first use, pins the
version of each table at the task's first read, and remembers every version it read and wrote, so
that the task's results can be traced and had again.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from lakehouse.contracts import LAYERS, TableContract
from lakehouse.definitions import column_types, conform, create_statement, schema_of
from lakehouse.errors import TableError, WriteConflict
from lakehouse.sql import literal

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

log = logging.getLogger(__name__)

# Tables that a session has made or compared with their contract, so that each task need not.
_created: WeakKeyDictionary[SparkSession, dict[str, TableContract]] = WeakKeyDictionary()

# Tables that a session has made and nobody, as far as it knows, has written into.
_unwritten: WeakKeyDictionary[SparkSession, dict[str, bool]] = WeakKeyDictionary()

_CREATION = f"{0:020}.json"

# Version of a table's first rows: 0 is its creation. They are appended and replace nothing.
FIRST_VERSION = 1

# Delta takes one commit of this name and number into a table, however many writers try.
_FIRST = {"txnAppId": "candlelake-first", "txnVersion": "1"}

# Errors of Delta's optimistic concurrency.
_CONFLICTS = ("DELTA_CONCURRENT", "DELTA_METADATA_CHANGED", "DELTA_PROTOCOL_CHANGED")

# Commits that may lie between ours and the look at the history that finds it.
_HISTORY_DEPTH = 50


class Lake:
    """Reads and writes the tables of one warehouse for one task.

    Attributes:
        read_versions: Table name -> Delta version that this task read.
        written_versions: Table name -> last Delta version that this task wrote.
    """

    def __init__(self, spark: SparkSession, warehouse: str, catalog: str | None = None) -> None:
        self._spark = spark
        self._warehouse = warehouse if "://" in warehouse else str(Path(warehouse).absolute())
        self._catalog = catalog
        self._is_folder = catalog is None and "://" not in warehouse
        self.read_versions: dict[str, int] = {}
        self.written_versions: dict[str, int] = {}

    def name(self, contract: TableContract) -> str:
        """What SQL calls the table: by its folder, or by its name in the catalog."""
        if self._catalog:
            return f"{self._catalog}.{contract.full_name}"
        # By folder and not by a registered name: on a shared server, two warehouses never meet.
        return f"delta.`{self._location(contract).replace('`', '``')}`"

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

    def _at(self, contract: TableContract, version: int) -> DataFrame:
        self.create(contract)
        return self._spark.read.option("versionAsOf", version).table(self.name(contract))

    def version(self, contract: TableContract) -> int:
        """The table's newest Delta version."""
        self.create(contract)
        row = self._history(contract, 1)[0]
        return int(row["version"])

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
            WriteConflict: Another writer changed rows that match, after this task read them.
        """
        return self._write(contract, frame, where)

    def frame(self, contract: TableContract, rows: Sequence[Mapping[str, object]]) -> DataFrame:
        """A DataFrame of a few rows made on the driver, with the contract's columns and types."""
        values = [tuple(row[name] for name in contract.column_names) for row in rows]
        return self._spark.createDataFrame(values, schema_of(contract))

    def exists(self, contract: TableContract) -> bool:
        """Whether the table has been created, without creating it."""
        if self._is_folder:
            return bool(_commits(Path(self._location(contract))))
        return self._spark.catalog.tableExists(self.name(contract))

    def create(self, contract: TableContract) -> bool:
        """Make the table unless it is there; returns whether it is new.

        Raises:
            TableError: It is there with other columns.
        """
        name = self.name(contract)
        created = _created.setdefault(self._spark, {})
        if created.get(name) == contract:
            return False
        is_new = not self.exists(contract)
        if is_new:
            self._make(contract, name)
        found = column_types(self._spark.table(name).schema)
        empty = self._spark.createDataFrame([], schema_of(contract))
        if found != column_types(empty.schema):
            raise TableError(
                f"{contract.full_name} in {self._warehouse} has other columns than this version "
                "of candlelake writes: name another warehouse, or migrate the table"
            )
        created[name] = contract
        if is_new:
            _unwritten.setdefault(self._spark, {}).setdefault(name, True)
        return is_new

    def is_unwritten(self, contract: TableContract) -> bool:
        """Whether the table may have had no rows ever; looked up once in a session."""
        self.create(contract)
        known = _unwritten.setdefault(self._spark, {})
        name = self.name(contract)
        if name not in known:
            known[name] = self._is_as_created(contract)
        return known[name]

    def _is_as_created(self, contract: TableContract) -> bool:
        if self._is_folder:
            return _commits(Path(self._location(contract))) == [_CREATION]
        return self.version(contract) == 0

    def _make(self, contract: TableContract, name: str) -> None:
        if self._catalog:
            self._spark.sql(f"CREATE SCHEMA IF NOT EXISTS {self._catalog}.{contract.layer}")
        try:
            self._spark.sql(create_statement(contract, name))
        except Exception as error:
            # Of two tasks that create a table at once, one is told so, and finds it there.
            if not _is_conflict(error):
                raise

    def _write(self, contract: TableContract, frame: DataFrame, where: str | None) -> int:
        self.create(contract)
        started = time.monotonic()
        types = column_types(self._spark.table(self.name(contract)).schema)
        conforming = conform(contract, frame, types)
        version = None
        if where is not None and self.is_unwritten(contract):
            version = self._commit_first(contract, conforming)
        if version is None:
            version = self._commit(contract, conforming, where)
        _unwritten.setdefault(self._spark, {})[self.name(contract)] = False
        self.written_versions[contract.full_name] = version
        seconds = time.monotonic() - started
        log.debug("%s: version %d written in %.1f s", contract.full_name, version, seconds)
        return version

    def _commit_first(self, contract: TableContract, frame: DataFrame) -> int | None:
        """Append what would replace nothing, in a third of the time; None if another was first.

        Whoever finds a table without a commit appends under one name, which Delta takes once: of
        two runs that both found it so, the second then replaces what the first has written.
        """
        token = uuid.uuid4().hex
        options = {**_FIRST, "userMetadata": token}
        try:
            frame.write.format("delta").mode("append").options(**options).saveAsTable(
                self.name(contract)
            )
        except Exception as error:
            if not _is_conflict(error):
                raise
            return None
        return self._version_of(contract, token)

    def _commit(self, contract: TableContract, frame: DataFrame, where: str | None) -> int:
        token = uuid.uuid4().hex
        writer = frame.write.format("delta").option("userMetadata", token)
        if where is None:
            writer = writer.mode("append")
        else:
            writer = writer.mode("overwrite").option("replaceWhere", where)
        try:
            writer.saveAsTable(self.name(contract))
        except Exception as error:
            if _is_conflict(error):
                raise WriteConflict(
                    f"{contract.full_name}: another run changed the same rows: run again"
                ) from error
            raise
        version = self._version_of(contract, token)
        # Delta commits no append without rows: the newest version is then as good as its own.
        return self.version(contract) if version is None else version

    def _version_of(self, contract: TableContract, token: str) -> int | None:
        history = self._history(contract, _HISTORY_DEPTH)
        own = (int(row["version"]) for row in history if row["userMetadata"] == token)
        return next(own, None)

    def _history(self, contract: TableContract, depth: int) -> list[Row]:
        return self._spark.sql(f"DESCRIBE HISTORY {self.name(contract)} LIMIT {depth}").collect()

    def _location(self, contract: TableContract) -> str:
        return f"{self._warehouse}/{contract.layer}/{contract.name}"


def require_tables(warehouse: str) -> None:
    """Say so early, before a session starts, when a warehouse folder holds no table.

    Raises:
        TableError: There is no table below the folder.
    """
    if "://" not in warehouse and not _table_folders(warehouse):
        raise TableError(
            f"no tables in {Path(warehouse).absolute()}: run `candlelake run medallion` first, or "
            "name the warehouse with --set warehouse=…"
        )


def register_tables(spark: SparkSession, warehouse: str, catalog: str | None) -> list[str]:
    """Give every table of a warehouse folder its SQL name; returns the names, sorted.

    A catalog keeps the names itself: they are only listed.
    """
    if catalog:
        rows = [
            row
            for layer in LAYERS
            for row in spark.sql(f"SHOW TABLES IN {catalog}.{layer}").collect()
        ]
        return sorted(f"{catalog}.{row['namespace']}.{row['tableName']}" for row in rows)
    names = []
    for folder in _table_folders(warehouse):
        name = f"{folder.parent.name}.{folder.name}"
        spark.sql(f"CREATE SCHEMA IF NOT EXISTS {folder.parent.name}")
        if spark.catalog.tableExists(name):  # it may stand for another warehouse
            if spark.catalog.getTable(name).tableType == "MANAGED":
                raise TableError(f"{name} is a table of this session's own: use another session")
            spark.sql(f"DROP TABLE {name}")  # of an external table, only the name goes
        spark.sql(f"CREATE TABLE {name} USING delta LOCATION {literal(folder)}")
        names.append(name)
    return names


def _table_folders(warehouse: str) -> list[Path]:
    root = Path(warehouse).absolute()
    folders = (folder for layer in LAYERS for folder in root.glob(f"{layer}/*"))
    return sorted(folder for folder in folders if _commits(folder))


def _commits(folder: Path) -> list[str]:
    """Files of a table's commits; none if a run was killed while it made the table."""
    return [path.name for path in (folder / "_delta_log").glob("*.json")]


def _is_conflict(error: BaseException) -> bool:
    return any(code in str(error) for code in _CONFLICTS)
