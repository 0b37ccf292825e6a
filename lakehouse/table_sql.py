"""SQL texts of how a table is made and kept, from its contract. No Spark is needed here."""

import re
from collections.abc import Iterable, Mapping

from lakehouse.contracts import Column, TableContract
from lakehouse.sql import literal

RETENTION_DAYS = 365
"""Days for which a table's versions can be read, unless a setting says otherwise."""

_RETENTION = ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration")
_DURATION = re.compile(r"(\d+) (hour|day|week)s?")
_HOURS = {"hour": 1, "day": 24, "week": 168}

# What keeps a table readable by other engines, its commits small, and its versions for a year: a
# result is had again from those that it was made of. Delta reads no version older than the files'
# retention, which is a week unless it is told otherwise.
_PROPERTIES = {
    "delta.enableDeletionVectors": "false",
    "delta.dataSkippingNumIndexedCols": "32",
    **dict.fromkeys(_RETENTION, f"interval {RETENTION_DAYS} days"),
}


def create_statement(contract: TableContract, name: str) -> str:
    """Make a table unless it is there."""
    given = _PROPERTIES | {f"delta.constraints.{key}": sql for key, sql in contract.checks.items()}
    if contract.skip_by:
        given["delta.dataSkippingStatsColumns"] = ",".join(contract.skip_by)
    elif contract.skip_by is not None:
        given["delta.dataSkippingNumIndexedCols"] = "0"
    partitions = ", ".join(contract.partitioned_by)
    return (
        f"CREATE TABLE IF NOT EXISTS {name} ({_definitions(contract.columns)}) USING delta"
        + (f" PARTITIONED BY ({partitions})" if partitions else "")
        + f" COMMENT {literal(contract.comment)} TBLPROPERTIES ({_pairs(given)})"
    )


def renewal_statements(
    contract: TableContract, name: str, there: Iterable[str], given: Mapping[str, str]
) -> list[str]:
    """Bring a table of an older release up to its contract, with the checks of today.

    None when it is so already, or lacks more than the columns that were added. Any of them may be
    the last that ran before a run was killed.

    Args:
        contract: The table.
        name: What SQL calls it.
        there: Columns that it has.
        given: Its properties.
    """
    names = set(there)
    lacking = [column for column in contract.columns if column.name not in names]
    if any(column.name not in contract.added for column in lacking):
        return []
    changes = [f"ADD COLUMNS ({_definitions(lacking)})"] if lacking else []
    for check, sql in contract.checks.items():
        if _words(given.get(f"delta.constraints.{check}", "")) != _words(sql):
            changes.append(f"DROP CONSTRAINT IF EXISTS {check}")
            changes.append(f"ADD CONSTRAINT {check} CHECK ({sql})")
    return [f"ALTER TABLE {name} {change}" for change in changes]


def retention_statements(name: str, given: Mapping[str, str], days: int | None) -> list[str]:
    """Set for how long a table's versions can be read; none when it is as wanted.

    Args:
        name: What SQL calls the table.
        given: Its properties.
        days: So long, also where it was longer; None is what a new table has, where it is less.
    """
    wanted = days or RETENTION_DAYS
    kept = {key: _hours(given.get(key, "")) for key in _RETENTION}
    differing = {
        key: f"interval {wanted} days"
        for key, hours in kept.items()
        if hours < 24 * wanted or (days is not None and hours > 24 * wanted)
    }
    return [f"ALTER TABLE {name} SET TBLPROPERTIES ({_pairs(differing)})"] if differing else []


def schema_of(contract: TableContract) -> str:
    """Names and types of the columns, as `createDataFrame` takes them."""
    return ", ".join(f"`{column.name}` {column.type}" for column in contract.columns)


def _definitions(columns: Iterable[Column]) -> str:
    return ", ".join(
        f"`{column.name}` {column.type}{'' if column.nullable else ' NOT NULL'} "
        f"COMMENT {literal(column.comment)}"
        for column in columns
    )


def _pairs(properties: Mapping[str, str]) -> str:
    return ", ".join(f"{literal(key)} = {literal(value)}" for key, value in properties.items())


def _words(sql: str) -> str:
    """A condition without its blanks, which Delta sets anew."""
    return "".join(sql.split())


def _hours(duration: str) -> int:
    """Hours of `interval 365 days` and the like; 0 for what is not set or cannot be read."""
    return sum(int(number) * _HOURS[unit] for number, unit in _DURATION.findall(duration))
