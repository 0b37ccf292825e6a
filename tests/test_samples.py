"""The samples are what their README says: layout, checksums, sets, counts and size."""

import hashlib
import re
import zipfile
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

SAMPLES = Path(__file__).parents[1] / "samples"
DATA = SAMPLES / "data"
MAX_BYTES = 10_000_000

PERPETUALS_4H = "futures/um/monthly/klines/*/4h"
PERPETUALS_1M = "futures/um/daily/klines/*/1m"
SPOT_4H = "spot/monthly/klines/*/4h"
SPOT_1M = "spot/daily/klines/*/1m"
SETS = (PERPETUALS_4H, PERPETUALS_1M, SPOT_4H, SPOT_1M)

MONTHS = [f"2024-{month:02}" for month in (10, 11, 12)]
MONTHS += [f"2025-{month:02}" for month in range(1, 13)]
MINUTE_DAYS = [f"2026-02-{day:02}" for day in range(1, 6)]
SPOT_DAYS = [f"2020-01-{day:02}" for day in range(1, 4)]
SPOT_SYMBOLS = {
    f"{coin}USDT"
    for coin in ("ADA", "AVAX", "BNB", "BTC", "DOGE", "DOT", "ETH", "LINK", "SOL", "XRP")
}
MINUTE_SYMBOLS = {f"{coin}USDT" for coin in ("ALGO", "AVAX", "DOT", "FIL", "LINK", "LTC", "NEAR")}

HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore"
)
BAR = {"1m": timedelta(minutes=1), "4h": timedelta(hours=4)}
KEY = re.compile(
    r"(?:spot|futures/um)/(?:monthly|daily)/klines/(?P<symbol>[A-Z0-9]+)/(?P<interval>1m|4h)/"
    r"(?P=symbol)-(?P=interval)-(?P<period>\d{4}-\d{2}(?:-\d{2})?)\.zip(?:\.CHECKSUM)?"
)


class Sample(NamedTuple):
    """One ZIP, read."""

    path: Path
    symbol: str
    interval: str
    period: str
    has_header: bool
    rows: list[list[str]]


def read(path: Path) -> Sample:
    key = KEY.fullmatch(path.relative_to(DATA).as_posix())
    assert key, f"{path} does not follow the archive's layout"
    with zipfile.ZipFile(path) as archive:
        lines = archive.read(f"{path.stem}.csv").decode("ascii").splitlines()
    has_header = lines[0] == HEADER
    rows = [line.split(",") for line in lines[has_header:]]
    return Sample(path, key["symbol"], key["interval"], key["period"], has_header, rows)


def zips(folder: str = "**") -> list[Path]:
    return sorted(DATA.glob(f"{folder}/*.zip"))


@pytest.fixture(scope="module")
def samples() -> dict[str, list[Sample]]:
    return {name: [read(path) for path in zips(name)] for name in SETS}


def periods_by_symbol(files: list[Sample]) -> dict[str, list[str]]:
    periods: dict[str, list[str]] = defaultdict(list)
    for file in files:
        periods[file.symbol].append(file.period)
    return periods


def period_bounds(period: str) -> tuple[datetime, datetime]:
    daily = len(period) == len("2026-02-01")
    first = date.fromisoformat(period if daily else f"{period}-01")
    # 32 days after the first of a month is always in the next one.
    end = first + timedelta(days=1) if daily else (first + timedelta(days=32)).replace(day=1)
    start_of_day = datetime.min.time()
    return (
        datetime.combine(first, start_of_day, UTC),
        datetime.combine(end, start_of_day, UTC),
    )


def unit_of(file: Sample) -> int:
    """Ticks in one second: spot files changed to microseconds at 2025-01-01."""
    return 1_000_000 if "/spot/" in file.path.as_posix() and file.period >= "2025" else 1_000


def test_all_files_together_stay_within_10_mb() -> None:
    size = sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file())
    assert size <= MAX_BYTES


def test_only_archive_files_and_the_readme_are_there() -> None:
    files = [path for path in SAMPLES.rglob("*") if path.is_file()]
    strangers = [
        path
        for path in files
        if path != SAMPLES / "README.md"
        and not (path.is_relative_to(DATA) and KEY.fullmatch(path.relative_to(DATA).as_posix()))
    ]
    assert strangers == []
    assert len(zips()) == sum(len(zips(name)) for name in SETS)


