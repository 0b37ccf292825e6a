"""The rows of a small Delta table in a folder of this machine, read without Spark.

The first query of a session takes ten seconds on two cores, whatever it reads: a JVM compiles all
that is between the query and the files. Here the log is replayed as
https://github.com/delta-io/delta/blob/master/PROTOCOL.md tells, and Arrow reads the files. Tables
that are in any way out of the ordinary are left to Spark.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.arrow import sql_type
from lakehouse.contracts import TableContract
from lakehouse.delta_log import checkpoint_file, commit_file, newest_checkpoint, versions_in

# Later versions rename columns and mark deleted rows.
_READER_VERSION = 1

# What is read of a checkpoint, whose statistics are the most of it.
_CHECKPOINT_COLUMNS = (
    *("add.path", "add.partitionValues"),
    *("protocol.minReaderVersion", "metaData.schemaString", "metaData.partitionColumns"),
)

_Action = dict[str, Any]


def rows_in(folder: Path, contract: TableContract, equal: Mapping[str, str]) -> pa.Table | None:
    """All rows of the partitions that have these values, of the newest version.

    Args:
        folder: The table's.
        contract: Its columns, which the result has in this order.
        equal: Partition column of type STRING -> its value.

    Returns:
        The rows; None where there is none, or Spark is to tell: the table or a file of it has other
        columns or types, or another kind of partition, wants a newer reader, or is not all there.
    """
    parts: list[pa.Table] = []
    try:
        state = _replayed(folder)
        if state is None or not _is_plain(state, contract):
            return None
        for path, values in state.files.items():
            if equal.items() <= values.items():
                part = _part(folder / unquote(path), values, contract)
                if part is None or part.schema != (parts or [part])[0].schema:
                    return None
                parts.append(part)
    except FileNotFoundError:  # deleted meanwhile: by a clean-up of the log, or a VACUUM
        return None
    return pa.concat_tables(parts) if parts else None


class _State:
    """What the log tells of one version.

    Attributes:
        protocol: Which readers it wants.
        metadata: Its columns.
        files: Path of each data file, as the log spells it -> values of its partition.
    """

    def __init__(self) -> None:
        self.protocol: _Action = {}
        self.metadata: _Action = {}
        self.files: dict[str, dict[str, str | None]] = {}

    def apply(self, action: _Action) -> None:
        if file := action.get("add"):
            values = dict(file["partitionValues"])
            self.files[file["path"]] = {name: text or None for name, text in values.items()}
        elif file := action.get("remove"):
            self.files.pop(file["path"], None)
        self.protocol = action.get("protocol") or self.protocol
        self.metadata = action.get("metaData") or self.metadata


def _replayed(folder: Path) -> _State | None:
    """The newest version; None if its log is not all there."""
    checkpoint = newest_checkpoint(folder)
    later = sorted(version for version in versions_in(folder) if version > checkpoint)
    if later != list(range(checkpoint + 1, checkpoint + 1 + len(later))):
        return None
    state = _State()
    if checkpoint >= 0:
        file = pq.ParquetFile(checkpoint_file(folder, checkpoint))
        for action in file.read(_CHECKPOINT_COLUMNS).to_pylist():
            state.apply(action)
    for version in later:
        with commit_file(folder, version).open(encoding="utf-8") as lines:
            for line in lines:
                state.apply(json.loads(line))
    return state


def _is_plain(state: _State, contract: TableContract) -> bool:
    if state.protocol.get("minReaderVersion") != _READER_VERSION or not state.metadata:
        return False
    types = {
        field["name"]: field["type"]
        for field in json.loads(state.metadata["schemaString"])["fields"]
    }
    partitions = state.metadata["partitionColumns"]
    are_texts = all(types[name] == "string" for name in partitions)
    return are_texts and set(types) == set(contract.column_names)


def _part(path: Path, values: Mapping[str, str | None], contract: TableContract) -> pa.Table | None:
    """The rows of a data file with its partition's values; None if it is not of the contract."""
    table = pq.ParquetFile(path).read()
    for name, value in values.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(pa.scalar(value, pa.string()), len(table)))
    types = {field.name: sql_type(field.type) for field in table.schema}
    return table.select(contract.column_names) if types == contract.column_types else None
