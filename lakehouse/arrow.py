"""Arrow tables as DataFrames, and Arrow's types as Spark names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


ARROW_TYPES = {
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "string": pa.string(),
    "timestamp": pa.timestamp("us", "UTC"),
}
"""Spark's name of a plain type -> what Arrow has for it."""

_SQL_NAMES = {arrow: name for name, arrow in ARROW_TYPES.items()}


def sql_type(type_: pa.DataType) -> str:
    """A type as Spark's `simpleString` spells it.

    One that is not plain, nor a list or structure of plain ones, keeps Arrow's name for it.
    """
    if pa.types.is_list(type_):
        return f"array<{sql_type(type_.value_type)}>"
    if pa.types.is_struct(type_):
        return f"struct<{','.join(f'{each.name}:{sql_type(each.type)}' for each in type_)}>"
    return _SQL_NAMES.get(type_, str(type_))


def frame_of(spark: SparkSession, table: pa.Table) -> DataFrame:
    """The rows of a table, of which there may be none.

    A client of Spark Connect does not look at the schema of a table without rows, and refuses it.
    """
    if table.num_rows:
        return spark.createDataFrame(table)
    schema = pa.schema([field.with_nullable(True) for field in table.schema])
    nothing = pa.table([pa.nulls(1, field.type) for field in schema], schema=schema)
    return spark.createDataFrame(nothing).where("false")
