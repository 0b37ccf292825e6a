"""What becomes of dirty files by the public downloaders: the last table of docs/conformance.md.

    .venv/bin/python benchmarks/downloaders.py

Serves the cases of tests/dirty.py, and requests that fail once, on 127.0.0.1 as the archive does;
runs each downloader with its own settings but for the address, in an environment of its own that
uv makes; then Candlelake. Everything is asked for twice, and one file is republished in between.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.bronze.archive_server import ServedArchive, served  # noqa: E402  # by the path above
from tests.dirty import FILES, GOOD, MONTH, Publish, body, name_of, unreadable  # noqa: E402
from tests.support import as_csv, month_of_candles  # noqa: E402

FOLDER = "data/futures/um/monthly/klines"
NEWER = as_csv(month_of_candles(MONTH, 24, start=200.0))
ONCE = {
    "503, once": "503",
    "429 with Retry-After, once": "429",
    "a transfer that is cut off, once": "cut",
    "a transfer without length that is cut off, once": "cut without length",
}
GONE = "listed, and answered by 404"
REPUBLISHED = "published anew after it was fetched"
SECONDS = 600


@dataclass(frozen=True)
class Downloader:
    """A public package, and a script that has it fetch the month of all symbols.

    Attributes:
        requirement: What to install.
        script: Its arguments are the server's address, an empty folder, and the symbols.
    """

    requirement: str
    script: str


DOWNLOADERS = (
    Downloader(
        "binance-historical-data==0.1.14",
        """
import datetime, sys
from binance_historical_data import BinanceDataDumper
address, folder, *symbols = sys.argv[1:]
dumper = BinanceDataDumper(folder, asset_class="um", data_type="klines", data_frequency="1d")
dumper._base_url = address + "/data"
dumper.get_list_all_trading_pairs = lambda: symbols
day = datetime.date
dumper.dump_data(symbols, date_start=day(2025, 1, 1), date_end=day(2025, 2, 1))
""",
    ),
    Downloader(
        "binance-bulk-downloader==1.1.0.1",
        """
import sys
from binance_bulk_downloader.downloader import BinanceBulkDownloader
address, folder, *symbols = sys.argv[1:]
BinanceBulkDownloader._BINANCE_DATA_S3_BUCKET_URL = address + "/listing"
BinanceBulkDownloader._BINANCE_DATA_DOWNLOAD_BASE_URL = address
for symbol in symbols:
    wanted = dict(data_frequency="1d", timeperiod_per_file="monthly", symbols=[symbol])
    BinanceBulkDownloader(folder, **wanted).run_download()
""",
    ),
    Downloader(
        "binance-data-downloader==0.2.0",
        """
