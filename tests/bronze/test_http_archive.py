"""The task ingest_archive over http: the tables of a folder run, whatever the network does."""

import json
import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bronze.ingest
from bronze.contracts import (
    ARCHIVE_FILES,
    ARCHIVE_SYMBOLS,
    EXCHANGE_SYMBOLS,
    KLINES,
    REJECTED_LINES,
)
from bronze.ingest import run_ingest_archive
from bronze.source import Source, open_source
from bronze.tasks import ingest_archive
from lakehouse.errors import ArchiveError
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from lakehouse.tasks import TaskOutcome
from tests.bronze.archive_server import ServedArchive, seeded_faults, served
from tests.conftest import ROOT
from tests.pipelines import (
    NOW,
    changed_settings,
    context_of,
    do,
    interpreted,
    lake_of,
    rows,
    versions,
)
from tests.support import as_csv, month_of_candles, put_file, rows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BRONZE = (ARCHIVE_FILES, ARCHIVE_SYMBOLS, KLINES, REJECTED_LINES)
SAMPLED = ("BTCUSDT", "ETHUSDT", "1000PEPEUSDT", "PAXGUSDT")
FAULTS = {"503": 0.05, "429": 0.05, "cut": 0.05, "cut without length": 0.05}
FAULTS |= {"slow": 0.05, "no length": 0.05, "reset": 0.05}


def publish(root: Path) -> None:
    """Real candles, and beside them what can be wrong with a file."""
    klines = Path("data/futures/um/monthly/klines")
    for symbol in SAMPLED:
        shutil.copytree(ROOT / "samples" / klines / symbol / "4h", root / klines / symbol / "4h")
    month = as_csv(month_of_candles("2025-01"))
    put_file(root, "币安人生USDT", "2025-01", month)
    put_file(root, "JUPUSDT", "2025-01", month)
    put_file(root, "JUPUSDT", "2025-02-01", as_csv(month_of_candles("2025-02")[:6]))
    put_file(root, "JUPUSDT", "2025-03", as_csv(month_of_candles("2025-03")))
    put_file(root, "BTCUPUSDT", "2025-01", month)
    put_file(root, "BTCUSDT_250328", "2025-01", month)
    put_file(root, "ADAEUR", "2025-01", month)
    put_file(root, "SYRUPUSDT", "2025-01", b"no,candle\n" + month)
    put_file(root, "UNSIGNEDUSDT", "2025-01", month, checksum=None)
    put_file(root, "MISPRINTUSDT", "2025-01", month, checksum="0" * 64)
    put_file(root, "HTMLUSDT", "2025-01", b"<html>busy</html>", zipped=False)


def publish_january(root: Path, *symbols: str) -> None:
    """A month of daily candles, the same for each symbol."""
    for name in symbols:
        put_file(root, name, "2025-01", as_csv(month_of_candles("2025-01", 24)), interval="1d")


def over_http(
    settings: Settings, archive: ServedArchive, base: Path, **universe: object
) -> Settings:
    exchange = settings.exchange.um.model_copy(
        update={"info_url": f"{archive.url}/info", "ticker_url": f"{archive.url}/ticker"}
    )
    return changed_settings(
        settings.model_copy(update={"warehouse": str(base / "lake")}),
        archive={
            "url": archive.url,
            "listing_url": archive.listing_url,
            "landing": str(base / "landing"),
        },
        universe=universe,
        exchange={"um": exchange},
    )


def no_wait(seconds: float) -> None:
    """Between two attempts of a request."""


def ingest(spark: "SparkSession", settings: Settings, run_id: str) -> TaskOutcome:
    return run_ingest_archive(context_of(spark, settings, ingest_archive.name, run_id), no_wait)


def test_everything_is_ingested_once_as_from_the_folder(
    spark: "SparkSession", base_settings: Settings, tmp_path: Path
) -> None:
    root = tmp_path / "archive"
    publish(root)
    months = {"start": "2025-01", "end": "2025-03"}
    folder = lake_of(base_settings, tmp_path / "folder", root, "4h", **months)
    with served(root) as archive, interpreted(spark):
        from_folder = do(spark, folder, ingest_archive, "folder")
        archive.faults = seeded_faults(42, FAULTS)
        archive.page_size = 5
        remote = over_http(folder, archive, tmp_path / "http")
        first = ingest(spark, remote, "http-1")
        assert set(archive.met) == set(FAULTS)
        assert archive.heads == []
        for contract in BRONZE:
            found = rows_of(Lake(spark, remote.warehouse), contract)
            assert found == rows_of(Lake(spark, folder.warehouse), contract)
            assert found
        landed = first.figures["landing"]
        files = len(rows(Lake(spark, remote.warehouse), ARCHIVE_FILES))
        assert landed.startswith(f"{files} planned = 0 there already + {files} landed (")
        assert landed.endswith(" + 0 failed")
        told = {name: text for name, text in first.figures.items() if name != "landing"}
        assert told == from_folder.figures
        assert told["leveraged tokens left out"] == "BTCUPUSDT"
        after = versions(Lake(spark, remote.warehouse), BRONZE)

        archive.faults = lambda path, count: None
        archive.forget()
        again = ingest(spark, remote, "http-2")
        assert versions(Lake(spark, remote.warehouse), BRONZE) == after
        assert again.unchanged
        # The misprint is never settled: its checksum may be corrected at any time.
        asked = {key.rpartition("/")[2] for key in archive.object_requests()}
        assert asked == {
            "MISPRINTUSDT-4h-2025-01.zip",
            "MISPRINTUSDT-4h-2025-01.zip.CHECKSUM",
        }


