"""The symbols that the archive names, and what it lacks of each: `bronze.archive_symbols`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from bronze.archive import ListedFile
from bronze.contracts import ARCHIVE_SYMBOLS
from bronze.plan import holes, missing_days
from lakehouse.sql import equals, is_in
from lakehouse.tasks import TaskContext

_RUN = ("run_id", "listed_at")


def named_symbols(listed: Iterable[ListedFile]) -> dict[str, dict[str, Any]]:
    """Symbol -> its first and last month, number of files and missing periods.

    A period is missing when the symbol has a file before and one after it: a month without any
    file, or a day of a month that has daily files alone.
    """
    files = list(listed)
    months: defaultdict[str, list[str]] = defaultdict(list)
    for file in files:
        months[file.key.symbol].append(file.key.month)
    missing: defaultdict[str, list[str]] = defaultdict(list)
    every = [month for of_symbol in months.values() for month in of_symbol]
    if files:
        life = min(every), max(every)
        for hole in (*holes(files, *life), *missing_days(files, *life)):
            missing[hole.symbol].append(hole.period)
    return {
        symbol: {
            "symbol": symbol,
            "first_month": min(of_symbol),
            "last_month": max(of_symbol),
            "files": len(of_symbol),
            "missing": sorted(missing[symbol]),
        }
        for symbol, of_symbol in months.items()
    }


def record_symbols(context: TaskContext, listed: Sequence[ListedFile]) -> int:
    """Write what is new or changed; returns the number of symbols that are.

    A symbol that a listing names no more stays as it was: its candles are still there.
    """
    scope = context.settings.scope
    known = {}
    if not context.lake.create(ARCHIVE_SYMBOLS):
        table = context.lake.read_own(ARCHIVE_SYMBOLS).where(equals(scope)).toArrow()
        known = {
            row["symbol"]: {name: row[name] for name in row if name not in (*scope, *_RUN)}
            for row in table.to_pylist()
        }
    changed = [
        {**row, **scope, "run_id": context.run_id, "listed_at": context.now}
        for symbol, row in named_symbols(listed).items()
        if row != known.get(symbol)
    ]
    if changed:
        where = f"{equals(scope)} AND {is_in('symbol', {row['symbol'] for row in changed})}"
        context.lake.replace(ARCHIVE_SYMBOLS, context.lake.frame(ARCHIVE_SYMBOLS, changed), where)
    return len(changed)
