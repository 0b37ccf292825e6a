"""The task ingest_archive: what it takes, what it refuses and why, and that nothing counts twice.

One archive is published four times over; the tests look at what each run made of it.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bronze.contracts import ARCHIVE_FILES, KLINES, REJECTED_LINES
from bronze.tasks import ingest_archive
from lakehouse.contracts import TableContract
from lakehouse.errors import ArchiveError
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from lakehouse.tasks import TaskOutcome
from tests.pipelines import NOW, do, interpreted, lake_of, rows, versions
from tests.support import as_csv, month_of_candles, put_file, rows_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BRONZE = (ARCHIVE_FILES, KLINES, REJECTED_LINES)
MONTH = "2025-01"
DAYS = 31
HEADER = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    b"taker_buy_volume,taker_buy_quote_volume,ignore\n"
)
WRONG = "0" * 64
ENDS = b"2025-01-01,not,a,candle\n"


def month(start: float = 100.0, name: str = MONTH) -> bytes:
    return as_csv(month_of_candles(name, 24, start))


def put(root: Path, symbol: str, content: bytes, period: str = MONTH, **how: Any) -> str:
    return put_file(root, symbol, period, content, interval="1d", **how)


@dataclass
class Seen:
    """What one run left."""

    outcome: TaskOutcome
    versions: dict[str, int]
    ledger: dict[str, dict[str, Any]]
    klines: dict[str, list[dict[str, Any]]]
    rejected: dict[str, list[tuple[int, str, str]]]


@dataclass
class Story:
    """An archive that is published again and again, and what each run made of it."""

    spark: "SparkSession"
    settings: Settings
    root: Path
    first: Path
    runs: list[Seen] = field(default_factory=list)

    @property
    def lake(self) -> Lake:
        return Lake(self.spark, self.settings.warehouse)

    def ingest(self) -> None:
        outcome = do(self.spark, self.settings, ingest_archive, f"run-{len(self.runs) + 1}")
        lake = self.lake
        klines: dict[str, list[dict[str, Any]]] = {}
        for row in rows(lake, KLINES):
            klines.setdefault(row["symbol"], []).append(row)
        rejected: dict[str, list[tuple[int, str, str]]] = {}
        for row in rows(lake, REJECTED_LINES):
            rejected.setdefault(row["symbol"], []).append((row["line"], row["text"], row["reason"]))
        ledger = {row["symbol"]: row for row in rows(lake, ARCHIVE_FILES)}
        self.runs.append(Seen(outcome, versions(lake, BRONZE), ledger, klines, rejected))

    def zip_of(self, symbol: str, root: Path) -> bytes:
        (path,) = root.rglob(f"{symbol}-1d-{MONTH}.zip")
        return path.read_bytes()


def publish_first(root: Path) -> None:
    put(root, "GOODUSDT", HEADER + month())
    put(root, "BETTERUSDT", month(200))
    put(root, "WORSEUSDT", month(300))
    truncated = put(root, "REPAIREDUSDT", month())
    cut_off = (root / truncated).read_bytes()[:-30]
    put(root, "REPAIREDUSDT", cut_off, zipped=False)
    put(root, "UNSIGNEDUSDT", month(), checksum=None)
    put(root, "MISPRINTUSDT", month(), checksum=WRONG)
    put(root, "HTMLUSDT", b"<html><body>Access denied</body></html>", zipped=False)
    put(root, "HEADERUSDT", HEADER)
    put(root, "NOLINEUSDT", b"oops\n")
    put(root, "LINESUSDT", HEADER + ENDS + month().replace(b",7,", b",seven,", 1) + b"\n")


def publish_again(root: Path) -> None:
    put(root, "BETTERUSDT", as_csv(month_of_candles(MONTH, 24, 222.0)[:20]))
    put(root, "WORSEUSDT", month(333), checksum=WRONG)
    put(root, "REPAIREDUSDT", month())
    put(root, "UNSIGNEDUSDT", month())
    put(root, "MISPRINTUSDT", month())
    put(root, "LINESUSDT", HEADER + month())


@pytest.fixture(scope="module", autouse=True)
def quick(spark: "SparkSession") -> Iterator[None]:
    with interpreted(spark):
        yield


@pytest.fixture(scope="module")
def story(
    spark: "SparkSession", base_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Story:
    base = tmp_path_factory.mktemp("ingest")
    root = base / "archive"
    publish_first(root)
    told = Story(spark, lake_of(base_settings, base, root, "1d"), root, base / "first")
    shutil.copytree(root, told.first)
    told.ingest()
    told.ingest()
    publish_again(root)
    told.ingest()
    put(root, "WORSEUSDT", month(333))
    told.ingest()
    return told


def closes(klines: list[dict[str, Any]]) -> list[float]:
    return [row["close"] for row in klines]


def test_a_good_file_lands_with_all_that_the_ledger_says_of_it(story: Story) -> None:
    content = story.zip_of("GOODUSDT", story.first)
    digest = hashlib.sha256(content).hexdigest()
    assert story.runs[0].ledger["GOODUSDT"] == {
        "source_file": "data/futures/um/monthly/klines/GOODUSDT/1d/GOODUSDT-1d-2025-01.zip",
        "market": "um",
        "interval": "1d",
        "symbol": "GOODUSDT",
        "month": MONTH,
        "period": MONTH,
        "cadence": "monthly",
        "size_bytes": len(content),
        "sha256": digest,
        "published_sha256": digest,
        "status": "ingested",
        "error": None,
        "rows": DAYS,
        "rejected_lines": 0,
        "has_header": True,
        "time_unit": "ms",
        "superseded_by": None,
        "former": None,
        "run_id": "run-1",
        "ingested_at": NOW,
    }


def test_klines_are_the_published_lines(story: Story) -> None:
    names = ["open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume"]
    names += ["trades", "taker_buy_base", "taker_buy_quote"]
    key = {
        "source_file": story.runs[0].ledger["GOODUSDT"]["source_file"],
        "market": "um",
        "interval": "1d",
        "symbol": "GOODUSDT",
        "month": MONTH,
    }
    assert story.runs[0].klines["GOODUSDT"] == [
        # The header is line 1.
        {**key, "line": line, **dict(zip(names, values, strict=False))}
        for line, values in enumerate(month_of_candles(MONTH, 24), start=2)
    ]


@pytest.mark.parametrize(
    ("symbol", "status", "error"),
    [
        ("REPAIREDUSDT", "corrupt_zip", "not a whole ZIP"),
        ("UNSIGNEDUSDT", "missing_checksum", "archive.require_checksum=false"),
        ("MISPRINTUSDT", "checksum_mismatch", f"published is {WRONG}"),
        ("HTMLUSDT", "unexpected_content", "no ZIP: it begins '<html><body>Access"),
        ("HEADERUSDT", "unexpected_content", "a header and no candle"),
        ("NOLINEUSDT", "unexpected_content", "line 1: expected 12 fields, found 1"),
    ],
)
def test_a_bad_file_is_in_the_ledger_with_its_reason(
    story: Story, symbol: str, status: str, error: str
) -> None:
    row = story.runs[0].ledger[symbol]
    assert (row["status"], row["rows"]) == (status, 0)
    assert error in row["error"]
    assert row["sha256"] == hashlib.sha256(story.zip_of(symbol, story.first)).hexdigest()
    assert symbol not in story.runs[0].klines
    figures = story.runs[0].outcome.figures
    assert f"{symbol}-1d-{MONTH}.zip: {status}" in figures["failed names"]


def test_the_good_rest_is_loaded(story: Story) -> None:
    run = story.runs[0]
    good = {"GOODUSDT": DAYS, "BETTERUSDT": DAYS, "WORSEUSDT": DAYS, "LINESUSDT": DAYS - 1}
    assert {symbol: len(found) for symbol, found in run.klines.items()} == good
    assert {s: row["rows"] for s, row in run.ledger.items() if row["rows"]} == good
    assert run.outcome.message == "10 of 10 files new or changed, 6 failed"
    assert run.outcome.figures["rows"] == str(4 * DAYS - 1)
    assert run.outcome.figures["failed files"] == (
        "unexpected_content 3, checksum_mismatch 1, corrupt_zip 1, missing_checksum 1"
    )


def test_lines_that_do_not_parse_are_kept_with_number_text_and_reason(story: Story) -> None:
    bad = as_csv(month_of_candles(MONTH, 24)[:1]).decode().strip().replace(",7,", ",seven,")
    assert story.runs[0].rejected == {
        "LINESUSDT": [
            (2, ENDS.decode().strip(), "expected 12 fields, found 4"),
            (3, bad, "trades is not an integer: seven"),
            (DAYS + 3, "", "empty line"),
        ],
        "NOLINEUSDT": [(1, "oops", "expected 12 fields, found 1")],
    }
    assert [row["line"] for row in story.runs[0].klines["LINESUSDT"]] == list(range(4, DAYS + 3))
    assert story.runs[0].ledger["LINESUSDT"]["rejected_lines"] == 3


def test_a_second_run_writes_no_version_of_any_table(story: Story) -> None:
    first, second = story.runs[:2]
    assert second.versions == first.versions
    # Files that are good in every line are committed first, the others after a closer look.
    assert first.versions == {"archive_files": 1, "klines": 2, "rejected_lines": 1}
    assert second.outcome.unchanged
    assert not first.outcome.unchanged
    assert second.outcome.message == "all 10 files unchanged"
    # What is wrong with the archive is said again.
    assert second.outcome.figures["failed names"] == first.outcome.figures["failed names"]


def test_a_republished_file_replaces_its_rows_in_one_commit(story: Story) -> None:
    before, after = story.runs[1], story.runs[2]
    assert after.versions["klines"] == before.versions["klines"] + 1
    assert closes(after.klines["BETTERUSDT"]) == [222.0 + i % 17 for i in range(20)]
    ledger = after.ledger["BETTERUSDT"]
    assert (ledger["status"], ledger["rows"], ledger["run_id"]) == ("ingested", 20, "run-3")
    assert ledger["sha256"] == hashlib.sha256(story.zip_of("BETTERUSDT", story.root)).hexdigest()
    assert after.klines["GOODUSDT"] == before.klines["GOODUSDT"]
    assert after.ledger["GOODUSDT"] == before.ledger["GOODUSDT"]


def test_time_travel_shows_the_rows_of_before(story: Story) -> None:
    past = rows(story.lake, KLINES, story.runs[0].versions["klines"])
    found = [row for row in past if row["symbol"] == "BETTERUSDT"]
    assert found == story.runs[0].klines["BETTERUSDT"]
    assert closes(found) == [200.0 + i % 17 for i in range(DAYS)]


def test_a_failed_republication_keeps_the_old_rows_and_says_why(story: Story) -> None:
    before, failed = story.runs[1].ledger["WORSEUSDT"], story.runs[2].ledger["WORSEUSDT"]
    assert failed["status"] == "checksum_mismatch"
    assert WRONG in failed["error"]
    told = ("status", "error", "published_sha256", "run_id")
    assert failed == {**before, **{name: failed[name] for name in told}}
    assert story.runs[2].klines["WORSEUSDT"] == story.runs[1].klines["WORSEUSDT"]
    assert "WORSEUSDT-1d-2025-01.zip" in story.runs[2].outcome.figures["failed names"]


def test_a_good_republication_after_a_failed_one_is_taken(story: Story) -> None:
    last = story.runs[3]
    assert last.ledger["WORSEUSDT"]["status"] == "ingested"
    assert last.ledger["WORSEUSDT"]["error"] is None
    assert closes(last.klines["WORSEUSDT"]) == [333.0 + i % 17 for i in range(DAYS)]
    assert last.outcome.message.startswith("1 of 10 files new or changed")


@pytest.mark.parametrize("symbol", ["REPAIREDUSDT", "UNSIGNEDUSDT", "MISPRINTUSDT"])
def test_a_repaired_file_is_taken(story: Story, symbol: str) -> None:
    """Its bytes may be the same as before: a checksum that was added or corrected is a repair."""
    row = story.runs[2].ledger[symbol]
    assert (row["status"], row["error"], row["rows"]) == ("ingested", None, DAYS)
    assert closes(story.runs[2].klines[symbol]) == [100.0 + i % 17 for i in range(DAYS)]


def test_rejected_lines_go_with_the_file_that_had_them(story: Story) -> None:
    assert "LINESUSDT" not in story.runs[2].rejected
    assert len(story.runs[2].klines["LINESUSDT"]) == DAYS
    assert story.runs[2].rejected["NOLINEUSDT"] == story.runs[0].rejected["NOLINEUSDT"]


def test_symbols_that_come_later_give_the_same_tables(
    spark: "SparkSession", story: Story, tmp_path: Path
) -> None:
    together = lake_of(story.settings, tmp_path / "together", story.first, "1d")
    apart = lake_of(story.settings, tmp_path / "apart", story.first, "1d")
    early = ("GOODUSDT", "REPAIREDUSDT", "NOLINEUSDT", "WORSEUSDT")
    universe = apart.universe.model_copy(update={"mode": "symbols", "symbols": early})
    do(spark, apart.model_copy(update={"universe": universe}), ingest_archive, "early")
    assert set(ledger_of(spark, apart)) == set(early)
    do(spark, apart, ingest_archive, "late")
    do(spark, together, ingest_archive, "once")
    for contract in BRONZE:
        found = rows_of(Lake(spark, apart.warehouse), contract)
        assert found == rows_of(Lake(spark, together.warehouse), contract)
        assert found


def ledger_of(spark: "SparkSession", settings: Settings) -> dict[str, dict[str, Any]]:
    found = rows(Lake(spark, settings.warehouse), ARCHIVE_FILES)
    return {row["symbol"]: row for row in found}


def test_leftovers_of_a_killed_run_count_neither_twice_nor_for_another_file(
    spark: "SparkSession",
    base_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path / "archive"
    put(root, "SAMEUSDT", ENDS + month())
    put(root, "SHORTERUSDT", month())
    put(root, "TURNSBADUSDT", ENDS + month())
    settings = lake_of(base_settings, tmp_path, root, "1d")
    lake = Lake(spark, settings.warehouse)

    def killed(self: Lake, contract: TableContract, frame: "DataFrame", where: str) -> int:
        if contract is ARCHIVE_FILES:
            raise KeyboardInterrupt
        return replace(self, contract, frame, where)

    replace = Lake.replace
    with monkeypatch.context() as patched:
        patched.setattr(Lake, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            do(spark, settings, ingest_archive, "killed")
    assert len(rows(lake, KLINES)) == 3 * DAYS
    assert rows(lake, ARCHIVE_FILES) == []

    put(root, "SHORTERUSDT", as_csv(month_of_candles(MONTH, 24)[:5]))
    put(root, "TURNSBADUSDT", month(), checksum=WRONG)
    do(spark, settings, ingest_archive, "again")
    assert count_by_symbol(rows(lake, KLINES)) == {"SAMEUSDT": DAYS, "SHORTERUSDT": 5}
    assert count_by_symbol(rows(lake, REJECTED_LINES)) == {"SAMEUSDT": 1}
    ledger = ledger_of(spark, settings)
    assert {symbol: row["rows"] for symbol, row in ledger.items()} == {
        "SAMEUSDT": DAYS,
        "SHORTERUSDT": 5,
        "TURNSBADUSDT": 0,
    }


def count_by_symbol(found: list[dict[str, Any]]) -> Mapping[str, int]:
    symbols = [row["symbol"] for row in found]
    return {symbol: symbols.count(symbol) for symbol in symbols}


def in_microseconds(lines: list[list[object]]) -> bytes:
    """Lines as spot files have them since 2025: the close is the last microsecond of the bar."""

    def micros(value: object, last: int) -> int:
        assert isinstance(value, int)
        return value * 1000 + last

    return as_csv(
        [micros(line[0], 0), *line[1:6], micros(line[6], 999), *line[7:]] for line in lines
    )


def test_spot_files_and_daily_ones_where_there_is_no_monthly(
    spark: "SparkSession", base_settings: Settings, tmp_path: Path
) -> None:
    root = tmp_path / "archive"
    december, january, february = (
        month_of_candles(name, 24) for name in ("2024-12", "2025-01", "2025-02")
    )
    put(root, "BTCUSDT", as_csv(december), "2024-12", market="spot")
    put(root, "BTCUSDT", in_microseconds(january), "2025-01", market="spot")
    put(root, "BTCUSDT", in_microseconds(january[4:5]), "2025-01-05", market="spot")
    for day in (0, 2):
        put(
            root, "BTCUSDT", in_microseconds(february[day : day + 1]), f"2025-02-0{day + 1}",
            market="spot",
        )  # fmt: skip
    put(root, "BTCUSDT", in_microseconds(month_of_candles("2025-04", 24)), "2025-04", market="spot")
    settings = lake_of(base_settings, tmp_path, root, "1d", market="spot", end="2025-03")
    outcome = do(spark, settings, ingest_archive, "run-1")
    lake = Lake(spark, settings.warehouse)
    told = ("period", "cadence", "rows", "has_header", "time_unit", "market")
    assert sorted(tuple(row[name] for name in told) for row in rows(lake, ARCHIVE_FILES)) == [
        ("2024-12", "monthly", 31, False, "ms", "spot"),
        ("2025-01", "monthly", 31, False, "us", "spot"),
        ("2025-02-01", "daily", 1, False, "us", "spot"),
        ("2025-02-03", "daily", 1, False, "us", "spot"),
    ]
    # March lies between two months that there are, although April was not asked for.
    assert outcome.figures["missing months"] == "BTCUSDT 2025-03"
    # There is a file after the range, so that the rest of February is missing as well.
    missing = [f"BTCUSDT 2025-02-{day:02d}" for day in (2, *range(4, 13))]
    assert outcome.figures["missing days"] == f"{', '.join(missing)} and 16 more"
    first = {row["month"]: row for row in rows(lake, KLINES) if row["line"] == 1}
    assert first["2024-12"]["open_time"] == december[0][0]
    assert first["2025-01"]["open_time"] == 1_735_689_600_000_000
    assert first["2025-01"]["close_time"] == 1_735_689_600_000_000 + 86_400_000_000 - 1

    put(root, "BTCUSDT", in_microseconds(february), "2025-02", market="spot")
    do(spark, settings, ingest_archive, "run-2")
    periods = [
        Path(row["source_file"]).stem.removeprefix("BTCUSDT-1d-")
        for row in rows(lake, KLINES)
        if row["month"] == "2025-02"
    ]
    assert {p: periods.count(p) for p in periods} == {"2025-02": 28}


@pytest.mark.parametrize(
    ("archive", "why"),
    [
        ({"start": "2026-02", "end": "2026-03"}, "holds no 1d candles"),
        ({"url": "ftp://example.org"}, "must be a folder"),
    ],
)
def test_nothing_wanted_is_an_error_that_says_what_to_check(
    spark: "SparkSession", story: Story, archive: dict[str, str], why: str
) -> None:
    wanted = story.settings.archive.model_copy(update=archive)
    with pytest.raises(ArchiveError, match=why):
        do(spark, story.settings.model_copy(update={"archive": wanted}), ingest_archive, "none")
