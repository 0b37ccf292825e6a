"""What a frame must be for a table to take it: the contract's columns, of the table's types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lakehouse.contracts import TableContract
from lakehouse.errors import TableError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType


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


def column_types(schema: StructType) -> dict[str, str]:
    """Column -> its type, as Spark spells it."""
    return {field.name: field.dataType.simpleString() for field in schema.fields}
