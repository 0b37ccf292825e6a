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
from lakehouse.errors import TableError, WriteConflict
from lakehouse.sql import literal

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession
    from pyspark.sql.types import StructType

log = logging.getLogger(__name__)

# Tables that a session has made or compared with their contract, so that each task need not.
_created: WeakKeyDictionary[SparkSession, dict[str, TableContract]] = WeakKeyDictionary()

# What keeps a table readable by other engines, its commits small, and its versions for a year: a
# result is had again from those that it was made of. Delta reads no version older than the files'
# retention, which is a week unless it is told otherwise.
_PROPERTIES = {
    "delta.enableDeletionVectors": "false",
    "delta.dataSkippingNumIndexedCols": "32",
    "delta.logRetentionDuration": "interval 365 days",
    "delta.deletedFileRetentionDuration": "interval 365 days",
}

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
        self._warehouse = _place_of(warehouse)
        self._catalog = catalog
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
        return self._spark.createDataFrame(values, _schema(contract))

    def exists(self, contract: TableContract) -> bool:
        """Whether the table has been created, without creating it."""
        if self._catalog:
            return self._spark.catalog.tableExists(self.name(contract))
        commits = f"{self._location(contract)}/_delta_log"
        if "://" not in self._warehouse:
            return Path(commits).is_dir()
        return bool(_listed(self._spark, commits, "path"))

    def create(self, contract: TableContract) -> bool:
        """Make the table unless it is there; returns whether it is new, and so need not be read.

        Raises:
            TableError: It is there with other columns.
        """
        name = self.name(contract)
        created = _created.setdefault(self._spark, {})
        if created.get(name) == contract:
            return False
        is_new = not self.exists(contract)
        if self._catalog:
            self._spark.sql(f"CREATE SCHEMA IF NOT EXISTS {self._catalog}.{contract.layer}")
        try:
            self._spark.sql(_create_statement(contract, name))
        except Exception as error:
            # Of two tasks that create a table at once, one is told so, and finds it there.
            if not _is_conflict(error):
                raise
        found = _column_types(self._spark.table(name).schema)
        empty = self._spark.createDataFrame([], _schema(contract))
        if found != _column_types(empty.schema):
            raise TableError(
                f"{contract.full_name} in {self._warehouse} has other columns than this version "
                "of candlelake writes: name another warehouse, or migrate the table"
            )
        created[name] = contract
        return is_new

    def _write(self, contract: TableContract, frame: DataFrame, where: str | None) -> int:
        self.create(contract)
        started = time.monotonic()
        token = uuid.uuid4().hex
        types = _column_types(self._spark.table(self.name(contract)).schema)
        conforming = _conform(contract, frame, types)
        writer = conforming.write.format("delta").option("userMetadata", token)
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
        self.written_versions[contract.full_name] = version
        seconds = time.monotonic() - started
        log.debug("%s: version %d written in %.1f s", contract.full_name, version, seconds)
        return version

    def _version_of(self, contract: TableContract, token: str) -> int:
        history = self._history(contract, _HISTORY_DEPTH)
        # Delta commits no append without rows: the newest version is then as good as its own.
        own = (row for row in history if row["userMetadata"] == token)
        return int(next(own, history[0])["version"])

    def _history(self, contract: TableContract, depth: int) -> list[Row]:
        return self._spark.sql(f"DESCRIBE HISTORY {self.name(contract)} LIMIT {depth}").collect()

    def _location(self, contract: TableContract) -> str:
        return f"{self._warehouse}/{contract.layer}/{contract.name}"


def require_tables(warehouse: str) -> None:
    """Say so early, before a session starts, when a warehouse folder holds no table.

    Raises:
        TableError: There is no table below the folder.
    """
    if "://" not in warehouse and not _local_tables(warehouse):
        raise TableError(
            f"no tables in {Path(warehouse).absolute()}: run `candlelake run medallion` first, or "
            "name the warehouse with --set warehouse=…"
        )


