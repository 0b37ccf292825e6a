from dataclasses import replace
from typing import Any, get_args

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bronze.archive import Cadence, ListedFile, files_prefix, parse_key
from bronze.contracts import FileStatus
from bronze.plan import (
    BEING_LOADED,
    CUT_SHORT,
    Doubts,
    Hole,
    LedgerEntry,
    daily_files_of,
    doubts_of,
    hidden_days,
    holes,
    missing_days,
    months_between,
    needs_reading,
    periods_of,
    wanted_files,
    whole_months,
)

SHA256 = "a" * 64


def listed(symbol: str, period: str) -> ListedFile:
    cadence: Cadence = "monthly" if len(period) == 7 else "daily"
    prefix = files_prefix("um", cadence, symbol, "4h")
    key = parse_key(f"{prefix}{symbol}-4h-{period}.zip")
    assert key is not None
    return ListedFile(key, 100, SHA256)


def entry(file: ListedFile, **changes: Any) -> LedgerEntry:
    """The ledger's entry of a listed file that was ingested as it is."""
    key = file.key
    ingested = LedgerEntry(
        "ingested", file.published_sha256, file.size_bytes, key.cadence, key.symbol, key.month,
        rows=10, rejected_lines=0, superseded_by=None,
    )  # fmt: skip
    return replace(ingested, **changes)


def periods(files: tuple[ListedFile, ...]) -> list[tuple[str, str]]:
    return [(file.key.symbol, file.key.period) for file in files]


@pytest.mark.parametrize(
    ("start", "end", "months"),
    [
        ("2024-11", "2025-02", ("2024-11", "2024-12", "2025-01", "2025-02")),
        ("2025-01", "2025-01", ("2025-01",)),
        ("2025-02", "2025-01", ()),
    ],
)
def test_months_between(start: str, end: str, months: tuple[str, ...]) -> None:
    assert months_between(start, end) == months


def test_daily_files_stand_in_only_where_a_symbol_has_no_monthly_file() -> None:
    files = [
        listed("BTCUSDT", "2025-02-02"),
        listed("BTCUSDT", "2025-02-01"),
        listed("BTCUSDT", "2025-01-31"),
        listed("BTCUSDT", "2025-01"),
        listed("ETHUSDT", "2025-01-31"),
    ]
    assert periods(wanted_files(files, "2025-01", "2025-02")) == [
        ("BTCUSDT", "2025-02-01"),
        ("BTCUSDT", "2025-02-02"),
        ("ETHUSDT", "2025-01-31"),
        ("BTCUSDT", "2025-01"),
    ]


def test_start_and_end_are_inclusive() -> None:
    files = [listed("BTCUSDT", month) for month in months_between("2024-11", "2025-04")]
    files.append(listed("BTCUSDT", "2025-05-01"))
    assert [period for _, period in periods(wanted_files(files, "2024-12", "2025-03"))] == [
        "2024-12",
        "2025-01",
        "2025-02",
        "2025-03",
    ]
    assert wanted_files(files, "2026-01", "2026-12") == ()


def test_a_daily_file_of_another_interval_or_market_is_not_covered() -> None:
    spot = parse_key("data/spot/daily/klines/BTCUSDT/4h/BTCUSDT-4h-2025-01-01.zip")
    minutes = parse_key("data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01-01.zip")
    assert spot is not None
    assert minutes is not None
    files = [listed("BTCUSDT", "2025-01"), ListedFile(spot, 1, None), ListedFile(minutes, 1, None)]
    assert len(wanted_files(files, "2025-01", "2025-01")) == 3


def test_holes_lie_between_months_that_exist() -> None:
    files = [
        listed("BTCUSDT", "2024-10"),
        listed("BTCUSDT", "2025-01"),
        listed("BTCUSDT", "2025-02-03"),
        listed("BTCUSDT", "2025-04"),
        listed("NEWUSDT", "2025-03"),
    ]
    periods = periods_of(files)
    assert holes(periods, "2024-10", "2025-12") == (
        Hole("BTCUSDT", "2024-11"),
        Hole("BTCUSDT", "2024-12"),
        Hole("BTCUSDT", "2025-03"),
    )
    # A month outside of the range shows that the symbol lived on, and is itself not asked for.
    assert holes(periods, "2024-12", "2025-02") == (Hole("BTCUSDT", "2024-12"),)
    assert holes(periods, "2026-01", "2026-12") == ()
    assert holes({}, "2024-10", "2025-12") == ()


