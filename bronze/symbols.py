"""The symbols that the archive names, and what it lacks of each: `bronze.archive_symbols`.

Files are listed of the universe's symbols alone: over http, those of all others would take more
requests than the data. The others are there by name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bronze.contracts import ARCHIVE_SYMBOLS
from bronze.plan import Listed, holes, missing_days
from bronze.source import Source
from lakehouse.sql import equals, is_in
from lakehouse.tasks import TaskContext

_RUN = ("run_id", "listed_at")

SymbolRow = dict[str, Any]


def named_symbols(listed: Listed, names: Iterable[str] = ()) -> dict[str, SymbolRow]:
    """Symbol -> its first and last month, number of files and missing periods.

    A period is missing when the symbol has a file before and one after it: a month without any
    file, or a day of a month that has daily files alone. Of `names` whose files are not listed,
    months and number are None.
    """
    unknown: dict[str, Any] = dict.fromkeys(("first_month", "last_month", "files"))
    found = {name: {"symbol": name, **unknown, "missing": []} for name in names}
    if not listed:
        return found
    missing: defaultdict[str, list[str]] = defaultdict(list)
    life = min(map(min, listed.values()))[:7], max(map(max, listed.values()))[:7]
    for hole in (*holes(listed, *life), *missing_days(listed, *life)):
        missing[hole.symbol].append(hole.period)
    return found | {
        symbol: {
            "symbol": symbol,
            "first_month": min(periods)[:7],
            "last_month": max(periods)[:7],
            "files": len(periods),
            "missing": sorted(missing[symbol]),
        }
        for symbol, periods in listed.items()
    }


def known_symbols(context: TaskContext) -> dict[str, SymbolRow]:
    """What the table says of each symbol of the run's market and interval, as `named_symbols`."""
    if not context.lake.exists(ARCHIVE_SYMBOLS):
        return {}
    scope = context.settings.scope
    table = context.lake.rows(ARCHIVE_SYMBOLS, scope).drop_columns([*scope, *_RUN])
    return {row["symbol"]: row for row in table.to_pylist()}


def changed_symbols(source: Source, known: Mapping[str, SymbolRow]) -> list[SymbolRow]:
    """What is new or changed, as `named_symbols`.

    A symbol that a listing names no more, or whose files it does not list this time, stays as it
    was: its candles are still there.

    Args:
        source: What the archive holds.
        known: What the table says, as `known_symbols`.
    """
    others = source.names - {*source.universe.absent, *known}
    named = named_symbols(source.listed, others)
    return [row for symbol, row in named.items() if row != known.get(symbol)]


def record_symbols(context: TaskContext, changed: Sequence[SymbolRow]) -> None:
    """Write what `changed_symbols` found."""
    if not changed:
        return
    scope = context.settings.scope
    also = {**scope, "run_id": context.run_id, "listed_at": context.now}
    frame = context.lake.frame(ARCHIVE_SYMBOLS, [{**row, **also} for row in changed])
    where = f"{equals(scope)} AND {is_in('symbol', {row['symbol'] for row in changed})}"
    context.lake.replace(ARCHIVE_SYMBOLS, frame, where)
