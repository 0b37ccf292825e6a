import sqlite3
from typing import Any

import pytest

from bronze.archive import parse_key
from bronze.contracts import ARCHIVE_FILES, KLINES, REJECTED_LINES
from bronze.lines import KLINES_SCHEMA, REJECTED_SCHEMA
from lakehouse.contracts import TableContract

CONTRACTS = (ARCHIVE_FILES, KLINES, REJECTED_LINES)
IDENTITY = ["source_file", "market", "interval", "symbol", "month"]
INGESTED: dict[str, Any] = {
    "market": "um",
    "cadence": "monthly",
    "status": "ingested",
    "error": None,
    "rows": 5,
    "rejected_lines": 0,
    "time_unit": "ms",
    "superseded_by": None,
}
REFUSED = INGESTED | {"status": "corrupt_zip", "error": "why", "rows": 0, "time_unit": None}
REPUBLISHED_BADLY = INGESTED | {"status": "corrupt_zip", "error": "why"}
SUPERSEDED = INGESTED | {"rows": 0, "superseded_by": "its month"}


def met(contract: TableContract, row: dict[str, Any]) -> dict[str, int | None]:
    """Each check's value for a row; Delta takes the row only where it is true, not NULL."""
    columns = ", ".join(f":{name} AS {name}" for name in row)
    checks = ", ".join(contract.checks.values())
    values = sqlite3.connect(":memory:").execute(f"SELECT {checks} FROM (SELECT {columns})", row)
    return dict(zip(contract.checks, values.fetchone(), strict=True))


def test_the_tables_have_the_columns_that_reading_gives() -> None:
    assert sorted(KLINES.column_names) == sorted(IDENTITY + KLINES_SCHEMA.names)
    assert sorted(REJECTED_LINES.column_names) == sorted(
        [name for name in IDENTITY if name != "month"] + REJECTED_SCHEMA.names
    )
    sql_types = {"int64": "BIGINT", "double": "DOUBLE", "string": "STRING"}
    for contract, schema in ((KLINES, KLINES_SCHEMA), (REJECTED_LINES, REJECTED_SCHEMA)):
        types = {column.name: column.type for column in contract.columns}
        assert all(types[field.name] == sql_types[str(field.type)] for field in schema)


def test_keys_and_partitions_are_never_null() -> None:
    for contract in CONTRACTS:
        nullable = {column.name for column in contract.columns if column.nullable}
        assert not nullable & {*contract.key, *contract.partitioned_by}
        assert all(column.comment for column in contract.columns)


@pytest.mark.parametrize(
    "row", [INGESTED, REFUSED, REFUSED | {"rejected_lines": 7}, REPUBLISHED_BADLY, SUPERSEDED]
)
def test_the_ledger_takes_whole_rows(row: dict[str, Any]) -> None:
    assert set(met(ARCHIVE_FILES, row).values()) == {1}


@pytest.mark.parametrize(
    ("row", "check"),
    [
        (INGESTED | {"market": "cm"}, "known_market"),
        (INGESTED | {"cadence": "weekly"}, "known_cadence"),
        (REFUSED | {"status": "failed"}, "known_status"),
        (INGESTED | {"time_unit": "ns"}, "known_time_unit"),
        (INGESTED | {"error": "why"}, "error_unless_ingested"),
        (REFUSED | {"error": None}, "error_unless_ingested"),
        (INGESTED | {"rows": 0}, "rows_when_ingested"),
        (INGESTED | {"rejected_lines": -1}, "rejected_lines_counted"),
    ],
)
def test_the_ledger_refuses_a_row(row: dict[str, Any], check: str) -> None:
    assert met(ARCHIVE_FILES, row)[check] == 0


@pytest.mark.parametrize("contract", [KLINES, REJECTED_LINES])
def test_lines_are_counted_from_one(contract: TableContract) -> None:
    assert set(met(contract, {"market": "spot", "line": 1}).values()) == {1}
    assert met(contract, {"market": "spot", "line": 0})["line_from_one"] == 0
    assert met(contract, {"market": "", "line": 1})["known_market"] == 0


def test_a_parsed_key_fits_the_checks() -> None:
    key = parse_key("data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2020-01-01.zip")
    assert key is not None
    row = INGESTED | {"market": key.market, "cadence": key.cadence}
    assert set(met(ARCHIVE_FILES, row).values()) == {1}
