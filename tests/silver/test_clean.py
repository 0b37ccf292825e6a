"""The task clean_candles: every published row accounted for, and no order of work that shows.

One market of four months with holes, an outage, a delisting, late listings and bad rows is
cleaned in one run; the tests look at its tables, and feed the same files in other orders.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bronze.contracts import ARCHIVE_FILES, KLINES
from bronze.tasks import ingest_archive
from lakehouse.errors import NotEnoughData
from lakehouse.runs import TaskRun, record
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from silver.alignment import align
from silver.changes import pending
from silver.contracts import CANDLES, GAPS, LISTINGS, REJECTED_CANDLES
from silver.history import listings
from silver.tasks import clean_candles
from tests.conftest import ContextFactory
from tests.pipelines import changed_settings, do, interpreted, lake_of, rows, run, versions
from tests.support import as_csv, candle, put_file, rows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SILVER = (CANDLES, REJECTED_CANDLES, GAPS, LISTINGS)
BAR = timedelta(hours=12)
FIRST, LAST = datetime(2024, 10, 1, tzinfo=UTC), datetime(2025, 1, 31, 12, tzinfo=UTC)
BARS = [FIRST + i * BAR for i in range((LAST - FIRST) // BAR + 1)]
MAX_FILL = 6

Row = dict[str, Any]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def within(start: str, end: str) -> Callable[[datetime], bool]:
    return lambda time: at(start) <= time < at(end)


OUTAGE = within("2024-10-20T00", "2024-10-21T00")
LACKS: dict[str, Sequence[Callable[[datetime], bool]]] = {
    "FULLUSDT": [OUTAGE],
    "HOLEUSDT": [
        OUTAGE,
        within("2024-11-10T00", "2024-11-11T00"),
        within("2024-11-29T00", "2024-12-05T00"),
    ],
    "GONEUSDT": [OUTAGE, within("2024-11-16T00", "2025-02-01T00")],
    "BACKUSDT": [within("2024-11-01T00", "2024-12-01T00"), within("2025-01-01T00", "2025-02-01")],
    "LATEUSDT": [within("2024-10-01T00", "2024-12-10T12")],
    "TAILUSDT": [OUTAGE, within("2025-01-31T00", "2025-02-01T00")],
    "ODDSUSDT": [within("2025-01-01T00", "2025-01-03T00"), within("2025-01-05T00", "2025-02-01")],
}


def bar(time: datetime, **changed: object) -> list[object]:
    return candle(time, 12, 100.0 + BARS.index(time) % 17, **changed)


def odd_october(lines: list[list[object]]) -> list[list[object]]:
    """October with a row for each way to be refused; lines 5 and 9 lose their bars."""
    lines = list(lines)
    lines[4] = bar(BARS[4], high=90.0)
    lines[8] = candle(BARS[8] + timedelta(hours=1), 12, 100.0)
    next_month = bar(at("2024-11-01T00"))
    return [*lines, lines[0], [*lines[1][:4], 101.5, *lines[1][5:]], next_month]


def publish(root: Path) -> None:
    for symbol, lacks in LACKS.items():
        months: dict[str, list[list[object]]] = {}
        for time in BARS:
            if not any(lack(time) for lack in lacks):
                months.setdefault(f"{time:%Y-%m}", []).append(bar(time))
        for month, lines in months.items():
            if (symbol, month) == ("ODDSUSDT", "2024-10"):
                put_file(root, symbol, month, as_csv(odd_october(lines)), interval="12h")
            elif (symbol, month) == ("ODDSUSDT", "2025-01"):
                for day in (0, 1):
                    name, content = f"2025-01-0{3 + day}", as_csv(lines[2 * day : 2 * day + 2])
                    put_file(root, symbol, name, content, interval="12h")
            else:
                put_file(root, symbol, month, as_csv(lines), interval="12h")


def silver_tables(spark: "SparkSession", settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    lake = Lake(spark, settings.warehouse)
    return {contract.name: rows_of(lake, contract) for contract in SILVER}


@dataclass(frozen=True)
class Market:
    """The archive, and the tables of one run over all of it."""

    settings: Settings
    root: Path
    klines: list[Row]
    candles: list[Row]
    rejected: list[Row]
    gaps: list[Row]
    listings: list[Row]
    figures: dict[str, str]
    tables: dict[str, list[tuple[Any, ...]]]


@pytest.fixture(scope="module", autouse=True)
def quick(spark: "SparkSession") -> Iterator[None]:
    with interpreted(spark):
        yield


@pytest.fixture(scope="module")
def market(
    spark: "SparkSession", base_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Market:
    base = tmp_path_factory.mktemp("clean")
    root = base / "archive"
    publish(root)
    settings = lake_of(base_settings, base, root, "12h")
    done = run(spark, settings, "once", ingest_archive, clean_candles)
    lake = Lake(spark, settings.warehouse)
    return Market(
        settings,
        root,
        klines=rows(lake, KLINES),
        candles=rows(lake, CANDLES),
        rejected=rows(lake, REJECTED_CANDLES),
        gaps=rows(lake, GAPS),
        listings=rows(lake, LISTINGS),
        figures=done["clean_candles"].figures,
        tables=silver_tables(spark, settings),
    )


def assert_conserved(klines: list[Row], candles: list[Row], rejected: list[Row]) -> None:
    """Each published line is one real candle or one row in quarantine, and nothing else is."""
    kept = [(row["source_file"], row["line"]) for row in candles if not row["is_filled"]]
    refused = [(row["source_file"], row["line"]) for row in rejected]
    assert Counter(kept + refused) == Counter((row["source_file"], row["line"]) for row in klines)


def test_every_published_row_is_a_candle_or_in_quarantine(market: Market) -> None:
    assert_conserved(market.klines, market.candles, market.rejected)
    assert len({row["source_file"] for row in market.klines}) == 23


def test_quarantine_holds_the_bronze_rows_and_the_rules_they_broke(market: Market) -> None:
    assert {row["symbol"] for row in market.rejected} == {"ODDSUSDT"}
    assert [(row["line"], row["rules"]) for row in market.rejected] == [
        (5, ["high_low", "quote_volume_in_range"]),
        (9, ["open_time_on_grid"]),
        (63, ["duplicate"]),
        (64, ["duplicate"]),
        (65, ["open_time_in_period"]),
    ]
    published = {(row["source_file"], row["line"]): row for row in market.klines}
    for row in market.rejected:
        kept = {name: value for name, value in row.items() if name != "rules"}
        assert kept == published[row["source_file"], row["line"]]
    assert market.figures["broken rules"] == (
        "duplicate 2, high_low 1, open_time_in_period 1, open_time_on_grid 1, "
        "quote_volume_in_range 1"
    )


def test_candles_are_the_published_values_on_a_grid(market: Market) -> None:
    published = {(row["source_file"], row["line"]): row for row in market.klines}
    names = "symbol market interval month open high low close volume quote_volume trades "
    names += "taker_buy_base taker_buy_quote"
    last: dict[str, float] = {}
    for row in market.candles:
        assert row["open_time"] in BARS
        if row["is_filled"]:
            flat = {row[name] for name in ("open", "high", "low", "close")}
            assert flat == {last[row["symbol"]]}
            assert row["volume"] == row["quote_volume"] == row["trades"] == 0
        else:
            source = published[row["source_file"], row["line"]]
            assert [row[n] for n in names.split()] == [source[n] for n in names.split()]
            assert row["open_time"].timestamp() * 1000 == source["open_time"]
        last[row["symbol"]] = row["close"]
    bars = [(row["symbol"], row["open_time"]) for row in market.candles]
    assert len(set(bars)) == len(bars)


def test_gaps(market: Market) -> None:
    # A symbol is live from its first bar to its last: all but LATE at first, GONE to 15 November.
    all_but_late = Fraction(1, 6)
    november = Fraction(60 + 2 + 4, 5 * 60 + 30)  # BACK's hole and what HOLE lacks meanwhile
    turn = Fraction(12 + 4, 5 * 12)  # HOLE's hole and the end of BACK's
    new_year = Fraction(4, 5 * 4)  # ODDS among FULL, HOLE, LATE and TAIL; BACK has gone
    told = ("symbol", "gap_start", "gap_end", "bars", "kind", "filled_bars", "missing_share")
    expected = [
        ("BACKUSDT", "2024-11-01T00", "2024-12-01T00", 60, "symbol", 6, november),
        ("FULLUSDT", "2024-10-20T00", "2024-10-21T00", 2, "outage", 2, 4 * all_but_late),
        ("GONEUSDT", "2024-10-20T00", "2024-10-21T00", 2, "outage", 2, 4 * all_but_late),
        ("HOLEUSDT", "2024-10-20T00", "2024-10-21T00", 2, "outage", 2, 4 * all_but_late),
        ("HOLEUSDT", "2024-11-10T00", "2024-11-11T00", 2, "symbol", 2, 2 * all_but_late),
        ("HOLEUSDT", "2024-11-29T00", "2024-12-05T00", 12, "symbol", 6, turn),
        ("ODDSUSDT", "2024-10-03T00", "2024-10-03T12", 1, "symbol", 1, all_but_late),
        ("ODDSUSDT", "2024-10-05T00", "2024-10-05T12", 1, "symbol", 1, all_but_late),
        ("ODDSUSDT", "2025-01-01T00", "2025-01-03T00", 4, "symbol", 4, new_year),
        ("TAILUSDT", "2024-10-20T00", "2024-10-21T00", 2, "outage", 2, 4 * all_but_late),
    ]
    assert [tuple(row[name] for name in told) for row in market.gaps] == [
        (symbol, at(start), at(end), bars, kind, filled, pytest.approx(float(share)))
        for symbol, start, end, bars, kind, filled, share in expected
    ]
    assert market.figures["gaps"] == "4 outage, 6 symbol"


def test_listings(market: Market) -> None:
    told = ("symbol", "first_open_time", "last_open_time", "bars", "filled_bars", "status")
    assert [tuple(row[name] for name in told) for row in market.listings] == [
        (symbol, at(first), at(last), bars, filled, status)
        for symbol, first, last, bars, filled, status in [
            ("BACKUSDT", "2024-10-01T00", "2024-12-31T12", 124, 6 + 6, "ended"),
            ("FULLUSDT", "2024-10-01T00", "2025-01-31T12", 244, 2, "trading"),
            ("GONEUSDT", "2024-10-01T00", "2024-11-15T12", 90, 2 + 6, "ended"),
            ("HOLEUSDT", "2024-10-01T00", "2025-01-31T12", 230, 2 + 2 + 6, "trading"),
            ("LATEUSDT", "2024-12-10T12", "2025-01-31T12", 105, 0, "trading"),
            ("ODDSUSDT", "2024-10-01T00", "2025-01-04T12", 186, 2 + 4 + 6, "ended"),
            ("TAILUSDT", "2024-10-01T00", "2025-01-30T12", 242, 2 + 2, "trading"),
        ]
    ]


def test_a_long_hole_starts_a_new_segment_and_a_short_one_does_not(market: Market) -> None:
    starts: dict[str, list[tuple[int, datetime]]] = {}
    for row in market.candles:
        segments = starts.setdefault(row["symbol"], [])
        if not segments or segments[-1][0] != row["segment"]:
            segments.append((row["segment"], row["open_time"]))
    first = {symbol: [(1, FIRST)] for symbol in LACKS}
    assert starts == {
        **first,
        "BACKUSDT": [(1, FIRST), (2, at("2024-12-01T00"))],
        "HOLEUSDT": [(1, FIRST), (2, at("2024-12-05T00"))],
        "LATEUSDT": [(1, at("2024-12-10T12"))],
    }


def test_nothing_new_writes_nothing_and_another_setting_builds_everything_again(
    spark: "SparkSession", market: Market
) -> None:
    lake = Lake(spark, market.settings.warehouse)
    before = versions(lake, SILVER)
    again = run(spark, market.settings, "again", ingest_archive, clean_candles)
    assert {done.status for done in again.values()} == {"unchanged"}
    assert again["clean_candles"].written_versions == {}
    assert again["clean_candles"].figures == market.figures
    assert versions(lake, SILVER) == before

    other = changed_settings(market.settings, silver={"max_fill_bars": 0})
    done = run(spark, other, "other", clean_candles)["clean_candles"]
    assert done.message.startswith("all symbols: ")
    candles = rows(lake, CANDLES)
    assert candles
    assert not any(row["is_filled"] for row in candles)
    segments = {row["symbol"]: row["segment"] for row in candles}  # the last of each
    assert (segments["HOLEUSDT"], segments["TAILUSDT"], segments["LATEUSDT"]) == (4, 2, 1)
    assert {row["symbol"]: row["status"] for row in rows(lake, LISTINGS)}["TAILUSDT"] == "ended"


def test_symbols_outside_of_the_universe_are_listed_and_no_reason_to_write_again(
    spark: "SparkSession", market: Market, tmp_path: Path
) -> None:
    settings = changed_settings(
        lake_of(market.settings, tmp_path, market.root, "12h"),
        universe={"mode": "symbols", "symbols": ("LATEUSDT",)},
    )
    done = run(spark, settings, "one", ingest_archive, clean_candles)
    assert done["clean_candles"].figures["symbols"] == "1 (0 ended)"
    listed = rows(Lake(spark, settings.warehouse), LISTINGS)
    assert {row["symbol"]: (row["bars"], row["status"]) for row in listed} == {
        **dict.fromkeys(LACKS, (0, None)),
        "LATEUSDT": (105, "trading"),
    }
    again = run(spark, settings, "again", ingest_archive, clean_candles)
    assert {each.status for each in again.values()} == {"unchanged"}


def stages_in_order(files: list[Path]) -> list[list[Path]]:
    """The first two months, then the other two."""
    early = [path for path in files if "-2024-10" in path.name or "-2024-11" in path.name]
    return [early, [path for path in files if path not in early]]


def stages_backwards(files: list[Path]) -> list[list[Path]]:
    """The last months of some symbols, then the first of others, then all that is missing."""
    late = [path for path in files if "-2025-01" in path.name and path.name[0] in "HTO"]
    late += [path for path in files if "-2024-12" in path.name and path.name[0] != "L"]
    early = [path for path in files if "-2024-10" in path.name or path.name[0] in "LG"]
    rest = [path for path in files if path not in [*late, *early]]
    return [late, early, rest]


def copy(stage: list[Path], source: Path, target: Path) -> None:
    for path in stage:
        for name in (path.name, f"{path.name}.CHECKSUM"):
            new = target / path.parent.relative_to(source) / name
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path.with_name(name), new)


@pytest.mark.parametrize("order", [stages_in_order, stages_backwards])
def test_any_order_of_months_and_symbols_ends_in_the_same_tables(
    spark: "SparkSession",
    market: Market,
    tmp_path: Path,
    order: Callable[[list[Path]], list[list[Path]]],
) -> None:
    files = sorted(market.root.rglob("*.zip"))
    root = tmp_path / "archive"
    settings = lake_of(market.settings, tmp_path, root, "12h")
    lake = Lake(spark, settings.warehouse)
    stages = order(files)
    for number, stage in enumerate(stages, start=1):
        copy(stage, market.root, root)
        run(spark, settings, f"stage-{number}", ingest_archive, clean_candles)
        if order is stages_in_order and number == 1:
            known = [row for row in market.candles if row["open_time"] < at("2024-12-01")]
            assert rows(lake, CANDLES) == known  # what came later has changed no earlier candle
    assert silver_tables(spark, settings) == market.tables
    if order is stages_in_order:
        monthly_after_daily(spark, settings, market)


def monthly_after_daily(spark: "SparkSession", settings: Settings, market: Market) -> None:
    """The month whose daily files were taken is published whole, with another price in one bar."""
    january = [bar(time) for time in BARS if time >= at("2025-01-01")]
    january[4][4] = 100.5
    root = Path(settings.archive.url)
    monthly = put_file(root, "ODDSUSDT", "2025-01", as_csv(january), interval="12h")
    done = run(spark, settings, "monthly", ingest_archive, clean_candles)
    assert done["clean_candles"].message.startswith("1 symbols changed: ")
    lake = Lake(spark, settings.warehouse)
    candles, refused = rows(lake, CANDLES), rows(lake, REJECTED_CANDLES)
    assert_conserved(rows(lake, KLINES), candles, refused)
    others = [row for row in candles if row["symbol"] != "ODDSUSDT"]
    assert others == [row for row in market.candles if row["symbol"] != "ODDSUSDT"]
    new = [row for row in candles if row["symbol"] == "ODDSUSDT" and row["month"] == "2025-01"]
    assert [row["source_file"] for row in new] == [monthly] * 62
    assert new[4]["close"] == 100.5
    losers = [row for row in refused if row["rules"] == ["duplicate"] and row["month"] == "2025-01"]
    assert losers == []  # its rows took the place of the days'
    assert ("ODDSUSDT", "trading") in {(r["symbol"], r["status"]) for r in rows(lake, LISTINGS)}


def ledger_row(symbol: str, month: str, sha256: str, rows: int = 1) -> Row:
    return {
        "source_file": f"{symbol}-{month}",
        "market": "um",
        "interval": "4h",
        "symbol": symbol,
        "month": month,
        "period": month,
        "cadence": "monthly",
        "size_bytes": 1,
        "sha256": sha256,
        "published_sha256": sha256,
        "status": "ingested" if rows else "corrupt_zip",
        "error": None if rows else "why",
        "rows": rows,
        "rejected_lines": 0,
        "has_header": True,
        "time_unit": "ms" if rows else None,
        "superseded_by": None,
        "former": None,
        "run_id": "run",
        "ingested_at": LAST,
    }


def test_pending_names_what_changed_since_the_last_comparable_run(
    spark: "SparkSession", lake: Lake, settings: Settings, make_context: ContextFactory
) -> None:
    def attempt(status: str, minute: int, version: int, using: Settings = settings) -> None:
        done = TaskRun(
            run_id=f"run-{minute}", task="clean_candles", job="", status=status, started_at=LAST,
            ended_at=LAST + timedelta(minutes=minute), message="", figures={},
            rows_in=None, rows_out=None,
            read_versions={"bronze.archive_files": version}, written_versions={},
            settings_digest="", settings=using.as_json(), code_version="test", market="um",
            interval="4h",
        )  # fmt: skip
        record(spark, settings, done)

    def ledger(*files: Row) -> int:
        return lake.replace(ARCHIVE_FILES, lake.frame(ARCHIVE_FILES, files), "market = 'um'")

    def now() -> dict[str, str] | None:
        return pending(make_context("clean_candles"))

    old = ledger(ledger_row("A", "2025-01", "1"), ledger_row("B", "2025-01", "1"))
    assert now() is None  # there was no run
    attempt("succeeded", 1, old)
    assert now() == {}
    ledger(
        ledger_row("A", "2025-01", "1"),
        ledger_row("B", "2025-01", "republished"),
        ledger_row("B", "2024-12", "late"),
        ledger_row("C", "2025-01", "new"),
        ledger_row("D", "2025-01", "refused", rows=0),
    )
    assert now() == {"B": "2024-12", "C": "2025-01"}
    attempt("failed", 2, old + 1)
    assert now() == {"B": "2024-12", "C": "2025-01"}
    attempt("failed", 3, old + 1, changed_settings(settings, silver={"max_fill_bars": 0}))
    assert now() is None  # it may have left rows of other settings
    attempt("succeeded", 4, old + 1)
    attempt("failed", 5, old + 1, changed_settings(settings, quality={"max_failed_files": 9}))
    assert now() == {}
    assert pending(make_context("another task")) is None
    key = {"market": "um", "interval": "4h", "symbol": "A"}
    span = {"first_open_time": FIRST, "last_open_time": LAST, "bars": 2, "filled_bars": 0}
    lake.append(LISTINGS, lake.frame(LISTINGS, [{**key, **span, "status": "trading"}]))
    assert now() is None  # a run that was killed wrote this and left no row in ops.task_runs


def test_bars_of_less_than_an_hour_are_aligned_and_listed(
    spark: "SparkSession", market: Market
) -> None:
    """Seven steps of 15 minutes are more microseconds than 32 bits hold."""
    minutes = [0, 15, 15 * 20]
    values: list[tuple[object, ...]] = [
        ("um", "15m", "A", 60_000_000 * minute, *[5.0] * 4, *[0.0] * 4, 0, [], "f", minute, None)
        for minute in minutes
    ]
    names = "market interval symbol open_us open high low close volume quote_volume taker_buy_base "
    names += "taker_buy_quote trades warnings source_file line segment"
    types = ["string"] * 3 + ["bigint"] + ["double"] * 8 + ["bigint", "array<string>", "string"]
    schema = ", ".join(map(" ".join, zip(names.split(), [*types, "bigint", "int"], strict=True)))
    candles = align(spark.createDataFrame(values, schema), "15m", MAX_FILL, 60_000_000 * 15 * 30)
    found = candles.orderBy("open_time").selectExpr(
        "unix_micros(open_time) div 60000000", "segment"
    )
    assert [tuple(row) for row in found.collect()] == [
        *((15 * i, 1) for i in range(2 + MAX_FILL)),
        *((15 * (20 + i), 2) for i in range(1 + MAX_FILL)),
    ]
    listed = listings(candles, "15m", MAX_FILL).collect()[0]
    assert (listed["bars"], listed["filled_bars"], listed["status"]) == (3, 12, "trading")


def test_without_bronze_it_says_where_to_look(spark: "SparkSession", market: Market) -> None:
    other = changed_settings(market.settings, archive={"market": "spot"})
    with pytest.raises(NotEnoughData, match=r"market spot: SELECT .* FROM bronze.archive_files"):
        do(spark, other, clean_candles, "none")
