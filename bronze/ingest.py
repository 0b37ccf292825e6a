"""The task `ingest_archive`: new and republished files of the archive -> bronze."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from bronze.archive import ListedFile, key_of
from bronze.batches import load_files
from bronze.commits import Loaded, forget_withdrawn
from bronze.contracts import ARCHIVE_FILES, REJECTED_LINES
from bronze.differences import Difference
from bronze.half_done import undo_half_done
from bronze.http import Sleep
from bronze.landing import LandingAccount
from bronze.ledger import Ledger
from bronze.plan import (
    NO_DOUBTS,
    Doubts,
    Hole,
    LedgerEntry,
    doubts_of,
    hidden_days,
    holes,
    missing_days,
    needs_reading,
    wanted_files,
)
from bronze.source import Source, open_source
from bronze.symbols import changed_symbols, known_symbols, record_symbols
from lakehouse.collector import collector_paused, left_out_of_collections
from lakehouse.errors import ArchiveError
from lakehouse.session import threads
from lakehouse.settings import Settings
from lakehouse.tasks import TaskContext, TaskOutcome

log = logging.getLogger(__name__)

_NAMED_FILES = 10

# Small reads and commits beside the listing and the lines: the driver waits more than it works.
_BESIDE = 2


@dataclass(frozen=True)
class _Plan:
    """What the archive holds of the run's market, interval, months and universe.

    Attributes:
        source: All that it lists of the universe, in whatever month, and where the files are.
        files: The wanted files.
        holes: Missing months of `files`.
        missing_days: Missing days of its months.
    """

    source: Source
    files: tuple[ListedFile, ...]
    holes: tuple[Hole, ...]
    missing_days: tuple[Hole, ...]


def run_ingest_archive(context: TaskContext, sleep: Sleep | None = None) -> TaskOutcome:
    """Bring bronze up to the archive.

    Args:
        context: The task's.
        sleep: Waits between two attempts of a request; None waits in real time.

    Raises:
        ArchiveError: The archive is missing or holds no file of the wanted market, interval,
            months and symbols.
        EnvironmentProblem: The landing folder of an http archive has no room.
    """
    source, ledger = _opened(context, sleep)
    with threads(context.spark, _BESIDE, "ingest") as beside, ExitStack() as loading:
        with collector_paused():
            knowing = beside.submit(known_symbols, context)
            plan = _plan(source, context.settings, doubts_of(ledger.entries))
            loaded = Loaded(undone=undo_half_done(context, ledger))
            due = _due(plan, ledger)
            changed = changed_symbols(source, knowing.result())
            loading.enter_context(left_out_of_collections())
        # Made while the first lines are read; what fails here fails again where it is used.
        naming = beside.submit(record_symbols, context, changed)
        if not ledger.entries:
            for contract in (ARCHIVE_FILES, REJECTED_LINES):
                beside.submit(context.lake.create, contract)
        loaded += load_files(context, source.root, due, ledger)
    naming.result()
    # Months that have turned out to be broken: their days, if the archive has any.
    doubts = doubts_of(ledger.entries)
    archive = context.settings.archive
    if hidden_days(plan.source.listed, plan.files, archive.start, archive.end, doubts):
        again = open_source(context, sleep, doubts).after(plan.source)
        plan = _plan(again, context.settings, doubts)
        loaded += Loaded(undone=undo_half_done(context, ledger))
        also_due = _due(plan, ledger)
        loaded += load_files(context, again.root, also_due, ledger)
        due += also_due
    withdrawn = forget_withdrawn(context, _unlisted(plan.source, ledger.entries), ledger)
    read = {file.key.source_file for file in due}
    return _outcome(plan, ledger.entries, read, loaded, len(changed), withdrawn)


def _opened(context: TaskContext, sleep: Sleep | None) -> tuple[Source, Ledger]:
    """The archive, and what bronze knows of its files."""
    archive = context.settings.archive
    if not archive.is_folder:
        # Of an object store, nothing is landed that could be in doubt.
        doubts = doubts_of(Ledger.read(context).entries) if archive.is_http else NO_DOUBTS
        source = open_source(context, sleep, doubts)
        # The listing may have taken minutes and the landing hours.
        return source, Ledger.read(context)
    with threads(context.spark, _BESIDE, "ingest") as beside, collector_paused():
        reading = beside.submit(Ledger.read, context)
        return open_source(context, sleep), reading.result()


def _due(plan: _Plan, ledger: Ledger) -> tuple[ListedFile, ...]:
    due = needs_reading(plan.files, ledger.entries)
    log.info("%s files wanted, %s of them to be read", f"{len(plan.files):,}", f"{len(due):,}")
    return due


def _unlisted(source: Source, ledger: Mapping[str, LedgerEntry]) -> list[str]:
    """Refused files that the archive has no more: of the universe, or of symbols it names not."""
    inside = set(source.universe.symbols)
    return [
        name
        for name, entry in ledger.items()
        if entry.status != "ingested"
        and (entry.symbol in inside or entry.symbol not in source.names)
        and key_of(name).period not in source.listed.get(entry.symbol, ())
    ]


def _plan(source: Source, settings: Settings, doubts: Doubts) -> _Plan:
    archive = settings.archive
    files = wanted_files(source.files, archive.start, archive.end, doubts.broken)
    if not files:
        raise ArchiveError(
            f"{archive.url} holds no {archive.interval} candles of market {archive.market} from "
            f"{archive.start} to {archive.end} for universe.mode={settings.universe.mode}: check "
            "these settings"
        )
    months = archive.start, archive.end
    return _Plan(source, files, holes(source.listed, *months), missing_days(source.listed, *months))


def _outcome(
    plan: _Plan,
    ledger: Mapping[str, LedgerEntry],
    read: Collection[str],
    loaded: Loaded,
    symbols_changed: int,
    withdrawn: Collection[str],
) -> TaskOutcome:
    # A daily file whose month is there as a whole may never have been read.
    keys = [file.key.source_file for file in plan.files if file.key.source_file in ledger]
    rows = [ledger[key] for key in keys]
    failed = {key: ledger[key] for key in keys if ledger[key].status != "ingested"}
    figures = {
        "files": f"{len(plan.files):,} ({len(plan.files) - len(read):,} unchanged)",
        "rows": f"{sum(row.rows for row in rows):,}",
        "symbols": f"{len(plan.source.universe.symbols):,}",
        "rejected lines": f"{sum(row.rejected_lines for row in rows):,}",
    }
    if any(row.rejected_lines for row in rows):
        figures["their text and reasons"] = "table bronze.rejected_lines"
    figures |= plan.source.figures
    if plan.source.account:
        figures["landing"] = _accounted(plan.source.account)
    if failed:
        statuses = Counter(entry.status for entry in failed.values())
        figures["failed files"] = _few(f"{status} {n}" for status, n in statuses.items())
        figures["failed names"] = _few(
            f"{name.rpartition('/')[2]}: {entry.status}" for name, entry in failed.items()
        )
    if loaded.republished:
        figures["republished files"] = (
            f"{loaded.republished:,}; `candlelake republished` tells what changed in them"
        )
    if loaded.superseded:
        figures["daily files superseded"] = f"{loaded.superseded:,}; {_told(loaded.difference)}"
    if loaded.undone:
        figures["files that a killed run had left half done"] = f"{loaded.undone:,}"
    for label, names in (
        ("missing months", _names(plan.holes)),
        ("missing days", _names(plan.missing_days)),
        ("months that supersede no days", _beside_days(plan.files, ledger)),
        ("refused files that the archive has no more", withdrawn),
        ("unexpected names", plan.source.unexpected),
        ("symbols not in the archive", plan.source.universe.absent),
        ("leveraged tokens left out", plan.source.universe.leveraged),
    ):
        if names:
            figures[label] = _few(names)
    total = len(plan.files)
    written = loaded.files + loaded.superseded
    if not written:
        message = f"all {total:,} files unchanged"
    else:
        message = f"{loaded.files:,} of {total:,} files new or changed, {len(failed):,} failed"
    also = loaded.undone or withdrawn or symbols_changed or plan.source.has_snapshot
    is_unchanged = not (written or also)
    return TaskOutcome(message, figures, unchanged=is_unchanged)


def _accounted(account: LandingAccount) -> str:
    return (
        f"{len(account.files):,} planned = {len(account.kept):,} there already + "
        f"{len(account.landed):,} landed ({account.bytes_landed / 1e6:,.1f} MB) + "
        f"{len(account.failed):,} failed"
    )


def _told(difference: Difference | None) -> str:
    if difference is None:
        return "bars that their monthly files changed: not known, see the log"
    return (
        f"bars that their monthly files removed {difference.removed:,}, "
        f"added {difference.added:,}, changed {difference.changed:,}"
    )


def _beside_days(files: Collection[ListedFile], ledger: Mapping[str, LedgerEntry]) -> list[str]:
    """Monthly files that take the place of no day, since lines of them were refused."""
    with_days = {(f.key.symbol, f.key.month) for f in files if f.key.cadence == "daily"}
    return [
        f"{file.key.file_name}: {ledger[file.key.source_file].rejected_lines:,} rejected lines"
        for file in files
        if file.key.cadence == "monthly"
        and (file.key.symbol, file.key.month) in with_days
        and ledger[file.key.source_file].rejected_lines
    ]


def _names(missing: Iterable[Hole]) -> list[str]:
    return [f"{hole.symbol} {hole.period}" for hole in missing]


def _few(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - _NAMED_FILES:,} more" if len(every) > _NAMED_FILES else ""
    return ", ".join(every[:_NAMED_FILES]) + more
