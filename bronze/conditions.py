"""Source files as a short SQL condition: what a replacement names, Delta's log keeps for a year.

A name repeats its symbol, interval and period: thousands of them are told by their symbols and
their periods, once for all periods that have the same symbols.
"""

from collections import defaultdict
from collections.abc import Iterable

from bronze.archive import Cadence, key_of, klines_prefix
from lakehouse.sql import is_in, literal

# Where a source file's name has its period: `…-2025-01.zip`, `…-2025-01-31.zip`.
_PERIOD: dict[Cadence, str] = {
    "monthly": "substr(source_file, -11, 7)",
    "daily": "substr(source_file, -14, 10)",
}


def in_files(names: Iterable[str]) -> str:
    """Condition that a row is of one of these source files; `false` without any.

    Args:
        names: Keys of one market and interval; the condition holds for rows of these alone, which
            have the columns source_file and symbol.

    Raises:
        ArchiveError: A name is no source file.
    """
    symbols_of: defaultdict[tuple[str, Cadence, str], set[str]] = defaultdict(set)
    for key in map(key_of, names):
        prefix = klines_prefix(key.market, key.cadence)
        symbols_of[prefix, key.cadence, key.period].add(key.symbol)
    periods_of: defaultdict[tuple[str, Cadence, frozenset[str]], set[str]] = defaultdict(set)
    for (prefix, cadence, period), symbols in symbols_of.items():
        periods_of[prefix, cadence, frozenset(symbols)].add(period)
    parts = sorted(
        f"(startswith(source_file, {literal(prefix)}) AND {is_in(_PERIOD[cadence], periods)} "
        f"AND {is_in('symbol', symbols)})"
        for (prefix, cadence, symbols), periods in periods_of.items()
    )
    return f"({' OR '.join(parts)})" if parts else "false"
