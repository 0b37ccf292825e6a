"""Replacements: months that supersede their days, republished files, and two runs at once."""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import pytest

from bronze import commits
from bronze.contracts import ARCHIVE_FILES, ARCHIVE_SYMBOLS, KLINES, REJECTED_LINES
from bronze.ledger import Ledger, LedgerRow
from bronze.republished import republished_files
from bronze.tasks import ingest_archive
from lakehouse import tables
from lakehouse.contracts import Column, TableContract
from lakehouse.delta_rows import rows_in
from lakehouse.errors import TableError, WriteConflict
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from lakehouse.tasks import TaskContext, TaskOutcome
from tests.pipelines import NOW, changed_settings, do, interpreted, lake_of, rows, versions
from tests.support import RUN_COLUMNS, as_csv, month_of_candles, put_file, rows_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BRONZE = (ARCHIVE_FILES, ARCHIVE_SYMBOLS, KLINES, REJECTED_LINES)
FEBRUARY = month_of_candles("2025-02", 12)
MONTHLY = "data/futures/um/monthly/klines/BTCUSDT/12h/BTCUSDT-12h-2025-02.zip"


@pytest.fixture
def quick(spark: "SparkSession") -> Iterator[None]:
    with interpreted(spark):
        yield


def put(root: Path, symbol: str, period: str, lines: list[list[object]], **how: Any) -> str:
    return put_file(root, symbol, period, as_csv(lines), interval="12h", **how)


def day(number: int) -> list[list[object]]:
    return [list(line) for line in FEBRUARY[2 * number - 2 : 2 * number]]


@dataclass
class Seen:
    """What one run left."""

    outcome: TaskOutcome
    versions: dict[str, int]
    ledger: dict[str, dict[str, Any]]
    lines: dict[str, list[tuple[int, float]]]


@dataclass
class Story:
    """Days, then their month; a file published three times; and what each run made of it."""

    spark: "SparkSession"
    settings: Settings
    runs: list[Seen]

    @property
    def lake(self) -> Lake:
        return Lake(self.spark, self.settings.warehouse)

    def ingest(self) -> None:
        outcome = do(self.spark, self.settings, ingest_archive, f"run-{len(self.runs) + 1}")
        lines: dict[str, list[tuple[int, float]]] = {}
        for row in rows(self.lake, KLINES):
            lines.setdefault(short(row["source_file"]), []).append((row["line"], row["close"]))
        ledger = {short(row["source_file"]): row for row in rows(self.lake, ARCHIVE_FILES)}
        self.runs.append(Seen(outcome, versions(self.lake, BRONZE), ledger, lines))


def short(source_file: str) -> str:
    return source_file.rpartition("/")[2].replace("-12h-", " ").removesuffix(".zip")


