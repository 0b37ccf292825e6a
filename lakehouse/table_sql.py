"""SQL texts of how a table is made and kept, from its contract. No Spark is needed here."""

import re
from collections.abc import Iterable, Mapping

from lakehouse.contracts import Column, TableContract
from lakehouse.errors import TableError
from lakehouse.sql import literal

RETENTION_DAYS = 365
"""Days for which a table's versions can be read, unless a setting says otherwise."""

_RETENTION = ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration")
_DURATION = re.compile(r"'?(\d+)'?\s+(second|minute|hour|day|week)s?", re.IGNORECASE)
_HOURS = {"second": 1 / 3600, "minute": 1 / 60, "hour": 1.0, "day": 24.0, "week": 168.0}

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

    Raises:
        TableError: A property cannot be read, so that it is not known what would be deleted.
    """
    wanted = days or RETENTION_DAYS
    kept = {key: _hours(name, key, given[key]) if key in given else 0.0 for key in _RETENTION}
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


def _hours(name: str, key: str, duration: str) -> float:
    """Hours of `interval 365 days` and the like."""
    parts = _DURATION.findall(duration)
    if not parts:
        raise TableError(
            f"{name}: {key} is {duration!r}: set it to 'interval {RETENTION_DAYS} days'"
        )
    return sum(int(number) * _HOURS[unit.lower()] for number, unit in parts)
