from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pytest
from pyspark.sql.pandas.types import from_arrow_schema

from lakehouse.arrow import arrow_schema, arrow_type, as_arrow
from lakehouse.conformity import column_types, contract_types
from lakehouse.contracts import Column, TableContract
from tests.lakehouse.test_contracts import PRODUCT

NOON = datetime(2025, 1, 31, 12, tzinfo=UTC)
NUMBERS = TableContract(
    "gold",
    "numbers",
    "Numbers",
    (
        Column("at", "TIMESTAMP", "When"),
        Column("n", "DOUBLE", "One"),
        Column("by_name", "MAP<STRING, BIGINT>", "Some"),
    ),
    ("n",),
)


@pytest.mark.parametrize("contract", PRODUCT, ids=lambda contract: contract.full_name)
def test_spark_takes_a_contracts_columns_for_what_they_are(contract: TableContract) -> None:
    told = column_types(from_arrow_schema(arrow_schema(contract)))
    assert told == contract_types(contract)


def test_rows_keep_their_values() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=9)))
    rows = [
        {"n": float("nan"), "by_name": {"a": 1, "b": None}, "at": elsewhere, "more": 1},
        {"n": None, "by_name": None, "at": None},
        {"n": 1, "by_name": {}, "at": NOON},
    ]
    made = as_arrow(NUMBERS, rows)
    assert made["at"].to_pylist() == [NOON, None, NOON]
    assert made["by_name"].to_pylist() == [[("a", 1), ("b", None)], None, []]
    assert str(made["n"].to_pylist()) == "[nan, None, 1.0]"
    assert as_arrow(NUMBERS, []).schema == made.schema


def test_what_does_not_fit_is_an_error() -> None:
    with pytest.raises(KeyError, match="by_name"):
        as_arrow(NUMBERS, [{"n": 1.0, "at": NOON}])
    with pytest.raises(pa.ArrowInvalid):
        as_arrow(NUMBERS, [{"n": "1.5", "at": NOON, "by_name": None}])
    with pytest.raises(ValueError, match="DECIMAL"):
        arrow_type("ARRAY<DECIMAL(9, 2)>")
