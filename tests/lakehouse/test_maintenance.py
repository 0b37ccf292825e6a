"""Maintenance of real tables: fewer files, the same rows, and every version still readable."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from deltalake import DeltaTable

from bronze.contracts import KLINES
from bronze.tasks import ingest_archive
from gold.contracts import ASSET_METRICS
from gold.tasks import asset_metrics
from lakehouse.contracts import Column, TableContract
from lakehouse.errors import SettingsError, TableError
from lakehouse.increments import untouched
from lakehouse.maintenance import maintain_tables
from lakehouse.runs import TASK_RUNS
from lakehouse.settings import Settings, load_settings
from lakehouse.table_sql import retention_statements
from lakehouse.tables import Lake
from lakehouse.tasks import Task, TaskContext, TaskOutcome
from silver.contracts import CANDLES, TABLES
from silver.tasks import clean_candles
from tests.conftest import ROOT, ContextFactory
from tests.pipelines import changed_settings, do, lake_of, run
from tests.support import as_csv, month_of_candles, put_file, rows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NUMBERS = TableContract(
    "gold",
    "numbers",
    "Numbers",
    (Column("n", "INT", "One"), Column("part", "STRING", "Its part")),
    ("n",),
    ("part",),
)
RETENTION = ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration")
YEAR = dict.fromkeys(RETENTION, "interval 365 days")
DAY_SECONDS = 86_400


def write(context: TaskContext) -> TaskOutcome:
    """Three commits of one file each, two of them into the same part."""
    for n, part in ((1, "a"), (2, "a"), (3, "b")):
        context.lake.append(NUMBERS, context.lake.frame(NUMBERS, [{"n": n, "part": part}]))
    return TaskOutcome("written")


def retention(settings: Settings) -> dict[str, str]:
    given = DeltaTable(f"{settings.warehouse}/gold/numbers").metadata().configuration
    return {key: given[key] for key in RETENTION}


def orphan(settings: Settings, days: int) -> Path:
    """A file that a killed run may have left, so many days ago."""
    path = Path(settings.warehouse, "gold", "numbers", "part=a", f"part-{days}.parquet")
    path.write_bytes(b"rows")
    old = time.time() - days * DAY_SECONDS
    os.utime(path, (old, old))
    return path


def test_files_become_few_and_no_row_and_no_version_is_lost(
    spark: SparkSession, lake: Lake, settings: Settings, make_context: ContextFactory
) -> None:
    task = Task("write", "W.", write)
    run(spark, settings, "run-1", task)
    before = rows_of(lake, NUMBERS)
    given = ", ".join(f"'{key}' = 'interval 1 week'" for key in RETENTION)  # of an older release
    spark.sql(f"ALTER TABLE {lake.name(NUMBERS)} SET TBLPROPERTIES ({given})")
    old, young = orphan(settings, 400), orphan(settings, 300)

    done = run(spark, settings, "run-2", maintain_tables)["maintain_tables"]

    assert done.status == "succeeded"
    assert done.figures["gold.numbers"].startswith("3 files, ")
    assert " -> 2 files, " in done.figures["gold.numbers"]
    assert done.message.startswith("2 tables: 4 files, ")
    assert done.written_versions == {"gold.numbers": lake.version(NUMBERS)}
    assert len(DeltaTable(f"{settings.warehouse}/gold/numbers").file_uris()) == 2
    assert rows_of(lake, NUMBERS) == before
    assert [lake.read_own(NUMBERS, n).count() for n in range(5)] == [0, 1, 2, 3, 3]
    assert retention(settings) == YEAR
    assert (old.exists(), young.exists()) == (False, True)

    # Its tables stand as the task left them, until somebody writes rows.
    context = make_context("write", run_id="run-3")
    everything = "true"
    assert untouched(context, everything, [NUMBERS])
    assert not lake.changed_since(NUMBERS, 3)
    assert lake.changed_since(NUMBERS, 2)
    lake.append(NUMBERS, lake.frame(NUMBERS, [{"n": 4, "part": "a"}]))  # and was killed
    assert not untouched(context, everything, [NUMBERS])
    # A setting may shorten the year.
    wanted = changed_settings(settings, maintenance={"retention_days": 30})
    outcome = do(spark, wanted, maintain_tables, "run-4")
    assert not outcome.unchanged
    assert retention(settings) == dict.fromkeys(RETENTION, "interval 30 days")
    assert not young.exists()
    assert not untouched(context, everything, [NUMBERS])

    # A second time there is nothing to do.
    version = lake.version(NUMBERS)
    outcome = do(spark, wanted, maintain_tables, "run-5")
    assert outcome.unchanged
    assert lake.version(NUMBERS) == version
    assert "->" not in outcome.message


@pytest.mark.parametrize(
    ("given", "days", "expected"),
    [
        ("interval 365 days", None, None),
        ("interval 730 days", None, None),  # a table's own wish for more is kept
        ("interval 53 weeks", None, None),
        ("interval 52 weeks 24 hours", None, None),
        ("interval 52 weeks 23 hours", None, 365),
        ("interval 1 week", None, 365),
        ("INTERVAL 800 DAYS", None, None),
        ("interval '800' day", None, None),
        ("interval 600000 minutes", None, None),
        ("interval 5000 seconds", None, 365),
        (None, None, 365),  # Delta's own, which is a week
        ("interval 365 days", 30, 30),
        ("interval 1 week", 30, 30),
        ("interval 30 days", 30, None),
        ("interval 365 days", 730, 730),
    ],
)
def test_retention_is_never_less_than_a_year_unless_a_setting_says_so(
    given: str | None, days: int | None, expected: int | None
) -> None:
    properties = {} if given is None else dict.fromkeys(RETENTION, given)
    statements = retention_statements("t", {**properties, "delta.other": "1"}, days)
    values = ", ".join(f"'{key}' = 'interval {expected} days'" for key in RETENTION)
    assert statements == ([f"ALTER TABLE t SET TBLPROPERTIES ({values})"] if expected else [])
    half = retention_statements("t", {RETENTION[0]: "interval 365 days"}, None)
    assert half == [f"ALTER TABLE t SET TBLPROPERTIES ('{RETENTION[1]}' = 'interval 365 days')"]


def test_a_retention_that_cannot_be_read_is_not_shortened() -> None:
    with pytest.raises(TableError, match=r"t: delta\..* 'CALENDAR': set it to"):
        retention_statements("t", dict.fromkeys(RETENTION, "CALENDAR"), None)


def test_a_retention_that_running_queries_would_not_survive_is_refused() -> None:
    conf = ROOT / "conf" / "sample.yaml"
    assert load_settings(conf).maintenance.retention_days is None
    with pytest.raises(SettingsError, match=r"maintenance\.retention_days: .* 7 \(got 6\)"):
        load_settings(conf, ["maintenance.retention_days=6"])


def test_a_warehouse_without_tables_is_named(spark: SparkSession, settings: Settings) -> None:
    with pytest.raises(TableError, match=f"no tables in {settings.warehouse}: .*medallion"):
        do(spark, settings, maintain_tables, "run-1")


def test_a_run_after_maintenance_finds_nothing_changed(
    spark: SparkSession, base_settings: Settings, tmp_path: Path
) -> None:
    root = tmp_path / "archive"
    settings = lake_of(base_settings, tmp_path, root, "12h")
    tasks = (ingest_archive, clean_candles, asset_metrics)
    for symbol in ("AUSDT", "BUSDT"):  # a file of each in the same folder of klines and candles
        put_file(root, symbol, "2025-01", as_csv(month_of_candles("2025-01", 12)), interval="12h")
        put_file(root, symbol, "2025-02", as_csv(month_of_candles("2025-02", 12)), interval="12h")
        run(spark, settings, symbol, *tasks)
    lake = Lake(spark, settings.warehouse)
    contracts = (KLINES, CANDLES, ASSET_METRICS)
    before = {table.full_name: rows_of(lake, table) for table in contracts}

    maintained = run(spark, settings, "upkeep", maintain_tables)["maintain_tables"]
    versions = {table.full_name: lake.version(table) for table in TABLES}
    assert CANDLES.full_name in maintained.written_versions  # or this would show nothing
    done = run(spark, settings, "again", *tasks)

    assert done["ingest_archive"].status == done["clean_candles"].status == "unchanged"
    assert {table.full_name: lake.version(table) for table in TABLES} == versions
    assert {table.full_name: rows_of(lake, table) for table in contracts} == before
    assert lake.version(TASK_RUNS) > 0