def register_tables(spark: SparkSession, warehouse: str, catalog: str | None) -> list[str]:
    """Give every table of a warehouse folder or URI its SQL name; returns the names, sorted.

    A catalog keeps the names itself: they are only listed.
    """
    if catalog:
        rows = [
            row
            for layer in LAYERS
            for row in spark.sql(f"SHOW TABLES IN {catalog}.{layer}").collect()
        ]
        return sorted(f"{catalog}.{row['namespace']}.{row['tableName']}" for row in rows)
    is_uri = "://" in warehouse
    names = _tables_at(spark, warehouse) if is_uri else _local_tables(warehouse)
    for name in names:
        layer, _, table = name.partition(".")
        spark.sql(f"CREATE SCHEMA IF NOT EXISTS {layer}")
        if spark.catalog.tableExists(name):  # it may stand for another warehouse
            if spark.catalog.getTable(name).tableType == "MANAGED":
                raise TableError(f"{name} is a table of this session's own: use another session")
            spark.sql(f"DROP TABLE {name}")  # of an external table, only the name goes
        location = literal(f"{_place_of(warehouse)}/{layer}/{table}")
        spark.sql(f"CREATE TABLE {name} USING delta LOCATION {location}")
    return names


def _place_of(warehouse: str) -> str:
    return warehouse.rstrip("/") if "://" in warehouse else str(Path(warehouse).absolute())


def _local_tables(warehouse: str) -> list[str]:
    root = Path(warehouse).absolute()
    logs = [log for layer in LAYERS for log in root.glob(f"{layer}/*/_delta_log") if log.is_dir()]
    return sorted(f"{log.parent.parent.name}.{log.parent.name}" for log in logs)


def _tables_at(spark: SparkSession, uri: str) -> list[str]:
    """The tables below a URI, which the engine alone can list: it has their commits as files."""
    folders = f"{_place_of(uri)}/{{{','.join(LAYERS)}}}/*/_delta_log"
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


def _conform(contract: TableContract, frame: DataFrame, types: Mapping[str, str]) -> DataFrame:
    """The contract's columns in its order; drift is an error, never merged in silence."""
    if set(frame.columns) != set(contract.column_names):
        missing = sorted(set(contract.column_names) - set(frame.columns))
        unknown = sorted(set(frame.columns) - set(contract.column_names))
        raise TableError(f"{contract.full_name}: missing columns {missing}, unknown {unknown}")
    # Delta would cast, and make 1 of 1.7.
    other = [
        f"{name} is {given} and not {types[name]}"
        for name, given in _column_types(frame.schema).items()
        if given != types[name]
    ]
    if other:
        raise TableError(f"{contract.full_name}: column {', '.join(other)}")
    return frame.select(*contract.column_names)


def _schema(contract: TableContract) -> str:
    return ", ".join(f"`{column.name}` {column.type}" for column in contract.columns)


def _column_types(schema: StructType) -> dict[str, str]:
    return {field.name: field.dataType.simpleString() for field in schema.fields}


def _create_statement(contract: TableContract, name: str) -> str:
    columns = ", ".join(
        f"`{column.name}` {column.type}{'' if column.nullable else ' NOT NULL'} "
        f"COMMENT {literal(column.comment)}"
        for column in contract.columns
    )
    given = _PROPERTIES | {
        f"delta.constraints.{name}": sql for name, sql in contract.checks.items()
    }
    if contract.skip_by:
        given["delta.dataSkippingStatsColumns"] = ",".join(contract.skip_by)
    elif contract.skip_by is not None:
        given["delta.dataSkippingNumIndexedCols"] = "0"
    properties = ", ".join(f"{literal(key)} = {literal(value)}" for key, value in given.items())
    partitions = ", ".join(contract.partitioned_by)
    return (
        f"CREATE TABLE IF NOT EXISTS {name} ({columns}) USING delta"
        + (f" PARTITIONED BY ({partitions})" if partitions else "")
        + f" COMMENT {literal(contract.comment)} TBLPROPERTIES ({properties})"
    )


def _is_conflict(error: BaseException) -> bool:
    return any(code in str(error) for code in _CONFLICTS)