MONTHS = [str(month) for month in pd.period_range("2024-11", "2025-04", freq="M")]
FILES = st.lists(
    st.builds(
        listed,
        st.sampled_from(["BTCUSDT", "ETHUSDT"]),
        st.sampled_from(MONTHS + [f"{month}-{day}" for month in MONTHS for day in ("01", "28")]),
    ),
    unique=True,
)


@settings(max_examples=100, deadline=None)
@given(files=FILES, start=st.sampled_from(MONTHS), end=st.sampled_from(MONTHS))
def test_every_month_is_covered_once_or_named(
    files: list[ListedFile], start: str, end: str
) -> None:
    wanted = wanted_files(files, start, end)
    missing = {(hole.symbol, hole.period) for hole in holes(periods_of(files), start, end)}
    for symbol in ("BTCUSDT", "ETHUSDT"):
        has = {file.key.month for file in files if file.key.symbol == symbol}
        for month in MONTHS:
            of_month = {f for f in files if (f.key.symbol, f.key.month) == (symbol, month)}
            monthly = {file for file in of_month if file.key.cadence == "monthly"}
            expected = (monthly or of_month) if start <= month <= end else set()
            taken = [f for f in wanted if (f.key.symbol, f.key.month) == (symbol, month)]
            assert len(taken) == len(expected)
            assert set(taken) == expected
            inside = start <= month <= end and bool(has) and min(has) < month < max(has)
            assert ((symbol, month) in missing) == (inside and month not in has)


def test_days_are_missing_between_two_files_of_a_month_without_a_monthly_one() -> None:
    files = [
        listed("BTCUSDT", "2025-01"),
        listed("BTCUSDT", "2025-02-03"),
        *(listed("BTCUSDT", f"2025-02-{day:02d}") for day in range(5, 29)),
        listed("BTCUSDT", "2025-03-02"),
        # A month with a monthly file lacks no day; nor does what comes before or after all files.
        listed("ETHUSDT", "2025-01-05"),
        listed("ETHUSDT", "2025-01-06"),
        listed("XRPUSDT", "2025-01-05"),
        listed("XRPUSDT", "2025-01"),
    ]
    days = ("2025-02-01", "2025-02-02", "2025-02-04", "2025-03-01")
    missing = missing_days(periods_of(files), "2025-01", "2025-03")
    assert missing == tuple(Hole("BTCUSDT", day) for day in days)
    # The last day of the range is missing too: a later file shows that the symbol lived on.
    later = {"ADAUSDT": ("2025-01-30", "2025-02-01")}
    assert missing_days(later, "2025-01", "2025-01") == (Hole("ADAUSDT", "2025-01-31"),)
    assert missing_days(later, "2025-02", "2025-02") == ()
    assert missing_days({}, "2025-01", "2025-03") == ()


def test_days_come_to_light_when_their_month_turns_out_broken() -> None:
    archive = {"BTCUSDT": ("2025-01", "2025-01-05", "2025-02-01"), "ETHUSDT": ("2025-01-05",)}
    january = listed("BTCUSDT", "2025-01")
    day = listed("BTCUSDT", "2025-01-05")

    def hidden(broken: set[tuple[str, str]], *planned: ListedFile, end: str = "2025-03") -> bool:
        return hidden_days(archive, planned, "2025-01", end, Doubts(frozenset(broken)))

    assert hidden({("BTCUSDT", "2025-01")}, january)
    assert not hidden({("BTCUSDT", "2025-01")}, january, day)
    assert not hidden(set(), january)
    assert not hidden({("BTCUSDT", "2025-03"), ("NEWUSDT", "2025-01")}, january)
    assert hidden({("BTCUSDT", "2025-02")}, january)
    assert not hidden({("BTCUSDT", "2025-02")}, january, end="2025-01")


def test_an_ingested_and_unchanged_file_is_skipped() -> None:
    file = listed("BTCUSDT", "2025-01")
    assert needs_reading([file], {file.key.source_file: entry(file)}) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"published_sha256": "b" * 64},
        {"published_sha256": None},
        {"size_bytes": 101},
        {"size_bytes": None},
        *({"status": status} for status in get_args(FileStatus) if status != "ingested"),
    ],
)
def test_a_changed_or_failed_file_is_read_again(changes: dict[str, Any]) -> None:
    file = listed("BTCUSDT", "2025-01")
    assert needs_reading([file], {file.key.source_file: entry(file, **changes)}) == (file,)


