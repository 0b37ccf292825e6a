"""Arrow tables as DataFrames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def frame_of(spark: SparkSession, table: pa.Table) -> DataFrame:
    """The rows of a table, of which there may be none.

    A client of Spark Connect does not look at the schema of a table without rows, and refuses it.
    """
    if table.num_rows:
        return spark.createDataFrame(table)
    schema = pa.schema([field.with_nullable(True) for field in table.schema])
    nothing = pa.table([pa.nulls(1, field.type) for field in schema], schema=schema)
    return spark.createDataFrame(nothing).where("false")