def test_each_zip_has_its_checksum_and_each_checksum_its_zip() -> None:
    checksums = {path.with_suffix("") for path in DATA.rglob("*.CHECKSUM")}
    assert checksums == set(zips())
    for path in zips():
        published = path.with_name(f"{path.name}.CHECKSUM").read_text("ascii")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        # Binance's own checksum files end without a line feed.
        assert published.removesuffix("\n") == f"{digest}  {path.name}", path


def test_each_zip_holds_one_csv_of_its_own_name() -> None:
    for path in zips():
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist() == [f"{path.stem}.csv"], path


def test_perpetuals_have_early_and_late_listings_and_none_leaves(
    samples: dict[str, list[Sample]],
) -> None:
    periods = periods_by_symbol(samples[PERPETUALS_4H])
    assert len(periods) >= 60
    assert set(periods) >= SPOT_SYMBOLS | MINUTE_SYMBOLS
    for symbol, months in periods.items():
        assert months == MONTHS[-len(months) :], symbol
    first = [months[0] for months in periods.values()]
    assert first.count("2024-10") >= 30
    assert sum("2025-05" <= month <= "2025-10" for month in first) >= 5
    assert sum(month >= "2025-11" for month in first) >= 5


@pytest.mark.parametrize(
    ("name", "symbols", "periods"),
    [
        (PERPETUALS_1M, MINUTE_SYMBOLS, MINUTE_DAYS),
        (SPOT_4H, SPOT_SYMBOLS, MONTHS),
        (SPOT_1M, {"BTCUSDT"}, SPOT_DAYS),
    ],
)
def test_each_symbol_of_a_set_has_all_its_periods(
    samples: dict[str, list[Sample]], name: str, symbols: set[str], periods: list[str]
) -> None:
    assert periods_by_symbol(samples[name]) == dict.fromkeys(symbols, periods)


def test_futures_have_a_header_and_spot_has_none(samples: dict[str, list[Sample]]) -> None:
    for name, files in samples.items():
        assert {file.has_header for file in files} == {name.startswith("futures")}, name


def test_rows_are_whole_on_the_grid_without_holes_and_within_their_period(
    samples: dict[str, list[Sample]],
) -> None:
    for file in (file for files in samples.values() for file in files):
        assert {len(row) for row in file.rows} == {12}, file.path
        unit = unit_of(file)
        step = int(BAR[file.interval].total_seconds()) * unit
        start, end = (int(bound.timestamp()) * unit for bound in period_bounds(file.period))
        open_times = [int(row[0]) for row in file.rows]
        # Every file ends with its period; only a listing's first month may begin late.
        assert open_times == list(range(open_times[0], end, step)), file.path
        assert open_times[0] >= start, file.path
        assert open_times[0] % step == 0, file.path
        assert [int(row[6]) for row in file.rows] == [t + step - 1 for t in open_times], file.path


def test_only_a_first_month_begins_after_its_period(samples: dict[str, list[Sample]]) -> None:
    first = {
        symbol: months[0] for symbol, months in periods_by_symbol(samples[PERPETUALS_4H]).items()
    }
    for name, files in samples.items():
        for file in files:
            start = int(period_bounds(file.period)[0].timestamp()) * unit_of(file)
            may_be_late = name == PERPETUALS_4H and first[file.symbol] == file.period
            assert may_be_late or int(file.rows[0][0]) == start, file.path


def test_taker_columns_are_zero_in_4h_perpetuals_and_real_elsewhere(
    samples: dict[str, list[Sample]],
) -> None:
    for name, files in samples.items():
        for file in files:
            taker = sum(float(row[9]) for row in file.rows)
            assert (taker == 0) == (name == PERPETUALS_4H), file.path


@pytest.mark.parametrize("name", SETS)
def test_readme_table_is_measured(samples: dict[str, list[Sample]], name: str) -> None:
    files = samples[name]
    readme = (SAMPLES / "README.md").read_text("utf-8")
    line = next(line for line in readme.splitlines() if line.startswith(f"| `data/{name}` |"))
    symbols, count, rows = (int(c.replace(",", "")) for c in line.split("|")[3:6])
    assert symbols == len({file.symbol for file in files})
    assert count == len(files)
    assert rows == sum(len(file.rows) for file in files)


def test_readme_size_is_measured() -> None:
    size = sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file())
    assert f"{size:,} bytes" in (SAMPLES / "README.md").read_text("utf-8")
