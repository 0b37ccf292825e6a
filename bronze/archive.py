"""The archive's layout: what a source file's key says, and which files a folder archive holds.

A key is the path from `data/` on, the same for a folder and an address, such as
`data/futures/um/monthly/klines/BTCUSDT/4h/BTCUSDT-4h-2025-01.zip`. Beside each ZIP stands
`NAME.zip.CHECKSUM` with `sha256  NAME.zip`. Layout: https://github.com/binance/binance-public-data
"""

import os
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal, cast

from lakehouse.errors import ArchiveError
from lakehouse.intervals import INTERVALS, Interval

Market = Literal["spot", "um"]
Cadence = Literal["monthly", "daily"]

MARKET_PATHS: dict[Market, str] = {"spot": "spot", "um": "futures/um"}
CHECKSUM_SUFFIX = ".CHECKSUM"

_MARKETS: dict[str, Market] = {path: market for market, path in MARKET_PATHS.items()}
# A symbol may be of any script. A dot, a separator or a blank could lead the path elsewhere, and
# a lone surrogate (an undecodable file name) cannot be stored as UTF-8.
_KEY = re.compile(
    rf"data/(?P<market_path>{'|'.join(_MARKETS)})/(?P<cadence>monthly|daily)/klines/"
    rf"(?P<symbol>[^/\\.\s\ud800-\udfff]+)/(?P<interval>{'|'.join(INTERVALS)})/"
    r"(?P=symbol)-(?P=interval)-(?P<period>[0-9]{4}-[0-9]{2}(?:-[0-9]{2})?)\.zip"
)
_CHECKSUM = re.compile(r"(?P<sha256>[0-9a-fA-F]{64})[ \t]+\*?(?P<name>\S+)\s*")
CHECKSUM_MAX_BYTES = 1024


@dataclass(frozen=True, slots=True)
class ArchiveKey:
    """What the key of a source file says.

    Attributes:
        source_file: The key itself, from `data/` on.
        market: `spot` or `um`.
        cadence: `monthly` or `daily`.
        symbol: Trading pair or contract, such as `BTCUSDT`; may be non-ASCII.
        interval: Bar interval in Binance's spelling.
        period: UTC month `2025-01` of a monthly file, UTC day `2020-01-01` of a daily one.
    """

    source_file: str
    market: Market
    cadence: Cadence
    symbol: str
    interval: Interval
    period: str

    @property
    def month(self) -> str:
        """The period's UTC month, `2025-01`."""
        return self.period[:7]

    @property
    def file_name(self) -> str:
        """Name of the ZIP, `BTCUSDT-4h-2025-01.zip`."""
        return self.source_file.rpartition("/")[2]

    @property
    def member_name(self) -> str:
        """Name of the one member that the ZIP must hold, `BTCUSDT-4h-2025-01.csv`."""
        return self.file_name.removesuffix(".zip") + ".csv"


@dataclass(frozen=True, slots=True)
class FileFailure:
    """Why a file could not be had over the network, or not with its checksum.

    Attributes:
        status: What the ledger says of it.
        why: The reason in one line.
        size_bytes: Size of the bytes that came and were refused; None if none came.
        sha256: SHA-256 of those.
    """

    status: Literal["download_failed", "checksum_mismatch"]
    why: str
    size_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A source file as the archive lists it.

    Attributes:
        key: What its name says.
        size_bytes: Size of the ZIP.
        published_sha256: Checksum published beside it; None if missing or malformed.
        failure: Why its bytes could not be had over the network; None if they were.
    """

    key: ArchiveKey
    size_bytes: int
    published_sha256: str | None
    failure: FileFailure | None = None


@dataclass(frozen=True)
class FolderListing:
    """What a folder archive holds for one market, interval and cadence.

    Attributes:
        files: The source files, sorted by key.
        unexpected: Keys of the ZIPs in these folders whose names do not fit, sorted.
    """

    files: tuple[ListedFile, ...]
    unexpected: tuple[str, ...]


def klines_prefix(market: Market, cadence: Cadence) -> str:
    """Key prefix under which each symbol has a folder, with a slash at its end."""
    return f"data/{MARKET_PATHS[market]}/{cadence}/klines/"


def files_prefix(market: Market, cadence: Cadence, symbol: str, interval: Interval) -> str:
    """Key prefix of one symbol's files of one interval, with a slash at its end."""
    return f"{klines_prefix(market, cadence)}{symbol}/{interval}/"


