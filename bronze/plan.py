"""Which source files a run reads: the wanted ones of the archive that the ledger lacks.

Months are UTC, as `2025-01`, and sort as text.
"""

from calendar import monthrange
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass

from bronze.archive import Cadence, ListedFile
from bronze.contracts import FileStatus

# What the ledger says of a file while its lines are being replaced, and while they are being
# loaded where there are none yet: of a run that was cut short, this is what stays.
CUT_SHORT = "its lines were being replaced when the run was cut short: run ingest_archive again"
BEING_LOADED = "its lines were being loaded when the run was cut short: run ingest_archive again"


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What `bronze.archive_files` says of one source file.

    Attributes:
        status: How its last reading ended.
        published_sha256: Checksum that was published beside it then.
        size_bytes: Size of the ZIP then.
        cadence: `monthly` or `daily`.
        symbol: Trading pair or contract.
        month: UTC month of its period.
        rows: Its lines in `bronze.klines`.
        rejected_lines: Its lines in `bronze.rejected_lines`.
        superseded_by: Monthly file that took the place of this daily one.
        error: Why it was not ingested.
    """

    status: FileStatus
    published_sha256: str | None
    size_bytes: int | None
    cadence: Cadence
    symbol: str
    month: str
    rows: int
    rejected_lines: int
    superseded_by: str | None
    error: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether bronze has every line of it as a candle: of a monthly file, the whole month."""
        return bool(self.rows) and not self.rejected_lines

    @property
    def is_half_done(self) -> bool:
        """Whether a run was cut short at it: which lines bronze has of it is not known."""
        return self.error in (CUT_SHORT, BEING_LOADED)


@dataclass(frozen=True)
class Doubts:
    """What the ledger says against files of the archive, whatever their listing says.

    Attributes:
        broken: (symbol, month) of monthly files that were refused, or of which lines were: their
            daily files are wanted beside them.
        damaged: Source files whose bytes had not the published checksum.
    """

    broken: Set[tuple[str, str]] = frozenset()
    damaged: Set[str] = frozenset()


NO_DOUBTS = Doubts()

# Symbol -> periods of all its files of one market and interval, monthly (`2025-01`) and daily
# (`2025-01-31`): of an archive's millions of files, no more than this is held.
Listed = Mapping[str, Collection[str]]


@dataclass(frozen=True, order=True)
class Hole:
    """A period without a file, between two periods of the same symbol that have one.

    Attributes:
        symbol: Trading pair or contract.
        period: UTC month `2025-01`, or UTC day `2020-01-01`.
    """

    symbol: str
    period: str


def months_between(start: str, end: str) -> tuple[str, ...]:
    """Months from `start` to `end`, both inclusive, ascending; none if `end` comes first."""
    return tuple(map(_month_of, range(_ordinal(start), _ordinal(end) + 1)))


def wanted_files(
    listed: Iterable[ListedFile], start: str, end: str, broken: Set[tuple[str, str]] = frozenset()
) -> tuple[ListedFile, ...]:
    """The files that cover the months `start` to `end`, both inclusive, sorted by key.

    For each symbol and month: its monthly file, and its daily files where it has no monthly one.
    A month without any file is no error (`holes` names those inside a symbol's life).

    Args:
        listed: The files of one market and interval.
        start: First month.
        end: Last month.
        broken: (symbol, month) of monthly files beside which the daily ones are wanted too.
    """
    in_range = [file for file in listed if start <= file.key.month <= end]
    covered = {
        _series_month(file)
        for file in in_range
        if file.key.cadence == "monthly" and (file.key.symbol, file.key.month) not in broken
    }
    wanted = [
        file
        for file in in_range
        if file.key.cadence == "monthly" or _series_month(file) not in covered
    ]
    return tuple(sorted(wanted, key=lambda file: file.key.source_file))