import asyncio, sys
from src.downloader.http_downloader import HttpDownloader
address, folder, *symbols = sys.argv[1:]
path = "/data/futures/um/monthly/klines/{0}/1d/{0}-1d-2025-01.zip"
urls = [address + path.format(symbol) for symbol in symbols]
downloader = HttpDownloader()
asyncio.run(downloader.download_files(urls, folder))
asyncio.run(downloader.extract_files(folder, folder))
""",
    ),
)


@dataclass
class Cases:
    """What is served.

    Attributes:
        symbols: Name of a case -> its symbol.
        faults: Symbol -> what happens to the first request for its ZIP.
    """

    symbols: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def publish(self, root: Path) -> None:
        """Put all of them into an archive."""
        contents: dict[str, Publish] = {
            case.what: case.publish for case in FILES if case.publish is not unreadable
        }
        contents = {"a good file": body(GOOD), **contents}
        contents |= dict.fromkeys([*ONCE, GONE, REPUBLISHED], body(GOOD))
        for number, (what, publish) in enumerate(contents.items()):
            symbol = f"CASE{number:02d}USDT"
            self.symbols[what] = symbol
            publish(root, symbol)
            if what in ONCE:
                self.faults[symbol] = ONCE[what]

    def fault(self, path: str, count: int) -> str | None:
        """The fault of a request."""
        name = unquote(path).rpartition("/")[2]
        symbol = name.partition("-")[0]
        return self.faults.get(symbol) if name.endswith(".zip") and count == 1 else None


def outcomes(
    cases: Cases, served_files: ServedArchive, run: Callable[[], Callable[[str], str]]
) -> dict[str, str]:
    """Case -> what a downloader made of it, asked twice."""
    served_files.counts.clear()
    body(GOOD)(served_files.root, cases.symbols[REPUBLISHED])
    of = run()
    first = {what: of(symbol) for what, symbol in cases.symbols.items()}
    body(NEWER)(served_files.root, cases.symbols[REPUBLISHED])
    of = run()
    second = {what: of(symbol) for what, symbol in cases.symbols.items()}
    return {
        what: told if told == second[what] else f"{told}; then {second[what]}"
        for what, told in first.items()
    }


def by_package(
    downloader: Downloader, cases: Cases, address: str, folder: Path
) -> Callable[[str], str]:
    """Run a package; returns what it made of a symbol."""
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "run", "--no-project", "--quiet", "--with", downloader.requirement, "python"]
    command += ["-c", downloader.script, address, str(folder), *cases.symbols.values()]
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    told = done.stdout + done.stderr
    if done.returncode:
        print(f"{downloader.requirement} ended with {done.returncode}:\n{told[-2000:]}")
    return partial(_taken, folder, told)


def _taken(folder: Path, told: str, symbol: str) -> str:
    name = name_of(symbol)
    found = [path for path in folder.rglob("*.csv") if path.name == name]
    if not found:
        said = [line for line in told.splitlines() if symbol in line and _is_complaint(line)]
        return "no file, and says so" if said else "no file, and says nothing"
    content = found[0].read_bytes()
    which = {GOOD: "the right rows", NEWER: "the new rows"}.get(content)
    return which or f"taken as it is, {len(content.splitlines()):,} lines"


def _is_complaint(line: str) -> bool:
    return any(word in line.lower() for word in ("error", "unable", "failed", "bad"))


def by_candlelake(served_files: ServedArchive, folder: Path) -> Callable[[str], str]:
    """Run the task ingest_archive; returns what its tables say of a symbol."""
    from bronze.contracts import ARCHIVE_FILES, KLINES
    from bronze.tasks import ingest_archive
    from lakehouse.session import spark_session
    from lakehouse.settings import load_settings
    from lakehouse.tables import Lake

    given = {
        "archive.url": served_files.url,
        "archive.listing_url": served_files.listing_url,
        "archive.landing": folder / "landing",
        "archive.interval": "1d",
        "archive.start": MONTH,
        "archive.end": MONTH,
        "universe.mode": "historical-usdt",
        "warehouse": folder / "lake",
    }
    pairs = [f"{key}={value}" for key, value in given.items()]
    settings = load_settings(ROOT / "conf" / "sample.yaml", pairs)
    with spark_session(settings.spark) as spark:
        ingest_archive.run(spark, settings, "by hand", "")
        lake = Lake(spark, settings.warehouse)
        files = {row["symbol"]: row for row in lake.read_own(ARCHIVE_FILES).toArrow().to_pylist()}
        klines = lake.read_own(KLINES).select("symbol", "close").toArrow().to_pylist()

    def of(symbol: str) -> str:
        row = files[symbol]
        if row["status"] != "ingested":
            return str(row["status"])
        closes = [each["close"] for each in klines if each["symbol"] == symbol]
        return "the new rows" if max(closes) > 200 else "the right rows"

    return of


def columns(folder: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each way's name and outcomes."""
    cases = Cases()
    cases.publish(folder / "archive")
    with served(folder / "archive") as files:
        files.faults = cases.fault
        gone = cases.symbols[GONE]
        files.hidden.add(f"{FOLDER}/{gone}/1d/{name_of(gone, 'zip')}")
        # The page on which one of them looks for the listing's address.
        files.documents["/"] = f"var BUCKET_URL = '{files.listing_url}';".encode()
        yield "Candlelake", outcomes(cases, files, partial(by_candlelake, files, folder / "ours"))
        for number, each in enumerate(DOWNLOADERS):
            run = partial(by_package, each, cases, files.url, folder / str(number))
            yield each.requirement.replace("==", " "), outcomes(cases, files, run)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        found = dict(columns(Path(folder)))
    print("| input |", " | ".join(found), "|")
    print("| --- " * (len(found) + 1) + "|")
    for what in next(iter(found.values())):
        print(
            f"| {what.replace('`', '')} |", " | ".join(each[what] for each in found.values()), "|"
        )


if __name__ == "__main__":
    main()
