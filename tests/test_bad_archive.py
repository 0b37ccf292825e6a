"""An archive with all that can be wrong with one, through the tasks up to the quality gate."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bronze.contracts import ARCHIVE_FILES, REJECTED_LINES
from bronze.tasks import ingest_archive
from gold.contracts import ASSET_METRICS
from gold.tasks import asset_metrics
from lakehouse.errors import QualityError
from lakehouse.runs import TASK_RUNS, TaskRun
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from silver.contracts import CANDLES, LISTINGS, REJECTED_CANDLES
from silver.tasks import clean_candles, quality_gate
from tests.pipelines import changed_settings, interpreted, lake_of, rows, run
from tests.support import as_csv, candle, month_of_candles, put_file

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MONTH = "2025-01"
BARS = 62
FAILED = {
    "HTMLUSDT": "unexpected_content",
    "MISPRINTUSDT": "checksum_mismatch",
    "TRUNCATEDUSDT": "corrupt_zip",
    "UNSIGNEDUSDT": "missing_checksum",
}


def month(**changes: list[object]) -> list[list[object]]:
    """A month of good candles, but for the lines that are given, by `line_<number>`."""
    lines = month_of_candles(MONTH, 12)
    for name, line in changes.items():
        lines[int(name.removeprefix("line_")) - 1] = line
    return lines


def time_of(line: int) -> datetime:
    return datetime(2025, 1, 1, tzinfo=UTC) + (line - 1) * timedelta(hours=12)


def publish(root: Path) -> None:
    def put(symbol: str, lines: list[list[object]], **how: Any) -> Path:
        return root / put_file(root, symbol, MONTH, as_csv(lines), interval="12h", **how)

    put("GOODUSDT", month())
    put("MISPRINTUSDT", month(), checksum="f" * 64)
    put("UNSIGNEDUSDT", month(), checksum=None)
    whole = put("TRUNCATEDUSDT", month()).read_bytes()
    put_file(root, "TRUNCATEDUSDT", MONTH, whole[:-40], interval="12h", zipped=False)
    html = b"<html><body>Service Unavailable</body></html>"
    put_file(root, "HTMLUSDT", MONTH, html, interval="12h", zipped=False)
    put("TEXTUSDT", month(line_7=candle(time_of(7), 12, 100.0, open="n/a")))
    put("HIGHLOWUSDT", month(line_8=candle(time_of(8), 12, 100.0, high=98.0)))
    put("TWICEUSDT", [*month(), candle(time_of(9), 12, 100.5)])
    put("OFFGRIDUSDT", month(line_10=candle(time_of(10) + timedelta(minutes=1), 12, 100.0)))


class Outcome:
    """What the tasks left of the archive."""

    def __init__(self, lake: Lake, done: dict[str, TaskRun], error: QualityError) -> None:
        self.lake, self.done, self.error = lake, done, error


@pytest.fixture(scope="module")
def outcome(
    spark: "SparkSession", base_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Outcome:
    base = tmp_path_factory.mktemp("bad")
    publish(base / "archive")
    settings = lake_of(base_settings, base, base / "archive", "12h")
    with interpreted(spark):
        done = run(spark, settings, "bad", ingest_archive, clean_candles, asset_metrics)
        with pytest.raises(QualityError) as failure:
            run(spark, settings, "bad", quality_gate)
        tolerant = changed_settings(settings, quality={"max_failed_files": 4})
        done.update(run(spark, tolerant, "tolerant", quality_gate))
    return Outcome(Lake(spark, settings.warehouse), done, failure.value)


def test_each_bad_file_has_its_status(outcome: Outcome) -> None:
    ledger = {row["symbol"]: row for row in rows(outcome.lake, ARCHIVE_FILES)}
    bad = {symbol: row for symbol, row in ledger.items() if row["status"] != "ingested"}
    assert {symbol: row["status"] for symbol, row in bad.items()} == FAILED
    assert all(row["error"] and row["rows"] == 0 for row in bad.values())
    assert len(ledger) == 9


def test_the_line_that_does_not_parse_is_told(outcome: Outcome) -> None:
    assert [
        (row["symbol"], row["line"], row["reason"]) for row in rows(outcome.lake, REJECTED_LINES)
    ] == [("TEXTUSDT", 7, "open is not a number: n/a")]


def test_each_bad_row_is_in_quarantine_with_its_rule(outcome: Outcome) -> None:
    assert {
        (row["symbol"], row["line"]): row["rules"] for row in rows(outcome.lake, REJECTED_CANDLES)
    } == {
        ("HIGHLOWUSDT", 8): ["high_low", "quote_volume_in_range"],
        ("TWICEUSDT", 63): ["duplicate"],
        ("OFFGRIDUSDT", 10): ["open_time_on_grid"],
    }


def test_the_figures_name_what_was_refused(outcome: Outcome) -> None:
    ingest = outcome.done["ingest_archive"].figures
    for symbol, status in FAILED.items():
        assert f"{symbol}-12h-2025-01.zip: {status}" in ingest["failed names"]
    assert ingest["rejected lines"] == "1"
    assert outcome.done["ingest_archive"].message == "9 of 9 files new or changed, 4 failed"
    clean = outcome.done["clean_candles"].figures
    assert clean["rejected candles"] == "3"
    assert clean["broken rules"] == (
        "duplicate 1, high_low 1, open_time_on_grid 1, quote_volume_in_range 1"
    )


def test_the_good_rest_goes_through_all_layers(outcome: Outcome) -> None:
    real: dict[str, int] = {}
    filled = set()
    for row in rows(outcome.lake, CANDLES):
        if row["is_filled"]:
            filled.add((row["symbol"], row["open_time"]))
        else:
            real[row["symbol"]] = real.get(row["symbol"], 0) + 1
    good = {"GOODUSDT": BARS, "TWICEUSDT": BARS}
    good |= dict.fromkeys(("TEXTUSDT", "HIGHLOWUSDT", "OFFGRIDUSDT"), BARS - 1)
    assert real == good
    assert filled == {
        ("TEXTUSDT", time_of(7)),
        ("HIGHLOWUSDT", time_of(8)),
        ("OFFGRIDUSDT", time_of(10)),
    }
    assert {row["symbol"]: row["bars"] for row in rows(outcome.lake, ASSET_METRICS)} == (
        dict.fromkeys(good, BARS)
    )


def test_symbols_of_which_no_file_was_taken_are_listed_all_the_same(outcome: Outcome) -> None:
    listed = {row["symbol"]: row for row in rows(outcome.lake, LISTINGS)}
    assert len(listed) == 9
    for symbol, row in listed.items():
        assert (row["bars"] == 0) == (row["first_open_time"] is None) == (symbol in FAILED)
        assert row["status"] == "trading"


def test_the_gate_fails_the_run_and_names_the_files(outcome: Outcome) -> None:
    named = ", ".join(f"{symbol}-12h-2025-01.zip ({status})" for symbol, status in FAILED.items())
    assert str(outcome.error) == (
        f"4 files failed, quality.max_failed_files is 0: {named}; see bronze.archive_files, "
        "mend the files and begin a new run: a resumed one does not read them again"
    )
    recorded = {(row["run_id"], row["task"]): row for row in rows(outcome.lake, TASK_RUNS)}
    assert recorded["bad", "quality_gate"]["status"] == "failed"
    assert recorded["bad", "quality_gate"]["message"] == str(outcome.error)
    # Refused are a line and two rows of 311; the bar that came twice is kept once.
    passed = "passed: 4 failed files, 3 rejected rows (0.965%)"
    assert recorded["tolerant", "quality_gate"]["message"] == passed
