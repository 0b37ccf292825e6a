"""The condition on source files, asked of SQLite, whose `substr` counts from the end as Spark's."""

import sqlite3
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bronze.archive import files_prefix, parse_key
from bronze.conditions import in_files
from lakehouse.errors import ArchiveError

SYMBOLS = ("BTCUSDT", "1000PEPEUSDT", "币安人生USDT", "BTCUSDT_250328")
PERIODS = ("2024-12", "2025-01", "2025-01-01", "2025-01-31", "2024-12-31")


def name_of(symbol: str, period: str) -> str:
    prefix = files_prefix("um", "monthly" if len(period) == 7 else "daily", symbol, "4h")
    return f"{prefix}{symbol}-4h-{period}.zip"


ALL = [name_of(symbol, period) for symbol, period in product(SYMBOLS, PERIODS)]


def found(condition: str) -> set[str]:
    with sqlite3.connect(":memory:") as database:
        database.create_function("startswith", 2, str.startswith)
        database.execute("CREATE TABLE rows (source_file TEXT, symbol TEXT)")
        keys = [key for key in map(parse_key, ALL) if key]
        rows = [(key.source_file, key.symbol) for key in keys]
        database.executemany("INSERT INTO rows VALUES (?, ?)", rows)
        return {
            row[0] for row in database.execute(f"SELECT source_file FROM rows WHERE {condition}")
        }


@settings(max_examples=50, deadline=None)
@given(names=st.sets(st.sampled_from(ALL)))
def test_it_holds_for_these_files_and_for_no_other(names: set[str]) -> None:
    assert found(in_files(names)) == names


def test_thousands_of_files_are_a_short_text() -> None:
    symbols = [f"COIN{n}USDT" for n in range(500)]
    months = [f"{year}-{month:02d}" for year in range(2016, 2026) for month in range(1, 13)]
    names = [name_of(symbol, month) for symbol, month in product(symbols, months)]
    assert len(in_files(names)) < 15_000
    # A symbol that lacks a month costs the symbols of that month once more.
    assert len(in_files(names[1:])) < 30_000


def test_what_is_no_source_file_is_refused() -> None:
    with pytest.raises(ArchiveError, match="not the key of a candle file"):
        in_files(["data/spot/readme.zip"])