def symbol(name: str, base: str, **changed: object) -> dict[str, object]:
    perpetual = {"status": "TRADING", "quoteAsset": "USDT", "contractType": "PERPETUAL"}
    return {"symbol": name, "baseAsset": base, **perpetual, **changed}


def say(archive: ServedArchive, symbols: list[dict[str, object]]) -> None:
    tickers = [{"symbol": each["symbol"], "quoteVolume": "1.5"} for each in symbols]
    archive.documents["/info"] = json.dumps({"symbols": symbols}).encode()
    archive.documents["/ticker"] = json.dumps(tickers).encode()


def test_a_universe_of_today_is_kept_for_another_day(
    spark: "SparkSession", base_settings: Settings, tmp_path: Path
) -> None:
    root = tmp_path / "archive"
    publish_january(root, "JUPUSDT", "OLDUSDT", "ADAEUR", "GONEUSDT")
    settings = lake_of(base_settings, tmp_path, root, "1d")
    with served(root) as archive, interpreted(spark):
        remote = over_http(settings, archive, tmp_path, mode="all-usdt")
        old, dated = symbol("OLDUSDT", "OLD"), {"contractType": "CURRENT_QUARTER"}
        today = [symbol("JUPUSDT", "JUP"), symbol("ADAEUR", "ADA", quoteAsset="EUR")]
        today += [symbol("BTCUSDT_250328", "BTC", **dated), symbol("NEWUSDT", "NEW")]
        say(archive, [*today, old])
        first = open_source(context_of(spark, remote, ingest_archive.name, "monday"), no_wait)
        assert first.universe.symbols == ("JUPUSDT", "OLDUSDT")
        assert first.universe.absent == ("NEWUSDT",)
        assert first.has_snapshot
        assert "survivorship bias" in first.figures["universe"]
        assert first.figures["exchange snapshot"] == "5 symbols at 2026-01-01T00:00:00+00:00"
        assert {file.key.symbol for file in first.files} == {"JUPUSDT", "OLDUSDT"}
        say(archive, [*today, {**old, "status": "SETTLING"}])
        for _ in range(2):  # the second attempt of a run takes the place of the first
            second = open_source(
                context_of(spark, remote, ingest_archive.name, "tuesday", NOW + timedelta(days=1)),
                no_wait,
            )
        assert second.universe.symbols == ("JUPUSDT",)

        archive.documents["/info"] = b"<html>restricted</html>"
        with pytest.raises(ArchiveError, match=r"/info does not answer .* historical-usdt"):
            open_source(
                context_of(
                    spark, remote, ingest_archive.name, "wednesday", NOW + timedelta(days=2)
                ),
                no_wait,
            )

    lake = Lake(spark, remote.warehouse)
    snapshots = rows(lake, EXCHANGE_SYMBOLS)
    assert [row["run_id"] for row in snapshots] == ["monday"] * 5 + ["tuesday"] * 5
    assert snapshots[0] == {
        "snapshot_time": NOW,
        "market": "um",
        "symbol": "ADAEUR",
        "status": "TRADING",
        "base_asset": "ADA",
        "quote_asset": "EUR",
        "contract_type": "PERPETUAL",
        "quote_volume": 1.5,
        "run_id": "monday",
    }
    assert universe_at(lake, spark, "2026-01-01 23:00") == ["JUPUSDT", "NEWUSDT", "OLDUSDT"]
    assert universe_at(lake, spark, "2026-01-02 23:00") == ["JUPUSDT", "NEWUSDT"]