def parse_key(source_file: str) -> ArchiveKey | None:
    """Read what a source file's key says; None if it is not the key of a candle ZIP.

    The file name must repeat the symbol and interval of its folder, and the period must be a
    real month for a monthly file and a real day for a daily one.
    """
    match = _KEY.fullmatch(source_file)
    if match is None:
        return None
    market_path, cadence, symbol, interval, period = match.groups()
    first_day = f"{period}-01" if cadence == "monthly" else period
    try:
        date.fromisoformat(first_day)
    except ValueError:
        return None
    return ArchiveKey(
        source_file,
        _MARKETS[market_path],
        cast(Cadence, cadence),
        symbol,
        cast(Interval, interval),
        period,
    )


def key_of(source_file: str) -> ArchiveKey:
    """What the key of a known source file says.

    Raises:
        ArchiveError: It is none.
    """
    key = parse_key(source_file)
    if key is None:
        raise ArchiveError(f"{source_file} is not the key of a candle file")
    return key


def parse_checksum(text: str, name: str) -> str | None:
    """SHA-256 (64 hex digits, lower case) that a CHECKSUM file publishes for the file `name`.

    None if the text is not one line `sha256  NAME`, or speaks of another file. The final newline
    may be missing, as in Binance's own older files.
    """
    match = _CHECKSUM.fullmatch(text)
    if match is None or match["name"] != name:
        return None
    return match["sha256"].lower()


def mismatch(sha256: str, published_sha256: str) -> str:
    """Why a file is a `checksum_mismatch`."""
    return f"its SHA-256 is {sha256}, published is {published_sha256}"


def list_folder(root: Path, market: Market, interval: Interval, cadence: Cadence) -> FolderListing:
    """List the source files of one market, interval and cadence in a folder archive.

    Only `data/<market>/<cadence>/klines/*/<interval>/` is walked. What is no ZIP is ignored; a
    ZIP that does not fit the layout is reported in `unexpected`. A market or cadence that the
    archive lacks gives an empty listing.

    Raises:
        ArchiveError: `root` does not hold an archive, or a folder of it cannot be read.
    """
    if not (root / "data").is_dir():
        raise ArchiveError(
            f"no archive in {root}: archive.url must name the folder that holds data/, as in "
            f"{root}/{files_prefix(market, cadence, 'BTCUSDT', interval)}"
        )
    files: list[ListedFile] = []
    unexpected: list[str] = []
    for symbol_folder in _entries(root / klines_prefix(market, cadence)):
        prefix = files_prefix(market, cadence, symbol_folder.name, interval)
        entries = {entry.name: entry for entry in _entries(Path(symbol_folder.path, interval))}
        for name, entry in entries.items():
            if not name.lower().endswith(".zip"):
                continue
            key = parse_key(prefix + name)
            if key is None or not entry.is_file():
                unexpected.append(printable(prefix + name))
                continue
            try:
                size = entry.stat().st_size
            except FileNotFoundError:
                continue  # removed or renamed since the folder was read
            checksum = _published(entries.get(name + CHECKSUM_SUFFIX), name)
            files.append(ListedFile(key, size, checksum))
    files.sort(key=lambda file: file.key.source_file)
    return FolderListing(tuple(files), tuple(sorted(unexpected)))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        # A symbol without this interval, or a stray file among the symbols' folders.
        return []
    except OSError as error:
        raise ArchiveError(f"the archive folder {folder} cannot be read: {error}") from error


def _published(entry: os.DirEntry[str] | None, name: str) -> str | None:
    if entry is None:
        return None
    try:
        content = _first_bytes(entry.path, CHECKSUM_MAX_BYTES)
    except OSError:
        # As good as missing: the file then ends as `missing_checksum` and the others go on.
        return None
    return parse_checksum(content.decode("utf-8", "replace"), name)


def _first_bytes(path: str, size: int) -> bytes:
    """As a file object reads them, of whose layers an archive's half a million files feel each."""
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.read(handle, size)
    finally:
        os.close(handle)


def printable(key: str) -> str:
    """A name that the file system gave, without what is no text."""
    return os.fsencode(key).decode("utf-8", "replace")
