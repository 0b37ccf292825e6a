import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bronze import archive
from bronze.archive import (
    ArchiveKey,
    Cadence,
    Market,
    files_prefix,
    klines_prefix,
    list_folder,
    parse_checksum,
    parse_key,
)
from lakehouse.errors import ArchiveError
from lakehouse.intervals import INTERVALS, Interval

MONTHLY = "data/futures/um/monthly/klines/BTCUSDT/4h/BTCUSDT-4h-2025-01.zip"
DAILY = "data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2020-01-01.zip"
SHA256 = hashlib.sha256(b"candles").hexdigest()


def test_monthly_key() -> None:
    key = parse_key(MONTHLY)
    assert key == ArchiveKey(MONTHLY, "um", "monthly", "BTCUSDT", "4h", "2025-01")
    assert key.month == "2025-01"
    assert key.file_name == "BTCUSDT-4h-2025-01.zip"
    assert key.member_name == "BTCUSDT-4h-2025-01.csv"


def test_daily_key() -> None:
    key = parse_key(DAILY)
    assert key == ArchiveKey(DAILY, "spot", "daily", "BTCUSDT", "1m", "2020-01-01")
    assert key.month == "2020-01"


@pytest.mark.parametrize(
    "source_file",
    [
        "",
        "/" + MONTHLY,
        MONTHLY + "\n",
        MONTHLY + ".CHECKSUM",
        MONTHLY.replace(".zip", ".ZIP"),
        MONTHLY.replace("futures/um", "futures/cm"),
        MONTHLY.replace("futures/um", "um"),
        MONTHLY.replace("klines", "trades"),
        MONTHLY.replace("monthly", "weekly"),
        MONTHLY.replace("4h", "4x"),
        MONTHLY.replace("4h", "1s"),
        MONTHLY.replace("/4h/", "/1h/"),
        MONTHLY.replace("BTCUSDT-", "ETHUSDT-"),
        MONTHLY.replace("2025-01", "2025-13"),
        MONTHLY.replace("2025-01", "2025-00"),
        MONTHLY.replace("2025-01", "0000-01"),
        MONTHLY.replace("2025-01", "2025-1"),
        MONTHLY.replace("2025-01", "2025-01-01"),
        MONTHLY.replace("2025-01", "\uff12\uff10\uff12\uff15-\uff10\uff11"),
        DAILY.replace("2020-01-01", "2020-01"),
        DAILY.replace("2020-01-01", "2019-02-29"),
        DAILY.replace("2020-01-01", "2020-W01-1"),
        MONTHLY.replace("BTCUSDT", ".."),
        MONTHLY.replace("BTCUSDT", ""),
        MONTHLY.replace("BTCUSDT", "A/B"),
        MONTHLY.replace("BTCUSDT", "A\\B"),
        MONTHLY.replace("BTCUSDT", "BTC USDT"),
        MONTHLY.replace("BTCUSDT", "BTC\udcffUSDT"),
    ],
)
def test_no_candle_key(source_file: str) -> None:
    assert parse_key(source_file) is None


SYMBOLS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Z", "C"], exclude_characters="/\\."),
    min_size=1,
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(
    symbol=SYMBOLS | st.sampled_from(["币安人生USDT", "1000PEPEUSDT", "BTCUSDT_250328", "A-4h-B"]),
    interval=st.sampled_from(INTERVALS),
    market=st.sampled_from(["spot", "um"]),
    cadence=st.sampled_from(["monthly", "daily"]),
    day=st.dates(),
)
def test_every_built_key_parses_back(
    symbol: str, interval: Interval, market: Market, cadence: Cadence, day: object
) -> None:
    period = str(day)[:7] if cadence == "monthly" else str(day)
    source_file = (
        files_prefix(market, cadence, symbol, interval) + f"{symbol}-{interval}-{period}.zip"
    )
    assert parse_key(source_file) == ArchiveKey(
        source_file, market, cadence, symbol, interval, period
    )


def test_a_file_that_is_gone_before_it_is_looked_at_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, there = (tmp_path / MONTHLY.replace("2025-01", month) for month in ("2025-01", "2025-02"))
    gone.parent.mkdir(parents=True)
    for path in (gone, there):
        path.write_bytes(b"zip")
    read = archive._entries

    def then_renamed(folder: Path) -> list[os.DirEntry[str]]:
        found = read(folder)
        if folder == gone.parent:
            gone.rename(tmp_path / "elsewhere")
        return found

    monkeypatch.setattr(archive, "_entries", then_renamed)
    listing = list_folder(tmp_path, "um", "4h", "monthly")
    assert [tmp_path / file.key.source_file for file in listing.files] == [there]
    assert listing.unexpected == ()


def test_prefixes() -> None:
    assert klines_prefix("um", "daily") == "data/futures/um/daily/klines/"
    assert files_prefix("spot", "monthly", "BTCUSDT", "1h") == (
        "data/spot/monthly/klines/BTCUSDT/1h/"
    )


