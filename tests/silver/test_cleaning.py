"""Every rule by a row that breaks it and no other; duplicates; nothing lost, NULLs included."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F

from bronze.contracts import KLINES
from lakehouse.errors import SettingsError
from lakehouse.settings import Settings
from silver.cleaning import accepted, file_facts, rejected, resolve_duplicates, tag
from silver.rules import RULES, broken_rules

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

START = 1_735_689_600_000  # 2025-01-01 in milliseconds
STEP = 4 * 3_600_000
GOOD: dict[str, Any] = {
    "source_file": "monthly", "line": 1, "market": "um", "interval": "4h", "symbol": "AUSDT",
    "month": "2025-01", "open_time": START, "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0,
    "volume": 2.0, "close_time": START + STEP - 1, "quote_volume": 21.0, "trades": 3,
    "taker_buy_base": 1.0, "taker_buy_quote": 10.0,
}  # fmt: skip
NAN = float("nan")
BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("open_time_in_period", {"open_time": START - STEP, "close_time": START - 1}),
    ("open_time_on_grid", {"open_time": START + 1000, "close_time": START + STEP + 999}),
    ("close_time", {"close_time": START + STEP}),
    ("prices_finite_positive", {"low": 0.0}),
    ("prices_finite_positive", {"high": float("inf")}),
    ("high_low", {"high": 10.5}),
    ("high_low", {"low": 10.5}),
    ("volumes_not_negative", {"taker_buy_quote": -1.0}),
    ("trades_match_volume", {"trades": 0}),
    ("taker_within_total", {"taker_buy_base": 2.5}),
    ("quote_volume_in_range", {"quote_volume": 30.0}),
]


def ledger(spark: "SparkSession", *files: tuple[str, str, str, int]) -> "DataFrame":
    rows = [
        ("ms", period, cadence, name, datetime(2026, 1, day, tzinfo=UTC))
        for name, cadence, period, day in files
    ]
    return file_facts(
        spark.createDataFrame(
            rows,
            "time_unit string, period string, cadence string, source_file string, "
            "ingested_at timestamp",
        )
    )


def tagged(spark: "SparkSession", settings: Settings, rows: list[dict[str, Any]]) -> "DataFrame":
    schema = ", ".join(f"{column.name} {column.type}" for column in KLINES.columns)
    values = [tuple(row[name] for name in KLINES.column_names) for row in rows]
    files = ledger(
        spark,
        ("monthly", "monthly", "2025-01", 1),
        ("daily", "daily", "2025-01-01", 2),
        ("daily later", "daily", "2025-01-01", 3),
    )
    return tag(spark.createDataFrame(values, schema), files, "4h", settings.silver)


def test_each_rule_alone_names_itself(spark: "SparkSession", settings: Settings) -> None:
    rows = [{**GOOD, **changed, "line": i} for i, (_, changed) in enumerate(BROKEN)]
    found = tagged(spark, settings, rows).orderBy("line").select("rules").collect()
    assert [row[0] for row in found] == [[rule] for rule, _ in BROKEN]
    assert {rule for rule, _ in BROKEN} == set(RULES)


def test_a_good_row_breaks_none(spark: "SparkSession", settings: Settings) -> None:
    empty_bar = {
        **GOOD, "line": 2, "open": 10.0, "high": 10.0, "low": 10.0, "close": 10.0, "volume": 0.0,
        "quote_volume": 0.0, "trades": 0, "taker_buy_base": 0.0, "taker_buy_quote": 0.0,
    }  # fmt: skip
    found = tagged(spark, settings, [GOOD, empty_bar]).select("rules", "warnings").collect()
    assert [tuple(row) for row in found] == [([], []), ([], [])]


@pytest.mark.parametrize("value", [None, NAN])
def test_null_and_nan_are_rejected_whatever_the_column(
    spark: "SparkSession", settings: Settings, value: float | None
) -> None:
    names = [c.name for c in KLINES.columns if c.type in ("DOUBLE", "BIGINT") and c.name != "line"]
    if value is not None:
        names = [c.name for c in KLINES.columns if c.type == "DOUBLE"]
    rows = [{**GOOD, name: value, "line": i} for i, name in enumerate(names)]
    resolved = resolve_duplicates(tagged(spark, settings, rows))
    assert accepted(resolved).count() == 0
    assert rejected(resolved).count() == len(rows)


def test_an_open_time_that_overflows_is_rejected(spark: "SparkSession", settings: Settings) -> None:
    row = {**GOOD, "open_time": 2**62}
    assert "open_time_on_grid" in tagged(spark, settings, [row]).collect()[0]["rules"]


def test_warn_keeps_the_row(spark: "SparkSession", settings: Settings) -> None:
    severity = {**settings.silver.severity, "trades_match_volume": "warn"}
    silver = settings.silver.model_copy(update={"severity": severity})
    row = {**GOOD, "trades": 0}
    found = tagged(spark, settings.model_copy(update={"silver": silver}), [row]).collect()[0]
    assert (found["rules"], found["warnings"]) == ([], ["trades_match_volume"])


def test_conflicts_prefer_monthly_then_newest_then_first_line(
    spark: "SparkSession", settings: Settings
) -> None:
    def at(bar: int, source: str, line: int, close: float) -> dict[str, Any]:
        times = {"open_time": START + bar * STEP, "close_time": START + (bar + 1) * STEP - 1}
        return {**GOOD, **times, "source_file": source, "line": line, "close": close}

    rows = [
        at(0, "monthly", 1, 10.1), at(0, "daily", 1, 10.2), at(0, "daily later", 1, 10.3),
        at(1, "daily", 2, 10.4), at(1, "daily later", 2, 10.5),
        at(2, "monthly", 3, 10.6), at(2, "monthly", 4, 10.6),
        at(3, "daily", 5, 10.7), at(3, "monthly", 5, 99.0),  # the monthly row breaks a rule
    ]  # fmt: skip
    resolved = resolve_duplicates(tagged(spark, settings, rows))
    kept = accepted(resolved).select("source_file", "line").collect()
    assert sorted(tuple(row) for row in kept) == [
        ("daily", 5),
        ("daily later", 2),
        ("monthly", 1),
        ("monthly", 3),
    ]
    lost = rejected(resolved).select("source_file", "line", F.explode("rules")).collect()
    assert sorted(tuple(row) for row in lost) == [
        ("daily", 1, "duplicate"),
        ("daily", 2, "duplicate"),
        ("daily later", 1, "duplicate"),
        ("monthly", 4, "duplicate"),
        ("monthly", 5, "high_low"),
    ]


def test_severity_must_name_each_rule(settings: Settings) -> None:
    fewer = {k: v for k, v in settings.silver.severity.items() if k != "high_low"}
    for severity, named in ((fewer, "high_low"), ({**fewer, "high_low": "warn"}, "only be reject")):
        silver = settings.silver.model_copy(update={"severity": severity})
        with pytest.raises(SettingsError, match=named):
            broken_rules(silver, "4h", "reject")
