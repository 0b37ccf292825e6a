"""Table contracts: what a Delta table holds, frozen in code and created from it.

A contract names the columns with their types, nullability and comments, the key, the partition
columns and the CHECK constraints. Delta itself then refuses a bad row, and `DESCRIBE` explains
the table. Spark is not imported here: a contract is data.
"""

from dataclasses import dataclass, field

LAYERS = ("bronze", "silver", "gold", "ml", "ops")


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: Column name.
        type: Spark SQL type under its own name (`INT`, not `INTEGER`; `MAP<STRING, BIGINT>`).
        comment: What it holds, with units and NULL rule; `DESCRIBE` shows it.
        nullable: False makes Delta refuse a NULL.
    """

    name: str
    type: str
    comment: str
    nullable: bool = True


@dataclass(frozen=True)
class TableContract:
    """What a table holds.

    Attributes:
        layer: One of `LAYERS`, the schema of the table.
        name: Name within the layer.
        comment: One line that `DESCRIBE` shows for the table.
        columns: All columns, in order.
        key: Columns that identify a row; unique by construction of the writer.
        partitioned_by: Columns that name the table's folders.
        checks: Constraint name -> SQL condition that every row must meet.
        skip_by: Columns whose least and greatest value each data file tells, so that a reader
            can skip it; None for all columns.
        added: Nullable columns that a table of an older release lacks; it gets them, and the
            checks of today, when it is opened.
    """

    layer: str
    name: str
    comment: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partitioned_by: tuple[str, ...] = ()
    checks: dict[str, str] = field(default_factory=dict)
    skip_by: tuple[str, ...] | None = None
    added: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = self.column_names
        optional = {column.name for column in self.columns if column.nullable}
        unknown = {*self.key, *self.partitioned_by, *(self.skip_by or ())} - set(names)
        unknown |= set(self.added) - optional
        if self.layer not in LAYERS or unknown or len(set(names)) != len(names):
            raise ValueError(f"contract {self.full_name} is inconsistent: {sorted(unknown)}")

    @property
    def full_name(self) -> str:
        """`<layer>.<name>`, as the table is called in SQL."""
        return f"{self.layer}.{self.name}"

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def column_types(self) -> dict[str, str]:
        """Column -> its type, as Spark's `simpleString` spells it."""
        return {column.name: "".join(column.type.lower().split()) for column in self.columns}
