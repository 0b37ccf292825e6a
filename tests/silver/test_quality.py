"""The quality gate: what it tolerates, and that it names what it does not."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from bronze.contracts import ARCHIVE_FILES, KLINES
from lakehouse.errors import QualityError
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from silver.contracts import REJECTED_CANDLES
from silver.tasks import quality_gate
from tests.pipelines import changed_settings, do, interpreted

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Row = dict[str, Any]

FAILED = [
    ("AUSDT-4h-2025-01.zip", "corrupt_zip"),
    ("BUSDT-4h-2025-01.zip", "checksum_mismatch"),
    ("CUSDT-4h-2025-01.zip", "missing_checksum"),
    ("DUSDT-4h-2025-01.zip", "unexpected_content"),
    ("EUSDT-4h-2025-01.zip", "download_failed"),
    ("FUSDT-4h-2025-01.zip", "corrupt_zip"),
    ("GUSDT-4h-2025-01.zip", "corrupt_zip"),
]


def file_row(name: str, status: str, rows: int = 0, rejected: int = 0, **told: str) -> Row:
    symbol, _, period = name.removesuffix(".zip").split("-", maxsplit=2)
    return {
        "source_file": name,
        "market": "um",
        "interval": "4h",
        "symbol": symbol,
        "month": period[:7],
        "period": period,
        "cadence": "monthly" if len(period) == 7 else "daily",
        "size_bytes": None,
        "sha256": None,
        "published_sha256": None,
        "status": status,
        "error": None if status == "ingested" else "why",
        "rows": rows,
        "rejected_lines": rejected,
        "has_header": None,
        "time_unit": None,
        "superseded_by": None,
        "former": None,
        "run_id": "run",
        "ingested_at": datetime(2026, 1, 1, tzinfo=UTC),
        **told,
    }


def refused_row(name: str, line: int, *rules: str) -> Row:
    key = {"source_file": name, "market": "um", "interval": "4h", "symbol": name.partition("-")[0]}
    values = dict.fromkeys(KLINES.column_names)
    return {**values, **key, "line": line, "month": name[-11:-4], "rules": list(rules)}


@pytest.fixture(scope="module")
def refused(
    spark: "SparkSession", base_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Of the files that the settings ask for 7 failed; 5 + 3 of their 1,000 rows were refused."""
    warehouse = str(tmp_path_factory.mktemp("quality") / "lake")
    lake = Lake(spark, warehouse)
    ledger = [
        *(file_row(name, status) for name, status in FAILED),
        file_row("YUSDT-4h-2025-01.zip", "ingested", 895, 2),
        file_row("ZUSDT-4h-2025-01.zip", "ingested", 100, 3),
        # Not asked for: a month before the first, a day whose month came, another market.
        file_row("ZUSDT-4h-2024-09.zip", "ingested", 100, 50),
        file_row("YUSDT-4h-2024-09.zip", "corrupt_zip"),
        file_row("ZUSDT-4h-2025-01-03.zip", "corrupt_zip"),
        file_row("SUSDT-4h-2025-01.zip", "missing_checksum", market="spot"),
    ]
    lake.append(ARCHIVE_FILES, lake.frame(ARCHIVE_FILES, ledger))
    rows = [
        refused_row("ZUSDT-4h-2025-01.zip", 1, "high_low"),
        refused_row("ZUSDT-4h-2025-01.zip", 2, "high_low", "close_time"),
        refused_row("YUSDT-4h-2025-01.zip", 3, "close_time"),
        refused_row("YUSDT-4h-2025-01.zip", 4, "duplicate"),  # its bar is a candle
        refused_row("ZUSDT-4h-2024-09.zip", 5, "high_low"),
    ]
    lake.append(REJECTED_CANDLES, lake.frame(REJECTED_CANDLES, rows))
    return base_settings.model_copy(update={"warehouse": warehouse})


def gate(spark: "SparkSession", settings: Settings, files: int, share: float) -> str:
    limits = {"max_failed_files": files, "max_rejected_share": share}
    with interpreted(spark):
        tolerant = changed_settings(settings, quality=limits)
        return do(spark, tolerant, quality_gate, "gate").message


def test_what_the_settings_tolerate_passes(spark: "SparkSession", refused: Settings) -> None:
    passed = "passed: 7 failed files, 8 rejected rows (0.800%)"
    assert gate(spark, refused, files=7, share=0.008) == passed


def test_one_failed_file_too_many_fails_and_names_them(
    spark: "SparkSession", refused: Settings
) -> None:
    with pytest.raises(QualityError) as failure:
        gate(spark, refused, files=6, share=0.01)
    named = ", ".join(f"{name} ({status})" for name, status in FAILED[:5])
    assert str(failure.value) == (
        f"7 files failed, quality.max_failed_files is 6: {named} and 2 more; see "
        "bronze.archive_files, mend the files and begin a new run: a resumed one does not read "
        "them again"
    )


def test_too_large_a_share_of_refused_rows_fails(spark: "SparkSession", refused: Settings) -> None:
    with pytest.raises(QualityError) as failure:
        gate(spark, refused, files=7, share=0.007)
    assert str(failure.value) == (
        "0.800% of the rows were rejected, quality.max_rejected_share is 0.700%: see "
        "bronze.rejected_lines and silver.rejected_candles"
    )


def test_both_are_told_at_once(spark: "SparkSession", refused: Settings) -> None:
    with pytest.raises(QualityError, match=r"7 files failed.*; 0.800% of the rows"):
        gate(spark, refused, files=0, share=0.0)


def test_only_files_that_the_settings_ask_for_are_judged(
    spark: "SparkSession", refused: Settings
) -> None:
    spot = changed_settings(refused, archive={"market": "spot"})
    with pytest.raises(QualityError, match=r"^1 files failed.*: SUSDT.*\(missing_checksum\); see"):
        gate(spark, spot, files=0, share=0.0)
    one = changed_settings(refused, universe={"mode": "symbols", "symbols": ("YUSDT",)})
    assert gate(spark, one, 0, 0.01) == "passed: 0 failed files, 3 rejected rows (0.334%)"
    known = changed_settings(refused, assets={"top100": ("B", "Y")}, universe={"mode": "top100"})
    assert gate(spark, known, 1, 0.01) == "passed: 1 failed files, 3 rejected rows (0.334%)"
    hourly = changed_settings(refused, archive={"interval": "1h"})
    assert gate(spark, hourly, 0, 0.0) == "passed: 0 failed files, 0 rejected rows (0.000%)"
