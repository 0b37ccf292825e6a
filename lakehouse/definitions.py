"""A contract as Spark and Delta take it: schema, CREATE TABLE, and frames that conform to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lakehouse.contracts import TableContract
from lakehouse.errors import TableError
from lakehouse.sql import literal

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

# What keeps a table readable by other engines, its commits small, and its versions for a year: a
# result is had again from those that it was made of. Delta reads no version older than the files'
# retention, which is a week unless it is told otherwise.
_PROPERTIES = {
    "delta.enableDeletionVectors": "false",
    "delta.dataSkippingNumIndexedCols": "32",
    "delta.logRetentionDuration": "interval 365 days",
    "delta.deletedFileRetentionDuration": "interval 365 days",
}


def conform(contract: TableContract, frame: DataFrame, types: Mapping[str, str]) -> DataFrame:
    """The contract's columns in its order; drift is an error, never merged in silence.

    Args:
        contract: The table.
        frame: Rows for it.
        types: Types of the table's columns, as `column_types` gives them.

    Raises:
        TableError: The frame has other columns, or a column of another type.
    """
    if set(frame.columns) != set(contract.column_names):
        missing = sorted(set(contract.column_names) - set(frame.columns))
        unknown = sorted(set(frame.columns) - set(contract.column_names))
        raise TableError(f"{contract.full_name}: missing columns {missing}, unknown {unknown}")
    # Delta would cast, and make 1 of 1.7.
    other = [
        f"{name} is {given} and not {types[name]}"
        for name, given in column_types(frame.schema).items()
        if given != types[name]
    ]
    if other:
        raise TableError(f"{contract.full_name}: column {', '.join(other)}")
    return frame.select(*contract.column_names)


def schema_of(contract: TableContract) -> str:
    """The contract's columns and types, as `createDataFrame` takes them."""
    return ", ".join(f"`{column.name}` {column.type}" for column in contract.columns)


def column_types(schema: StructType) -> dict[str, str]:
    """Column -> its type, as Spark spells it."""
    return {field.name: field.dataType.simpleString() for field in schema.fields}


def create_statement(contract: TableContract, name: str) -> str:
    """The SQL that makes the table, with its comments, constraints and properties."""
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