def test_a_file_without_a_checksum_is_read_again_whatever_its_size_says() -> None:
    unsigned = replace(listed("BTCUSDT", "2025-01"), published_sha256=None)
    known = entry(unsigned, published_sha256=None)
    assert (known.status, known.size_bytes) == ("ingested", unsigned.size_bytes)
    assert needs_reading([unsigned], {unsigned.key.source_file: known}) == (unsigned,)


def test_new_files_are_read_in_the_given_order() -> None:
    old, new, newer = (listed("BTCUSDT", f"2025-0{month}") for month in (1, 2, 3))
    assert needs_reading([newer, old, new], {old.key.source_file: entry(old)}) == (newer, new)


def test_a_checksum_that_disappeared_or_appeared_is_a_change() -> None:
    with_checksum = listed("BTCUSDT", "2025-01")
    without = replace(with_checksum, published_sha256=None)
    ledger = {without.key.source_file: entry(without)}
    assert needs_reading([with_checksum], ledger) == (with_checksum,)
    signed = {with_checksum.key.source_file: entry(with_checksum)}
    assert needs_reading([without], signed) == (without,)


def test_a_day_is_read_only_while_its_month_is_not_there_as_a_whole() -> None:
    day, month = listed("BTCUSDT", "2025-01-05"), listed("BTCUSDT", "2025-01")
    other = listed("ETHUSDT", "2025-01-05")
    there = {month.key.source_file: entry(month)}
    assert needs_reading([day, other], there) == (other,)
    assert whole_months(there) == {("BTCUSDT", "2025-01"): month.key.source_file}
    # Its republication failed: its lines are still there.
    failed = {month.key.source_file: entry(month, status="corrupt_zip")}
    assert needs_reading([day], failed) == ()
    never = {month.key.source_file: entry(month, status="corrupt_zip", rows=0)}
    assert needs_reading([day], never) == (day,)
    assert whole_months(never) == {}


@pytest.mark.parametrize(
    ("status", "rows", "rejected_lines"),
    [("corrupt_zip", 0, 0), ("unexpected_content", 0, 9), ("ingested", 1, 55)],
)
def test_a_broken_month_hides_no_days(status: FileStatus, rows: int, rejected_lines: int) -> None:
    day, month = listed("BTCUSDT", "2025-01-05"), listed("BTCUSDT", "2025-01")
    broken = entry(month, status=status, rows=rows, rejected_lines=rejected_lines)
    # It was superseded while the month was good.
    gone = entry(day, rows=0, superseded_by=month.key.source_file)
    ledger = {month.key.source_file: broken, day.key.source_file: gone}
    assert doubts_of(ledger).broken == {("BTCUSDT", "2025-01")}
    wanted = wanted_files([day, month], "2025-01", "2025-01", doubts_of(ledger).broken)
    assert wanted == (day, month)
    assert needs_reading([day], ledger) == (day,)
    assert whole_months(ledger) == {}
    repaired = {**ledger, month.key.source_file: entry(month)}
    assert doubts_of(repaired).broken == set()
    assert needs_reading([day], repaired) == ()
    for error in (CUT_SHORT, BEING_LOADED):
        cut_short = entry(month, status="download_failed", rows=0, error=error)
        assert cut_short.is_half_done
        assert doubts_of({month.key.source_file: cut_short}).broken == set()


def test_a_mismatch_is_in_doubt() -> None:
    bad, good = listed("BTCUSDT", "2025-01"), listed("BTCUSDT", "2025-02")
    ledger = {
        bad.key.source_file: entry(bad, status="checksum_mismatch"),
        good.key.source_file: entry(good),
    }
    assert doubts_of(ledger).damaged == {bad.key.source_file}


def test_the_days_of_a_month_are_found_in_the_ledger() -> None:
    days = [listed("BTCUSDT", f"2025-01-0{day}") for day in (1, 2)]
    others = [listed("BTCUSDT", "2025-01"), listed("BTCUSDT", "2025-02-01"), listed("X", "2025-01")]
    ledger = {file.key.source_file: entry(file) for file in (*days, *others)}
    month = ("BTCUSDT", "2025-01")
    assert daily_files_of({month}, ledger) == {month: [file.key.source_file for file in days]}