def periods_of(files: Iterable[ListedFile]) -> dict[str, set[str]]:
    """What `Listed` says of these files."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for file in files:
        found[file.key.symbol].add(file.key.period)
    return dict(found)


def holes(listed: Listed, start: str, end: str) -> tuple[Hole, ...]:
    """Months from `start` to `end` that a symbol lacks between two months that it has, sorted.

    Periods outside of `start` to `end` show that a symbol lived on. Months before its first file
    or after its last are no holes.
    """
    months_of = {symbol: {each[:7] for each in periods} for symbol, periods in listed.items()}
    return tuple(
        sorted(
            Hole(symbol, month)
            for symbol, months in months_of.items()
            for month in months_between(max(start, min(months)), min(end, max(months)))
            if month not in months
        )
    )


def missing_days(listed: Listed, start: str, end: str) -> tuple[Hole, ...]:
    """Days without a file in months from `start` to `end` that a symbol has as daily files alone.

    A day is missing when the symbol has a file before and one after it, also outside of `start`
    to `end`; `Hole.period` is the day. Sorted. Whole months without a file are no days (`holes`
    names those).
    """
    of_symbol = {symbol: set(periods) for symbol, periods in listed.items()}
    return tuple(
        sorted(
            Hole(symbol, day)
            for symbol, periods in of_symbol.items()
            for day in _days_of_daily_months(periods)
            if start <= day[:7] <= end and day not in periods
            if min(periods) < day < max(periods)
        )
    )


def hidden_days(
    listed: Listed, planned: Iterable[ListedFile], start: str, end: str, doubts: Doubts
) -> bool:
    """Whether the archive has a daily file, not planned, of a month that turned out broken."""
    days = {
        (symbol, period)
        for symbol, month in doubts.broken
        if start <= month <= end
        for period in listed.get(symbol, ())
        if period.startswith(f"{month}-")
    }
    return bool(days) and not days.issubset((file.key.symbol, file.key.period) for file in planned)


def needs_reading(
    listed: Collection[ListedFile], ledger: Mapping[str, LedgerEntry]
) -> tuple[ListedFile, ...]:
    """The listed files to read, in the given order; `ledger` is keyed by source file.

    A file is skipped when it was ingested and its published checksum and size have not changed
    since, and a daily file when bronze holds its month as a whole: an older listing may lack the
    monthly file. All others are read, again if need be: a republished one, one that failed, one
    without a checksum, and a daily one whose month is no longer whole.
    """
    has_days = any(file.key.cadence == "daily" for file in listed)
    whole = whole_months(ledger) if has_days else {}
    return tuple(
        file
        for file in listed
        if not _is_unchanged(file, ledger.get(file.key.source_file))
        and not (file.key.cadence == "daily" and (file.key.symbol, file.key.month) in whole)
    )


def whole_months(ledger: Mapping[str, LedgerEntry]) -> dict[tuple[str, str], str]:
    """(symbol, month) -> the monthly file of which bronze holds every line."""
    return {
        (entry.symbol, entry.month): name
        for name, entry in ledger.items()
        if entry.cadence == "monthly" and entry.is_whole
    }


def doubts_of(ledger: Mapping[str, LedgerEntry]) -> Doubts:
    """What a ledger says against files.

    A month at which a run was cut short is read again before it is broken.
    """
    return Doubts(
        frozenset(
            (entry.symbol, entry.month)
            for entry in ledger.values()
            if entry.cadence == "monthly" and not entry.is_whole and not entry.is_half_done
        ),
        frozenset(name for name, entry in ledger.items() if entry.status == "checksum_mismatch"),
    )


def daily_files_of(
    months: Set[tuple[str, str]], ledger: Mapping[str, LedgerEntry]
) -> dict[tuple[str, str], list[str]]:
    """(symbol, month) -> its daily files in the ledger, for those of `months` that have any."""
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for name, entry in ledger.items():
        if entry.cadence == "daily" and (entry.symbol, entry.month) in months:
            found[entry.symbol, entry.month].append(name)
    return dict(found)


def _is_unchanged(file: ListedFile, entry: LedgerEntry | None) -> bool:
    return (
        file.failure is None
        and entry is not None
        and entry.status == "ingested"
        # Of a file without a checksum only its bytes can tell.
        and file.published_sha256 is not None
        and entry.published_sha256 == file.published_sha256
        and entry.size_bytes == file.size_bytes
        # Superseded days are left out before, while their month is whole.
        and entry.superseded_by is None
    )


def _days_of_daily_months(periods: Set[str]) -> Iterable[str]:
    for month in {period[:7] for period in periods} - periods:
        for day in range(1, monthrange(int(month[:4]), int(month[5:]))[1] + 1):
            yield f"{month}-{day:02d}"


def _series_month(file: ListedFile) -> tuple[str, str, str, str]:
    return file.key.market, file.key.interval, file.key.symbol, file.key.month


def _ordinal(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:7]) - 1


def _month_of(ordinal: int) -> str:
    return f"{ordinal // 12:04d}-{ordinal % 12 + 1:02d}"
