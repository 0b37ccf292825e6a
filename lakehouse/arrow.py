"""A contract's columns as Arrow has them: rows of the driver go to Spark so, without a task."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from lakehouse.contracts import TableContract

_TYPES = {
    "STRING": pa.string(),
    "BIGINT": pa.int64(),
    "INT": pa.int32(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
}


def arrow_schema(contract: TableContract) -> pa.Schema:
    """The contract's columns, in order; each may be NULL, since it is Delta that refuses one."""
    return pa.schema([(column.name, arrow_type(column.type)) for column in contract.columns])


def as_arrow(contract: TableContract, rows: Sequence[Mapping[str, object]]) -> pa.Table:
    """Rows with the contract's columns and types.

    Raises:
        KeyError: A row lacks a column.
        pyarrow.ArrowInvalid: A value is not of its column's type.
    """
    schema = arrow_schema(contract)
    columns = [pa.array([row[each.name] for row in rows], each.type) for each in schema]
    return pa.table(columns, schema=schema)


def arrow_type(sql: str) -> pa.DataType:
    """The type of a Spark SQL type's name; a struct within it holds no further one.

    Raises:
        ValueError: No contract has such a type.
    """
    text = sql.strip()
    if text in _TYPES:
        return _TYPES[text]
    kind, _, rest = text.partition("<")
    inner = rest.removesuffix(">")
    match kind:
        case "ARRAY":
            return pa.list_(arrow_type(inner))
        case "MAP":
            return pa.map_(*map(arrow_type, inner.split(",", 1)))
        case "STRUCT":
            named = (field.split(":") for field in inner.split(","))
            return pa.struct([(name.strip(), arrow_type(type_)) for name, type_ in named])
        case _:
            raise ValueError(f"{sql} is no type of a contract's column")