@pytest.fixture(scope="module")
def story(
    spark: "SparkSession", base_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Story:
    base = tmp_path_factory.mktemp("commits")
    root = base / "archive"
    changed, short_of_one = day(2), day(3)[:1]
    changed[0][4] = 100.5
    put(root, "BTCUSDT", "2025-02-01", day(1))
    put(root, "BTCUSDT", "2025-02-02", changed)
    put(root, "BTCUSDT", "2025-02-03", short_of_one)
    put(root, "BTCUSDT", "2025-02-04", day(4))
    put(root, "BTCUSDT", "2025-02-05", day(5), checksum=None)
    put(root, "ETHUSDT", "2025-02", FEBRUARY)
    put(root, "XRPUSDT", "2025-02-01", day(1))
    told = Story(spark, lake_of(base_settings, base, root, "12h"), [])
    with interpreted(spark):
        publish_and_ingest(told, root)
    return told


def publish_and_ingest(told: Story, root: Path) -> None:
    told.ingest()
    # The month lacks a bar of the fourth day, and the republication has another price.
    put(root, "BTCUSDT", "2025-02", [line for line in FEBRUARY if line != FEBRUARY[7]])
    put(root, "ETHUSDT", "2025-02", [*FEBRUARY[:3], [*FEBRUARY[3][:4], 99.5, *FEBRUARY[3][5:]]])
    told.ingest()
    told.ingest()
    put(root, "ETHUSDT", "2025-02", FEBRUARY[:5])
    told.ingest()


def test_a_month_takes_the_place_of_its_days_in_one_commit(story: Story) -> None:
    before, after = story.runs[:2]
    assert after.versions["klines"] == before.versions["klines"] + 1
    of_days = {name for name in before.lines if name.startswith("BTCUSDT")}
    assert of_days == {f"BTCUSDT 2025-02-0{n}" for n in range(1, 5)}
    assert {name for name in after.lines if name.startswith("BTCUSDT")} == {"BTCUSDT 2025-02"}
    assert len(after.lines["BTCUSDT 2025-02"]) == 55
    # A symbol without the monthly file keeps its days.
    assert after.lines["XRPUSDT 2025-02-01"] == before.lines["XRPUSDT 2025-02-01"]


def test_the_ledger_keeps_the_days_and_says_what_took_their_place(story: Story) -> None:
    before, after = story.runs[0].ledger, story.runs[1].ledger
    for number in range(1, 5):
        old, new = before[f"BTCUSDT 2025-02-0{number}"], after[f"BTCUSDT 2025-02-0{number}"]
        former = {
            "sha256": old["sha256"],
            "rows": old["rows"],
            "ingested_at": NOW,
            "replaced_at": NOW,
            "version": story.runs[0].versions["klines"],
        }
        assert new == {**old, "rows": 0, "superseded_by": MONTHLY, "former": [former]}
    refused = after["BTCUSDT 2025-02-05"]
    assert (refused["status"], refused["superseded_by"]) == ("missing_checksum", MONTHLY)
    assert after["XRPUSDT 2025-02-01"] == before["XRPUSDT 2025-02-01"]


def test_the_difference_of_days_and_month_is_counted(story: Story) -> None:
    assert story.runs[1].outcome.figures["daily files superseded"] == (
        "5; bars that their monthly files removed 1, added 1, changed 1"
    )
    assert story.runs[1].outcome.message == "2 of 3 files new or changed, 0 failed"


def test_a_run_counts_the_files_that_were_republished(story: Story) -> None:
    told = [run.outcome.figures.get("republished files") for run in story.runs]
    one = "1; `candlelake republished` tells what changed in them"
    assert told == [None, one, None, one]


@pytest.mark.parametrize("contract", [ARCHIVE_FILES, ARCHIVE_SYMBOLS])
def test_the_ledger_and_the_symbols_can_be_read_without_spark(
    story: Story, contract: TableContract
) -> None:
    folder = Path(story.settings.warehouse, contract.layer, contract.name)
    found = rows_in(folder, contract, story.settings.scope)
    assert found is not None
    key = contract.key[-1]
    by_spark = rows(story.lake, contract)
    assert by_spark
    assert sorted(found.to_pylist(), key=lambda row: row[key]) == sorted(
        by_spark, key=lambda row: row[key]
    )


def test_a_run_without_news_changes_nothing(story: Story) -> None:
    assert story.runs[2].versions == story.runs[1].versions
    assert story.runs[2].outcome.unchanged


@pytest.mark.usefixtures("quick")
def test_every_republication_is_listed_with_what_it_changed(story: Story) -> None:
    found = republished_files(story.spark, story.settings).toArrow().to_pylist()
    told = {
        (short(row["source_file"]), row["former_rows"]): (
            row["replaced_by"], row["removed"], row["added"], row["changed"]
        )
        for row in found
    }  # fmt: skip
    assert told == {
        ("BTCUSDT 2025-02-01", 2): (MONTHLY, 0, 0, 0),
        ("BTCUSDT 2025-02-02", 2): (MONTHLY, 0, 0, 1),
        ("BTCUSDT 2025-02-03", 1): (MONTHLY, 0, 1, 0),
        ("BTCUSDT 2025-02-04", 2): (MONTHLY, 1, 0, 0),
        ("ETHUSDT 2025-02", 56): ("republished", 52, 0, 1),
        ("ETHUSDT 2025-02", 4): ("republished", 0, 1, 1),
    }
    assert {row["replaced_at"] for row in found} == {NOW}


def test_the_former_rows_are_there_by_time_travel(story: Story) -> None:
    first, second = story.runs[3].ledger["ETHUSDT 2025-02"]["former"]
    assert first["version"] == story.runs[0].versions["klines"]
    assert second["version"] == story.runs[1].versions["klines"]
    past = rows(story.lake, KLINES, first["version"])
    assert sum(row["symbol"] == "ETHUSDT" for row in past) == first["rows"] == 56


@pytest.mark.usefixtures("quick")
def test_days_that_come_after_their_month_are_not_loaded(
    spark: "SparkSession", base_settings: Settings, tmp_path: Path
) -> None:
    """A listing may be stale: it lacks the monthly file, and names the days again."""
    root = tmp_path / "archive"
    settings = lake_of(base_settings, tmp_path, root, "12h")
    monthly = root / put(root, "BTCUSDT", "2025-02", FEBRUARY)
    put(root, "BTCUSDT", "2025-03", month_of_candles("2025-03", 12))
    do(spark, settings, ingest_archive, "month")
    lake = Lake(spark, settings.warehouse)
    whole = rows_of(lake, KLINES)
    monthly.rename(tmp_path / "hidden")
    put(root, "BTCUSDT", "2025-02-01", day(1))
    outcome = do(spark, settings, ingest_archive, "days")
    assert outcome.message == "all 2 files unchanged"
    assert rows_of(lake, KLINES) == whole


def kill_after_the_mark(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Cut a run short before its candles are replaced, or before the last commit of its ledger."""
    replace, seen = Lake.replace, list[TableContract]()

    def killed(self: Lake, contract: TableContract, frame: "DataFrame", where: str) -> int:
        if contract is (KLINES if moment == "before" else ARCHIVE_FILES) and seen[-1:] != []:
            raise KeyboardInterrupt
        if contract is (ARCHIVE_FILES if moment == "before" else KLINES):
            seen.append(contract)
        return replace(self, contract, frame, where)

    monkeypatch.setattr(Lake, "replace", killed)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("moment", "turns_bad"), [("after", True), ("before", False)])
def test_a_replacement_that_is_cut_short_loses_nothing(
    spark: "SparkSession",
    base_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    turns_bad: bool,
) -> None:
    root = tmp_path / "archive"
    settings = lake_of(base_settings, tmp_path, root, "12h")
    lake = Lake(spark, settings.warehouse)
    put(root, "ETHUSDT", "2025-02", FEBRUARY)
    put(root, "BTCUSDT", "2025-02-01", day(1))
    put(root, "BTCUSDT", "2025-02-02", day(2))
    do(spark, settings, ingest_archive, "days")
    klines, ledger = rows_of(lake, KLINES), rows_of(lake, ARCHIVE_FILES)

    month = [line for line in FEBRUARY if line != FEBRUARY[1]]
    put(root, "ETHUSDT", "2025-02", FEBRUARY[:4])
    put(root, "BTCUSDT", "2025-02", month)
    with monkeypatch.context() as patched:
        kill_after_the_mark(patched, moment)
        with pytest.raises(KeyboardInterrupt):
            do(spark, settings, ingest_archive, "killed")
    assert (rows_of(lake, KLINES) == klines) == (moment == "before")
    cut_short = [row for row in rows(lake, ARCHIVE_FILES) if row["status"] == "download_failed"]
    assert len(cut_short) == 4  # the month, which is new, among them

    if turns_bad:
        put(root, "ETHUSDT", "2025-02", FEBRUARY[:4], checksum="0" * 64)
        put(root, "BTCUSDT", "2025-02", month, checksum="0" * 64)
        do(spark, settings, ingest_archive, "bad")
        assert rows_of(lake, KLINES) == klines
        found = {row["source_file"]: row for row in rows(lake, ARCHIVE_FILES)}
        assert {row["status"] for name, row in found.items() if "monthly" in name} == {
            "checksum_mismatch"
        }
        kept = ("source_file", "sha256", "rows", "rejected_lines", "superseded_by", "former")
        names = [n for n in ARCHIVE_FILES.column_names if n not in RUN_COLUMNS]
        before = [dict(zip(names, row, strict=True)) for row in ledger]
        assert [{n: found[row["source_file"]][n] for n in kept} for row in before] == [
            {n: row[n] for n in kept} for row in before
        ]
        put(root, "ETHUSDT", "2025-02", FEBRUARY[:4])
        put(root, "BTCUSDT", "2025-02", month)
    outcome = do(spark, settings, ingest_archive, "good")
    assert outcome.figures["daily files superseded"] == (
        "2; bars that their monthly files removed 1, added 0, changed 0"
    )
    counts = {"ETHUSDT": 4, "BTCUSDT": 55}
    symbols = [row["symbol"] for row in rows(lake, KLINES)]
    assert {symbol: symbols.count(symbol) for symbol in symbols} == counts
    for row in rows(lake, ARCHIVE_FILES):
        assert row["status"] == "ingested"
        is_month = short(row["source_file"]) == "BTCUSDT 2025-02"
        of_before = 56 if row["symbol"] == "ETHUSDT" else 2
        assert [each["rows"] for each in row["former"] or []] == ([] if is_month else [of_before])
        for each in row["former"] or []:
            then = [line["source_file"] for line in rows(lake, KLINES, each["version"])]
            assert then.count(row["source_file"]) == of_before


def kill_before(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    """Cut a run short when its ledger would have told this of its files."""
    write = commits.write_rows

    def killed(context: TaskContext, rows: Mapping[str, LedgerRow]) -> None:
        if any(row["status"] == told for row in rows.values()):
            raise KeyboardInterrupt
        write(context, rows)

    monkeypatch.setattr(commits, "write_rows", killed)


def assert_as_the_ledger_says(lake: Lake) -> None:
    """The first law of the README, as far as bronze has a part in it."""
    told = {short(row["source_file"]): row["rows"] for row in rows(lake, ARCHIVE_FILES)}
    assert lines_by_file(lake) == {name: count for name, count in told.items() if count}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("is_first", "then"),
    [
        *((False, then) for then in ("month", "withdrawn", "other months", "other symbols")),
        # Nothing was marked, and whatever is wanted then, all lines go.
        *((True, then) for then in ("other months", "other symbols")),
    ],
)
def test_lines_of_files_that_the_next_run_does_not_want_do_not_stay(
    spark: "SparkSession",
    base_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_first: bool,
    then: str,
) -> None:
    root = tmp_path / "archive"
    settings = lake_of(base_settings, tmp_path, root, "12h")
    lake = Lake(spark, settings.warehouse)
    put(root, "ETHUSDT", "2025-03", month_of_candles("2025-03", 12))
    if not is_first:
        do(spark, settings, ingest_archive, "first")
    days = [root / put(root, "BTCUSDT", f"2025-02-0{n}", day(n)) for n in (1, 2)]
    put_file(root, "BTCUSDT", "2025-02-03", as_csv(day(3)) + b"broken\n", interval="12h")
    with monkeypatch.context() as patched:
        kill_before(patched, "ingested")
        with pytest.raises(KeyboardInterrupt):
            do(spark, settings, ingest_archive, "killed")
    assert "BTCUSDT 2025-02-01" in lines_by_file(lake)
    if then == "month":
        put(root, "BTCUSDT", "2025-02", FEBRUARY)
    elif then == "withdrawn":
        for path in days:
            path.unlink()
    elif then == "other months":
        settings = changed_settings(settings, archive={"start": "2025-03", "end": "2025-03"})
    else:
        universe = {"mode": "symbols", "symbols": ("ETHUSDT",)}
        settings = changed_settings(settings, universe=universe)
    outcome = do(spark, settings, ingest_archive, "next")
    assert not outcome.unchanged
    assert_as_the_ledger_says(lake)
    assert {"BTCUSDT 2025-02-01", "BTCUSDT 2025-02-02"}.isdisjoint(lines_by_file(lake))
    unparsed = [short(row["source_file"]) for row in rows(lake, REJECTED_LINES)]
    assert unparsed == (["BTCUSDT 2025-02-03"] if then == "withdrawn" else [])
    before = versions(lake, BRONZE)
    assert do(spark, settings, ingest_archive, "again").unchanged
    assert versions(lake, BRONZE) == before


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("moment", "then"), [("before", "withdrawn"), ("after", "other months")])
def test_a_cut_short_replacement_that_the_next_run_does_not_want_is_undone(
    spark: "SparkSession",
    base_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    then: str,
) -> None:
    root = tmp_path / "archive"
    settings = lake_of(base_settings, tmp_path, root, "12h")
    lake = Lake(spark, settings.warehouse)
    replaced = root / put(root, "ETHUSDT", "2025-02", FEBRUARY)
    put(root, "BTCUSDT", "2025-03", month_of_candles("2025-03", 12))
    do(spark, settings, ingest_archive, "first")
    klines, ledger = rows_of(lake, KLINES), rows_of(lake, ARCHIVE_FILES)
    put(root, "ETHUSDT", "2025-02", FEBRUARY[:4])
    with monkeypatch.context() as patched:
        kill_after_the_mark(patched, moment)
        with pytest.raises(KeyboardInterrupt):
            do(spark, settings, ingest_archive, "killed")
    if then == "withdrawn":
        replaced.unlink()
    else:
        settings = changed_settings(settings, archive={"start": "2025-03"})
    outcome = do(spark, settings, ingest_archive, "next")
    assert not outcome.unchanged
    assert outcome.figures["files that a killed run had left half done"] == "1"
    assert rows_of(lake, KLINES) == klines
    assert rows_of(lake, ARCHIVE_FILES) == ledger


@pytest.mark.usefixtures("quick")
def test_two_runs_whose_commits_lie_around_each_other_end_with_the_newer_edition(
    spark: "SparkSession",
    base_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where no lock keeps them apart: lines of the second, lines of the first, the ledger."""
    old, new = (tmp_path / name for name in ("late mirror", "archive"))
    settings = lake_of(base_settings, tmp_path, new, "12h")
    lake = Lake(spark, settings.warehouse)
    put(new, "ETHUSDT", "2025-02", FEBRUARY)
    do(spark, settings, ingest_archive, "first")
    for root, close in ((old, 98.5), (new, 99.5)):
        edition = [[*FEBRUARY[0][:4], close, *FEBRUARY[0][5:]], *FEBRUARY[1:]]
        put(root, "ETHUSDT", "2025-02", edition)
    replace, events = commits._replace_lines, defaultdict[str, Event](Event)

    def in_that_order(context: TaskContext, *given: Any) -> None:
        if context.run_id == "one":
            events["one has planned"].set()
            assert events["lines of two"].wait(300)
        replace(context, *given)
        if context.run_id == "two":
            events["lines of two"].set()
            assert events["one has ended"].wait(300)

    monkeypatch.setattr(commits, "_replace_lines", in_that_order)

    def one() -> None:
        try:
            do(spark, changed_settings(settings, archive={"url": str(old)}), ingest_archive, "one")
        finally:
            events["one has ended"].set()

    def two() -> None:
        assert events["one has planned"].wait(300)
        do(spark, settings, ingest_archive, "two")

    with ThreadPoolExecutor(2) as pool:
        for run in [pool.submit(one), pool.submit(two)]:
            with pytest.raises(WriteConflict, match="another run loaded files of the same months"):
                run.result()
    do(spark, settings, ingest_archive, "again")
    assert_as_the_ledger_says(lake)
    assert [row["close"] for row in rows(lake, KLINES)][:2] == [99.5, FEBRUARY[1][4]]
    assert do(spark, settings, ingest_archive, "once more").unchanged


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("change", ["republished", "gone"])
def test_a_file_that_changes_while_it_is_loaded_is_planned_again(
    spark: "SparkSession",
    base_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    root = tmp_path / "archive"
    settings = lake_of(base_settings, tmp_path, root, "12h")
    lake = Lake(spark, settings.warehouse)
    put(root, "ETHUSDT", "2025-02", FEBRUARY)
    put(root, "BTCUSDT", "2025-02", FEBRUARY)
    do(spark, settings, ingest_archive, "first")
    changing = root / put(root, "ETHUSDT", "2025-02", FEBRUARY[:4])
    put(root, "BTCUSDT", "2025-02", FEBRUARY[:5])
    replace, times = commits._replace_lines, list[str]()

    def changed(context: TaskContext, *given: Any) -> None:
        if not times and change == "gone":
            changing.rename(tmp_path / "gone")
        elif not times:
            put(root, "ETHUSDT", "2025-02", FEBRUARY[:3])
        times.append(context.run_id)
        replace(context, *given)

    monkeypatch.setattr(commits, "_replace_lines", changed)
    assert ingest_archive.run(spark, settings, "run", "test").status == "succeeded"
    assert len(times) == 2
    of_changed = 56 if change == "gone" else 3
    assert lines_by_file(lake) == {"BTCUSDT 2025-02": 5, "ETHUSDT 2025-02": of_changed}
    assert_as_the_ledger_says(lake)


@pytest.mark.usefixtures("quick")
def test_a_run_that_is_overtaken_tells_the_same_difference(
    spark: "SparkSession",
    base_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path / "archive"
    settings = lake_of(base_settings, tmp_path, root, "12h")
    lake = Lake(spark, settings.warehouse)
    put(root, "ETHUSDT", "2025-02", FEBRUARY)
    do(spark, settings, ingest_archive, "first")
    put(root, "ETHUSDT", "2025-02", FEBRUARY[:4])
    read = Ledger.read

    def overtaken(context: TaskContext) -> Ledger:
        ledger = read(context)
        if context.run_id == "slow":
            do(spark, settings, ingest_archive, "fast")
        return ledger

    monkeypatch.setattr(Ledger, "read", overtaken)
    with pytest.raises(WriteConflict, match=r"another run loaded files of the same months"):
        do(spark, settings, ingest_archive, "slow")
    do(spark, settings, ingest_archive, "slow, again")
    (row,) = rows(lake, ARCHIVE_FILES)
    (former,) = row["former"]
    assert len(rows(lake, KLINES, former["version"])) == former["rows"] == len(FEBRUARY)
    (told,) = republished_files(spark, settings).toArrow().to_pylist()
    assert (told["removed"], told["added"], told["changed"]) == (52, 0, 0)
    assert len(rows(lake, KLINES)) == 4


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("contract", [KLINES, REJECTED_LINES])
def test_a_table_of_other_columns_stops_a_load_before_the_ledger_tells_of_it(
    spark: "SparkSession",
    base_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    contract: TableContract,
) -> None:
    root = tmp_path / "archive"
    settings = lake_of(base_settings, tmp_path, root, "12h")
    lake = Lake(spark, settings.warehouse)
    put(root, "ETHUSDT", "2025-02", FEBRUARY)
    do(spark, settings, ingest_archive, "first")
    known = rows(lake, ARCHIVE_FILES)
    shutil.rmtree(Path(settings.warehouse, contract.layer, contract.name))
    monkeypatch.setattr(tables, "_created", WeakKeyDictionary())  # as in a new session
    other = replace(contract, columns=(*contract.columns, Column("more", "INT", "More")))
    lake.create(other)
    put(root, "BTCUSDT", "2025-02", FEBRUARY)
    with pytest.raises(TableError, match=f"{contract.full_name} .* has other columns"):
        do(spark, settings, ingest_archive, "second")
    assert rows(lake, ARCHIVE_FILES) == known


@pytest.mark.usefixtures("quick")
def test_a_broken_month_takes_the_place_of_no_day(
    spark: "SparkSession",
    base_settings: Settings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    root = tmp_path / "archive"
    settings = lake_of(base_settings, tmp_path, root, "12h")
    lake = Lake(spark, settings.warehouse)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        put(root, symbol, "2025-02-01", day(1))
        put(root, symbol, "2025-02-02", day(2))
    mostly_bad = as_csv(FEBRUARY[:1]) + b"broken\n" * 55
    put_file(root, "BTCUSDT", "2025-02", mostly_bad, interval="12h")
    put(root, "ETHUSDT", "2025-02", FEBRUARY, checksum="0" * 64)
    outcome = do(spark, settings, ingest_archive, "first")
    counted = {"BTCUSDT 2025-02": 1, "BTCUSDT 2025-02-01": 2, "BTCUSDT 2025-02-02": 2}
    counted |= {"ETHUSDT 2025-02-01": 2, "ETHUSDT 2025-02-02": 2}
    assert lines_by_file(lake) == counted
    assert outcome.figures["months that supersede no days"] == (
        "BTCUSDT-12h-2025-02.zip: 55 rejected lines"
    )
    before = versions(lake, BRONZE)
    assert do(spark, settings, ingest_archive, "again").unchanged
    assert versions(lake, BRONZE) == before

    put(root, "ETHUSDT", "2025-02", FEBRUARY)
    # Time travel ends: the load must not, and the report says what it cannot tell.
    keep = "'delta.deletedFileRetentionDuration' = 'interval 0 hours'"
    spark.sql(f"ALTER TABLE {lake.name(KLINES)} SET TBLPROPERTIES ({keep})")
    outcome = do(spark, settings, ingest_archive, "repaired")
    assert lines_by_file(lake)["ETHUSDT 2025-02"] == 56
    assert outcome.figures["daily files superseded"] == (
        "2; bars that their monthly files changed: not known, see the log"
    )
    told = republished_files(spark, settings).toArrow().to_pylist()
    assert {row["removed"] for row in told} == {None}
    assert len(told) == 2
    assert "no longer kept of bronze.klines: versions" in caplog.text


def lines_by_file(lake: Lake) -> dict[str, int]:
    names = [short(row["source_file"]) for row in rows(lake, KLINES)]
    return {name: names.count(name) for name in names}


@pytest.mark.usefixtures("quick")
def test_months_in_any_order_and_two_runs_at_once_end_as_one_run(
    spark: "SparkSession", base_settings: Settings, tmp_path: Path
) -> None:
    root = tmp_path / "archive"
    for month in ("2024-12", "2025-01", "2025-02"):
        for symbol in ("AUSDT", "BUSDT"):
            put(root, symbol, month, month_of_candles(month, 12))
    put_file(root, "CUSDT", "2025-01", b"broken\n" + as_csv(FEBRUARY[:2]), interval="12h")
    put(root, "DUSDT", "2025-01-01", month_of_candles("2025-01", 12)[:2])

    def fresh(name: str) -> Settings:
        return lake_of(base_settings, tmp_path / name, root, "12h")

    once, ordered, twice = fresh("once"), fresh("ordered"), fresh("twice")
    do(spark, once, ingest_archive, "once")
    for month in ("2025-02", "2024-12", "2025-01"):
        part = changed_settings(ordered, archive={"start": month, "end": month})
        do(spark, part, ingest_archive, f"only {month}")
    with ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(ingest_archive.run, spark, twice, run_id, "test")
            for run_id in ("left", "right")
        ]
        assert {run.result().status for run in both} <= {"succeeded", "unchanged"}
    expected = {each.name: rows_of(Lake(spark, once.warehouse), each) for each in BRONZE}
    assert all(expected.values())
    for settings in (ordered, twice):
        lake = Lake(spark, settings.warehouse)
        assert {each.name: rows_of(lake, each) for each in BRONZE} == expected