@pytest.mark.parametrize(
    ("text", "checksum"),
    [
        (f"{SHA256}  A.zip\n", SHA256),
        (f"{SHA256}  A.zip", SHA256),
        (f"{SHA256}  A.zip\r\n", SHA256),
        (f"{SHA256} *A.zip\n", SHA256),
        (f"{SHA256.upper()}  A.zip\n", SHA256),
        (f"{SHA256}  B.zip\n", None),
        (f"{SHA256}  A.zip.part\n", None),
        (f"{SHA256}  A.zip\n{SHA256}  B.zip\n", None),
        (f"{SHA256}\n", None),
        (f"{SHA256}A.zip\n", None),
        (f"{SHA256[:-1]}  A.zip\n", None),
        (f"{SHA256}0  A.zip\n", None),
        (f"{'g' * 64}  A.zip\n", None),
        ("<html>not found</html>", None),
        ("", None),
    ],
)
def test_checksum_text(text: str, checksum: str | None) -> None:
    assert parse_checksum(text, "A.zip") == checksum


def put(root: Path, key: str, content: bytes = b"zip", checksum: str | None = None) -> None:
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if checksum is not None:
        path.with_name(path.name + ".CHECKSUM").write_text(checksum)


def test_a_listing_has_size_and_published_checksum_sorted_by_key(tmp_path: Path) -> None:
    folder = "data/spot/monthly/klines"
    with_newline = f"{folder}/币安人生USDT/4h/币安人生USDT-4h-2025-02.zip"
    put(tmp_path, with_newline, b"12", f"{SHA256}  币安人生USDT-4h-2025-02.zip\n")
    put(
        tmp_path,
        f"{folder}/BTCUSDT/4h/BTCUSDT-4h-2025-02.zip",
        b"12345",
        f"{SHA256}  BTCUSDT-4h-2025-02.zip",
    )
    put(tmp_path, f"{folder}/BTCUSDT/4h/BTCUSDT-4h-2025-01.zip", b"123", "no checksum")
    put(tmp_path, f"{folder}/AUSDT/4h/AUSDT-4h-2025-01.zip", b"")

    listing = list_folder(tmp_path, "spot", "4h", "monthly")

    assert listing.unexpected == ()
    assert [
        (file.key.file_name, file.size_bytes, file.published_sha256) for file in listing.files
    ] == [
        ("AUSDT-4h-2025-01.zip", 0, None),
        ("BTCUSDT-4h-2025-01.zip", 3, None),
        ("BTCUSDT-4h-2025-02.zip", 5, SHA256),
        ("币安人生USDT-4h-2025-02.zip", 2, SHA256),
    ]
    assert all(parse_key(file.key.source_file) == file.key for file in listing.files)


def test_only_the_folders_asked_for_are_listed(tmp_path: Path) -> None:
    for key in (
        MONTHLY,
        MONTHLY.replace("4h", "1h"),
        MONTHLY.replace("futures/um", "spot"),
        MONTHLY.replace("monthly", "daily").replace("2025-01", "2025-01-01"),
    ):
        put(tmp_path, key)
    listing = list_folder(tmp_path, "um", "4h", "monthly")
    assert [file.key.source_file for file in listing.files] == [MONTHLY]
    assert list_folder(tmp_path, "um", "1d", "monthly").files == ()
    assert list_folder(tmp_path, "spot", "4h", "daily").files == ()


def test_foreign_files_are_ignored_and_misnamed_zips_are_reported(tmp_path: Path) -> None:
    put(tmp_path, MONTHLY)
    folder = str(Path(MONTHLY).parent)
    for name in ("README.txt", "BTCUSDT-4h-2025-02.zip.part", "BTCUSDT-4h-2025-03.zip.CHECKSUM"):
        put(tmp_path, f"{folder}/{name}")
    put(tmp_path, "data/futures/um/monthly/klines/index.html")
    misnamed = [
        f"{folder}/{name}"
        for name in (
            "BTCUSDT-4h-2025-02 (1).zip",
            "BTCUSDT-4h-2025-13.zip",
            "BTCUSDT-4h-2025-02.ZIP",
            "ETHUSDT-4h-2025-01.zip",
        )
    ]
    for key in misnamed:
        put(tmp_path, key)
    (tmp_path / folder / "BTCUSDT-4h-2025-04.zip").mkdir()

    listing = list_folder(tmp_path, "um", "4h", "monthly")

    assert [file.key.source_file for file in listing.files] == [MONTHLY]
    assert listing.unexpected == tuple(sorted([*misnamed, f"{folder}/BTCUSDT-4h-2025-04.zip"]))


def test_an_undecodable_name_is_reported_as_storable_text(tmp_path: Path) -> None:
    put(tmp_path, MONTHLY)
    folder = os.fsencode(tmp_path / Path(MONTHLY).parent)
    try:
        Path(os.fsdecode(folder + b"/BTC\xff.zip")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    listing = list_folder(tmp_path, "um", "4h", "monthly")
    assert listing.unexpected == (str(Path(MONTHLY).parent / "BTC\N{REPLACEMENT CHARACTER}.zip"),)


@pytest.mark.parametrize("content", [None, "file", "folder"])
def test_no_archive_says_what_is_expected(tmp_path: Path, content: str | None) -> None:
    root = tmp_path / "archive"
    if content == "file":
        root.write_text("")
    elif content == "folder":
        (root / "futures").mkdir(parents=True)
    with pytest.raises(ArchiveError) as caught:
        list_folder(root, "um", "4h", "monthly")
    message = str(caught.value)
    assert message.startswith(f"no archive in {root}: archive.url must name the folder")
    assert f"{root}/data/futures/um/monthly/klines/BTCUSDT/4h/" in message
    assert "\n" not in message
