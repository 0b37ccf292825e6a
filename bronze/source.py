"""Where a run's files come from: the universe, and a place that holds the archive's files.

A folder archive is that folder, or a place in an object store. The files of an http archive are
landed first; from then on the landing folder stands for it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tenacity import sleep_using_event

from bronze.archive import Cadence, ListedFile, list_folder
from bronze.contracts import EXCHANGE_SYMBOLS
from bronze.exchange import ExchangeSymbol, exchange_symbols
from bronze.http import Http, Sleep
from bronze.landing import LandingAccount
from bronze.object_store import list_objects
from bronze.plan import NO_DOUBTS, Doubts, Listed, periods_of
from bronze.remote import LISTINGS_AT_ONCE, land_archive
from bronze.universe import (
    Universe,
    all_usdt_universe,
    diversified_universe,
    historical_usdt_universe,
    named_universe,
    top100_universe,
)
from lakehouse.errors import ArchiveError
from lakehouse.interruption import stop_event
from lakehouse.places import absolute, is_uri
from lakehouse.settings import ArchiveSettings, Settings
from lakehouse.sql import literal
from lakehouse.tasks import TaskContext

_ASKS_THE_EXCHANGE = ("all-usdt", "diversified")


@dataclass(frozen=True)
class Source:
    """What the archive holds of a run's market, interval and universe.

    Attributes:
        root: Folder, absolute, or URI that holds `data/` with the wanted files.
        files: Files of the universe, the wanted ones among them.
        listed: All files of the universe, also those outside of the wanted months.
        unexpected: Keys of the ZIPs whose names do not fit, sorted.
        universe: The symbols.
        names: All symbols that the archive names.
        account: What became of each planned file of an http archive.
        figures: What to say of the universe and of the exchange's answer.
        has_snapshot: Whether the exchange was asked, and its answer written.
    """

    root: str
    files: tuple[ListedFile, ...]
    listed: Listed
    unexpected: tuple[str, ...]
    universe: Universe
    names: frozenset[str]
    account: LandingAccount | None = None
    figures: Mapping[str, str] = field(default_factory=dict)
    has_snapshot: bool = False

    def after(self, earlier: Source) -> Source:
        """This source, opened again by a run: what the earlier time landed counts as landed."""
        if self.account is None or earlier.account is None:
            return self
        return replace(self, account=self.account.after(earlier.account))


def open_source(
    context: TaskContext, sleep: Sleep | None = None, doubts: Doubts = NO_DOUBTS
) -> Source:
    """List the archive; over http, land the wanted files as well.

    Args:
        context: The task's; a snapshot of the exchange is kept through its lake.
        sleep: Waits between two attempts of a request; None waits in real time.
        doubts: What the ledger says against files.

    Raises:
        ArchiveError: The archive, its listing or the exchange cannot be had or are none.
        EnvironmentProblem: The landing folder has no room or cannot be written.
    """
    settings = context.settings
    stop = stop_event()
    http = Http(settings.archive.transfers + LISTINGS_AT_ONCE, sleep or sleep_using_event(stop))
    figures: dict[str, str] = {}
    listed: Listed
    exchange: list[ExchangeSymbol] = []
    account = None
    if settings.universe.mode in _ASKS_THE_EXCHANGE:
        addresses = getattr(settings.exchange, settings.archive.market)
        exchange = exchange_symbols(http, addresses.info_url, addresses.ticker_url)
        _keep_snapshot(context, exchange)
        figures["exchange snapshot"] = f"{len(exchange):,} symbols at {context.now.isoformat()}"

    archive = settings.archive
    if archive.is_http:
        _require_addresses(archive)
        root = absolute(archive.landing)
        universe_of = partial(_universe, settings, exchange)
        found = land_archive(http, archive, universe_of, stop, doubts)
        account, listed, unexpected = found.account, found.listed, found.unexpected
        files, universe, names = account.files, found.universe, found.names
    else:
        root = absolute(archive.url)
        walked, unexpected = _walk(root, archive)
        names = frozenset(file.key.symbol for file in walked)
        universe = _universe(settings, exchange, names)
        inside = set(universe.symbols)
        files = [file for file in walked if file.key.symbol in inside]
        listed = periods_of(files)
    if universe.bias:
        figures["universe"] = f"{settings.universe.mode}: {universe.bias}"
    return Source(
        root,
        tuple(files),
        listed,
        tuple(unexpected),
        universe,
        names,
        account,
        figures,
        has_snapshot=bool(exchange),
    )


def _require_addresses(archive: ArchiveSettings) -> None:
    if urlsplit(archive.listing_url).scheme not in ("http", "https"):
        raise ArchiveError(
            f"archive.url {archive.url} needs archive.listing_url, the address of its S3 listing"
        )
    if is_uri(archive.landing):
        raise ArchiveError(
            f"archive.landing {archive.landing} must be a folder: land there, copy it to the "
            "object store, and name that by archive.url"
        )


def _walk(root: str, archive: ArchiveSettings) -> tuple[list[ListedFile], list[str]]:
    """All files of the market and interval, wherever they lie."""
    market, interval = archive.market, archive.interval
    cadences: tuple[Cadence, ...] = ("monthly", "daily")
    if archive.is_folder:
        listings = [list_folder(Path(root), market, interval, each) for each in cadences]
    else:
        at_once = archive.transfers
        listings = [list_objects(root, market, interval, each, at_once) for each in cadences]
    files = [file for listing in listings for file in listing.files]
    return files, [key for listing in listings for key in listing.unexpected]


def _universe(
    settings: Settings, exchange: Sequence[ExchangeSymbol], names: Collection[str]
) -> Universe:
    """The universe of the settings' mode among the symbols that the archive names."""
    universe, assets = settings.universe, settings.assets
    match universe.mode:
        case "symbols":
            return named_universe(universe.symbols, names)
        case "top100":
            return top100_universe(assets.top100, assets.reviewed, names)
        case "all-usdt":
            return all_usdt_universe(exchange, names)
        case "diversified":
            return diversified_universe(exchange, assets.sectors, universe.target, names)
        case "historical-usdt":
            return historical_usdt_universe(names)


def _keep_snapshot(context: TaskContext, exchange: Sequence[ExchangeSymbol]) -> None:
    market = context.settings.archive.market
    also = {"snapshot_time": context.now, "market": market, "run_id": context.run_id}
    frame = context.lake.frame(EXCHANGE_SYMBOLS, [{**asdict(each), **also} for each in exchange])
    # A repeated attempt of the same run takes the place of the one before.
    moment = f"snapshot_time = TIMESTAMP {literal(context.now.isoformat())}"
    context.lake.replace(EXCHANGE_SYMBOLS, frame, f"market = {literal(market)} AND {moment}")