def universe_at(lake: Lake, spark: "SparkSession", moment: str) -> list[str]:
    """The query of the readme, with its table and its moment."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    query = (
        readme.partition("The universe of a past day")[2].partition('sql "')[2].partition('"')[0]
    )
    query = query.replace("bronze.exchange_symbols", lake.name(EXCHANGE_SYMBOLS))
    assert "2026-06-30" in query
    found: list[Any] = spark.sql(query.replace("2026-06-30", moment)).collect()
    return [row[0] for row in found]


def test_symbols_that_another_run_records_during_a_landing_stay_as_they_are(
    spark: "SparkSession",
    base_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path / "archive"
    publish_january(root, "BTCUSDT", "ETHUSDT")
    settings = lake_of(base_settings, tmp_path, root, "1d")
    with served(root) as archive, interpreted(spark):
        every = over_http(settings, archive, tmp_path)
        one = over_http(settings, archive, tmp_path, mode="symbols", symbols=("BTCUSDT",))

        def landed(*arguments: Any) -> Source:
            source = open_source(*arguments)
            monkeypatch.undo()
            ingest(spark, every, "of all")
            return source

        monkeypatch.setattr(bronze.ingest, "open_source", landed)
        ingest(spark, one, "of one")
    recorded = rows(Lake(spark, every.warehouse), ARCHIVE_SYMBOLS)
    assert {row["symbol"]: (row["first_month"], row["run_id"]) for row in recorded} == {
        "BTCUSDT": ("2025-01", "of all"),
        "ETHUSDT": ("2025-01", "of all"),
    }


def test_a_file_that_cannot_be_had_is_in_the_ledger_with_its_reason(
    spark: "SparkSession", base_settings: Settings, tmp_path: Path
) -> None:
    root = tmp_path / "archive"
    publish_january(root, "BTCUSDT", "ETHUSDT")
    settings = lake_of(base_settings, tmp_path, root, "1d")
    with served(root) as archive, interpreted(spark):
        remote = over_http(settings, archive, tmp_path)
        lake = Lake(spark, remote.warehouse)
        archive.gone = {"data/futures/um/monthly/klines/ETHUSDT/1d/ETHUSDT-1d-2025-02.zip"}
        outcome = ingest(spark, remote, "run-1")
        ledger = {row["source_file"].rpartition("/")[2]: row for row in rows(lake, ARCHIVE_FILES)}
        failed = ledger.pop("ETHUSDT-1d-2025-02.zip")
        assert (failed["status"], failed["rows"]) == ("download_failed", 0)
        assert "404" in failed["error"]
        assert {row["status"] for row in ledger.values()} == {"ingested"}
        assert outcome.figures["failed names"] == "ETHUSDT-1d-2025-02.zip: download_failed"
        assert outcome.figures["landing"].endswith(" + 1 failed")

        # A republication that cannot be had leaves the rows of before.
        before = rows(lake, KLINES)
        month = month_of_candles("2025-01", 24, 500.0)
        put_file(root, "BTCUSDT", "2025-01", as_csv(month), interval="1d")
        archive.faults = lambda path, count: "503" if "BTCUSDT-1d-2025-01.zip" in path else None
        ingest(spark, remote, "run-2")
        assert rows(lake, KLINES) == before
        archive.faults = lambda path, count: None
        archive.gone = set()
        outcome = ingest(spark, remote, "run-3")
        # What was never had and is listed no more fails no later run.
        label = "refused files that the archive has no more"
        assert "ETHUSDT-1d-2025-02.zip" in outcome.figures[label]
        ledger = {row["source_file"]: row["status"] for row in rows(lake, ARCHIVE_FILES)}
        assert list(ledger.values()) == ["ingested"] * 2
        closes = [row["close"] for row in rows(lake, KLINES) if row["symbol"] == "BTCUSDT"]
        assert closes == [line[4] for line in month]


def test_the_days_of_a_month_that_turns_out_broken_are_landed_and_loaded_by_the_same_run(
    spark: "SparkSession", base_settings: Settings, tmp_path: Path
) -> None:
    root = tmp_path / "archive"
    lines = month_of_candles("2025-01", 24)
    put_file(root, "BTCUSDT", "2025-01", b"no,candle\n" + as_csv(lines[1:]), interval="1d")
    put_file(root, "BTCUSDT", "2025-01-01", as_csv(lines[:1]), interval="1d")
    put_file(root, "ETHUSDT", "2025-01", as_csv(lines), interval="1d")
    put_file(root, "ETHUSDT", "2025-02", as_csv(lines), interval="1d", checksum="0" * 64)
    settings = lake_of(base_settings, tmp_path, root, "1d")
    with served(root) as archive, interpreted(spark):
        remote = over_http(settings, archive, tmp_path)
        outcome = ingest(spark, remote, "run-1")
        zips = list(root.rglob("*.zip"))
        megabytes = sum(path.stat().st_size for path in zips) / 1e6
        # One account of both landings: each file once, and all of them landed by this run.
        landed = f"4 planned = 0 there already + 4 landed ({megabytes:,.1f} MB) + 0 failed"
        assert outcome.figures["landing"] == landed
        # The days alone are new to the second one; the misprint is looked at by both.
        asked = Counter(path.name for path in map(Path, archive.object_requests()))
        assert {path.name: asked[path.name] for path in zips} == {
            "BTCUSDT-1d-2025-01.zip": 1,
            "BTCUSDT-1d-2025-01-01.zip": 1,
            "ETHUSDT-1d-2025-01.zip": 1,
            "ETHUSDT-1d-2025-02.zip": 4,
        }
        ledger = {
            row["source_file"]: row for row in rows(Lake(spark, remote.warehouse), ARCHIVE_FILES)
        }
        assert sorted((row["rows"], row["status"]) for row in ledger.values()) == [
            (0, "checksum_mismatch"),
            (1, "ingested"),
            (30, "ingested"),
            (31, "ingested"),
        ]
        again = ingest(spark, remote, "run-2")
        assert again.unchanged
        # The misprint is landed as it is published, whenever it is looked at.
        assert again.figures["landing"].startswith("4 planned = 3 there already + 1 landed (")


def test_a_republication_with_a_wrong_checksum_is_told_as_from_the_folder(
    spark: "SparkSession", base_settings: Settings, tmp_path: Path
) -> None:
    root = tmp_path / "archive"
    month = as_csv(month_of_candles("2025-01", 24))

    def publish_all(content: bytes, **how: str) -> None:
        for name in ("GOODUSDT", "STALEUSDT", "WRONGUSDT"):
            put_file(root, name, "2025-01", content, interval="1d", **how)
        # Never a candle, so that the ledger tells of the bytes that came last.
        put_file(root, "HTMLUSDT", "2025-01", b"<html>" + content, interval="1d", zipped=False)

    publish_all(month)
    old = {path.name: path.read_bytes() for path in root.rglob("*.CHECKSUM")}
    folder = lake_of(base_settings, tmp_path / "folder", root, "1d")
    with served(root) as archive, interpreted(spark):
        remote = over_http(folder, archive, tmp_path / "http")
        lakes = [Lake(spark, settings.warehouse) for settings in (folder, remote)]

        def both(run_id: str) -> tuple[TaskOutcome, TaskOutcome]:
            outcomes = do(spark, folder, ingest_archive, run_id), ingest(spark, remote, run_id)
            for contract in BRONZE:
                assert rows_of(lakes[0], contract) == rows_of(lakes[1], contract)
            return outcomes

        both("run-1")
        before = rows(lakes[1], KLINES)
        publish_all(as_csv(month_of_candles("2025-01", 12, 500.0)))
        for path in root.rglob("*.CHECKSUM"):
            if path.name.startswith(("STALEUSDT", "HTMLUSDT")):
                path.write_bytes(old[path.name])
            elif path.name.startswith("WRONGUSDT"):
                path.write_text(f"{'0' * 64}  {path.name.removesuffix('.CHECKSUM')}\n")
        from_folder, over = both("run-2")
        assert over.message == from_folder.message == "4 of 4 files new or changed, 3 failed"
        assert over.figures["landing"].endswith(" MB) + 3 failed")
        ledger = {row["symbol"]: row for row in rows(lakes[1], ARCHIVE_FILES)}
        assert ledger.pop("GOODUSDT")["status"] == "ingested"
        assert {row["status"] for row in ledger.values()} == {"checksum_mismatch"}
        kept = [row for row in rows(lakes[1], KLINES) if row["symbol"] != "GOODUSDT"]
        assert kept == [row for row in before if row["symbol"] != "GOODUSDT"]

        # Nothing new, and still looked at; then it is right.
        archive.forget()
        _, again = both("run-3")
        assert again.unchanged
        zips = [key for key in archive.object_requests() if key.endswith(".zip")]
        assert len(zips) == 2 * len(set(zips)) == 6
        publish_all(as_csv(month_of_candles("2025-01", 12, 500.0)))
        both("run-4")
        assert len(rows(lakes[1], KLINES)) == 3 * 62
        archive.forget()
        both("run-5")
        assert archive.object_requests() == []


@pytest.mark.parametrize(
    ("archive", "why"),
    [
        ({"url": "ftp://example.org"}, r"must be a folder .* or its http\(s\) address"),
        ({"url": "https://example.org", "listing_url": ""}, "needs archive.listing_url"),
    ],
)
def test_an_address_that_cannot_be_an_archive_is_told(
    spark: "SparkSession", settings: Settings, archive: dict[str, str], why: str
) -> None:
    with pytest.raises(ArchiveError, match=why):
        do(spark, changed_settings(settings, archive=archive), ingest_archive, "none")
