"""An http archive: listing and landing at the same time, symbol by symbol."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from bronze.archive import (
    CHECKSUM_SUFFIX,
    Cadence,
    ListedFile,
    files_prefix,
    parse_key,
)
from bronze.http import Http
from bronze.landed import RemoteFile
from bronze.landing import Landing, LandingAccount, locked
from bronze.listing import ListedObject, listed_symbols, pages
from bronze.plan import NO_DOUBTS, Doubts, wanted_files
from bronze.progress import landing_progress
from bronze.universe import Universe
from lakehouse.console import err
from lakehouse.settings import ArchiveSettings

# Listings asked for at once, beside the downloads.
LISTINGS_AT_ONCE = 8
_CADENCES: tuple[Cadence, ...] = ("monthly", "daily")


@dataclass
class RemoteListing:
    """What an http archive holds of the wanted symbols, and what became of the wanted files.

    Attributes:
        listed: Every file that was listed, by symbol and period.
        unexpected: Keys of the ZIPs whose names do not fit.
        account: What became of each wanted file: it is landed or has a `failure`.
        universe: The wanted symbols that have a file.
        names: All symbols that have a folder.
    """

    listed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    account: LandingAccount = field(default_factory=LandingAccount)
    universe: Universe = field(default_factory=lambda: Universe(()))
    names: frozenset[str] = frozenset()


def land_archive(
    http: Http,
    archive: ArchiveSettings,
    universe_of: Callable[[Collection[str]], Universe],
    stop: threading.Event,
    doubts: Doubts = NO_DOUBTS,
) -> RemoteListing:
    """List the archive and land the files that the settings want, both at the same time.

    Args:
        http: The connections.
        archive: Its addresses, the landing folder, and what is wanted.
        universe_of: From all symbols of the archive, those that are wanted.
        stop: Set it to break the landing off.
        doubts: What an earlier run found wrong with landed files.

    Raises:
        ArchiveError: The listing cannot be had.
        EnvironmentProblem: The landing folder has no room or cannot be written.
    """
    symbols = {
        cadence: set(listed_symbols(http, archive.listing_url, archive.market, cadence))
        for cadence in _CADENCES
    }
    names = frozenset[str]().union(*symbols.values())
    found = RemoteListing(universe=universe_of(names), names=names)
    root = Path(archive.landing)

    def land(symbol: str) -> None:
        remotes, unexpected = _list_symbol(http, archive, symbol, symbols)
        listed = [ListedFile(each.key, each.size_bytes, None) for each in remotes]
        plan = wanted_files(listed, archive.start, archive.end, doubts.broken)
        wanted = {file.key.source_file for file in plan}
        for cadence in _CADENCES:
            landing.add(
                [
                    each
                    for each in remotes
                    if each.key.cadence == cadence and each.key.source_file in wanted
                ],
                doubts.damaged,
            )
        found.unexpected.extend(unexpected)
        if remotes:
            # The periods of one symbol are those of the others: one text each serves them all.
            found.listed[symbol] = tuple(sys.intern(each.key.period) for each in remotes)

    with (
        locked(root),
        landing_progress(err) as progress,
        Landing(http, archive.url, root, archive.transfers, progress, stop) as landing,
        ThreadPoolExecutor(LISTINGS_AT_ONCE, thread_name_prefix="listing") as lister,
    ):
        for _ in lister.map(land, found.universe.symbols):
            pass
    found.account = landing.account
    found.unexpected.sort()
    # A symbol may have a folder, and no file of this interval in it.
    found.universe = found.universe.restricted_to(found.listed)
    return found


def _list_symbol(
    http: Http, archive: ArchiveSettings, symbol: str, symbols: Mapping[Cadence, Collection[str]]
) -> tuple[list[RemoteFile], list[str]]:
    """All files of a symbol, also those that are not wanted: they tell when it lived."""
    objects = [
        each
        for cadence in _CADENCES
        if symbol in symbols[cadence]
        for page in pages(
            http,
            archive.listing_url,
            files_prefix(archive.market, cadence, symbol, archive.interval),
        )
        for each in page.objects
    ]
    return remote_files(objects)


def remote_files(objects: Iterable[ListedObject]) -> tuple[list[RemoteFile], list[str]]:
    """Source files among listed objects, with the CHECKSUM beside each, and misnamed ZIPs."""
    by_key = {each.key: each for each in objects}
    files: list[RemoteFile] = []
    unexpected: list[str] = []
    for source_file, listed in by_key.items():
        if not source_file.lower().endswith(".zip"):
            continue
        key = parse_key(source_file)
        if key is None:
            unexpected.append(source_file)
            continue
        checksum = by_key.get(source_file + CHECKSUM_SUFFIX)
        signed = ("", "") if checksum is None else (checksum.etag, checksum.edition)
        files.append(RemoteFile(key, listed.size_bytes, listed.etag, listed.edition, *signed))
    return files, unexpected
