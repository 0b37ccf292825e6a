"""Which source files a run reads: the wanted ones of the archive that the ledger lacks.

Months are UTC, as `2025-01`, and sort as text.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bronze.archive import ListedFile
from bronze.contracts import FileStatus


@dataclass(frozen=True)
class LedgerEntry:
    """What `bronze.archive_files` says of one source file.

    Attributes:
        status: How its last reading ended.
        published_sha256: Checksum that was published beside it then.
        size_bytes: Size of the ZIP then.
    """

    status: FileStatus
    published_sha256: str | None
    size_bytes: int | None


@dataclass(frozen=True, order=True)
class Hole:
    """A month without a file, between two months of the same symbol that have one."""

    symbol: str
    month: str


def months_between(start: str, end: str) -> tuple[str, ...]:
    """Months from `start` to `end`, both inclusive, ascending; none if `end` comes first."""
    return tuple(map(_month_of, range(_ordinal(start), _ordinal(end) + 1)))


def wanted_files(listed: Iterable[ListedFile], start: str, end: str) -> tuple[ListedFile, ...]:
    """The files that cover the months `start` to `end`, both inclusive, sorted by key.

    For each symbol and month: its monthly file, and its daily files where it has no monthly one.
    A month without any file is no error (`holes` names those inside a symbol's life).
    """
    in_range = [file for file in listed if start <= file.key.month <= end]
    covered = {_series_month(file) for file in in_range if file.key.cadence == "monthly"}
    wanted = [
        file
        for file in in_range
        if file.key.cadence == "monthly" or _series_month(file) not in covered
    ]
    return tuple(sorted(wanted, key=lambda file: file.key.source_file))


def holes(listed: Iterable[ListedFile], start: str, end: str) -> tuple[Hole, ...]:
    """Months from `start` to `end` that a symbol lacks between two months that it has, sorted.

    `listed` are the files of one market and interval, also those outside of `start` to `end`:
    they show that a symbol lived on. Months before its first file or after its last are no holes.
    """
    months_of: defaultdict[str, set[str]] = defaultdict(set)
    for file in listed:
        months_of[file.key.symbol].add(file.key.month)
    return tuple(
        sorted(
            Hole(symbol, month)
            for symbol, months in months_of.items()
            for month in months_between(max(start, min(months)), min(end, max(months)))
            if month not in months
        )
    )


def needs_reading(
    listed: Iterable[ListedFile], ledger: Mapping[str, LedgerEntry]
) -> tuple[ListedFile, ...]:
    """The listed files to read, in the given order; `ledger` is keyed by source file.

    A file is skipped when it was ingested and its published checksum and size have not changed
    since. All others are read, again if need be: a republished one, and one that failed.
    """
    return tuple(
        file
        for file in listed
        if file.failure is not None
        or ledger.get(file.key.source_file)
        != LedgerEntry("ingested", file.published_sha256, file.size_bytes)
    )


def _series_month(file: ListedFile) -> tuple[str, str, str, str]:
    return file.key.market, file.key.interval, file.key.symbol, file.key.month


def _ordinal(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:7]) - 1


def _month_of(ordinal: int) -> str:
    return f"{ordinal // 12:04d}-{ordinal % 12 + 1:02d}"
