"""The rows of a small Delta table in a folder of this machine, read without Spark.

The first query of a session takes it ten seconds, whatever it reads: a JVM compiles all that is
between the query and the files. Here the log is replayed as
https://github.com/delta-io/delta/blob/master/PROTOCOL.md tells, and Arrow reads the files. Tables
that are in any way out of the ordinary are left to Spark.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.delta_log import checkpoint_file, commit_file, newest_checkpoint, versions_in

# Later versions rename columns and mark deleted rows.
_READER_VERSION = 1

# What is read of a checkpoint, whose statistics are the most of it.
_READ = (
    *("add.path", "add.partitionValues"),
    *("protocol.minReaderVersion", "metaData.schemaString", "metaData.partitionColumns"),
)

_Action = dict[str, Any]


def small_table(
    folder: Path, columns: Collection[str], equal: Mapping[str, str]
) -> pa.Table | None:
    """All rows of the partitions that have these values, of the newest version.

    Args:
        folder: The table's.
        columns: What it must hold, in the order to give it in.
        equal: Partition column, of texts -> value.

    Returns:
        The rows; None where there are none, or Spark is needed to tell: the table has other columns
        or another kind of partition, wants a newer reader, or its log is not all there.
    """
    try:
        state = _replayed(folder)
        if state is None or not _is_plain(state, columns):
            return None
        parts = [
            _part(folder / unquote(file["path"]), file["partitionValues"], columns)
            for file in state.files.values()
            if equal.items() <= file["partitionValues"].items()
        ]
    except FileNotFoundError:  # deleted meanwhile: by a clean-up of the log, or a VACUUM
        return None
    if not parts or any(part is None for part in parts):
        return None
    return pa.concat_tables(parts)


class _State:
    """What the log tells of one version."""

    def __init__(self) -> None:
        self.protocol: _Action = {}
        self.metadata: _Action = {}
        self.files: dict[str, _Action] = {}

    def apply(self, action: _Action) -> None:
        if file := action.get("add"):
            self.files[file["path"]] = {**file, "partitionValues": dict(file["partitionValues"])}
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
        for action in pq.ParquetFile(checkpoint_file(folder, checkpoint)).read(_READ).to_pylist():
            state.apply(action)
    for version in later:
        with commit_file(folder, version).open(encoding="utf-8") as lines:
            for line in lines:
                state.apply(json.loads(line))
    return state


def _is_plain(state: _State, columns: Collection[str]) -> bool:
    if state.protocol.get("minReaderVersion") != _READER_VERSION or not state.metadata:
        return False
    types = {
        field["name"]: field["type"]
        for field in json.loads(state.metadata["schemaString"])["fields"]
    }
    partitions = state.metadata["partitionColumns"]
    return set(types) == set(columns) and all(types[name] == "string" for name in partitions)


def _part(
    path: Path, values: Mapping[str, str | None], columns: Collection[str]
) -> pa.Table | None:
    """The rows of a data file with its partition's values; None if it lacks a column."""
    table = pq.ParquetFile(path).read()
    for name, value in values.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(pa.scalar(value, pa.string()), len(table)))
    return table.select(columns) if set(columns) <= set(table.column_names) else None
