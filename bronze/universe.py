"""Which of the archive's symbols a study takes.

Pure functions over symbol names. None of these modes asks today's listing, so none of them
carries survivorship bias beyond the archive's own.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

# Binance's leveraged tokens: BTCUP, ETHDOWN, XRPBEAR, and BULL and BEAR alone (on Bitcoin). UP or
# DOWN alone was never one, so these two need an underlying before them.
_LEVERAGED = re.compile(r".+(?:UP|DOWN)|.*(?:BULL|BEAR)")

# Reviewed coins whose names only look leveraged: Jupiter and Maple Finance. A coin that is missing
# here is left out by name (`Universe.leveraged`), never in silence.
UNLEVERAGED_BASES = frozenset({"JUP", "SYRUP"})


@dataclass(frozen=True)
class Universe:
    """The symbols of a study, and those that were asked for or listed but are not in it.

    Attributes:
        symbols: The universe, sorted, each symbol once.
        absent: Symbols that the settings name but the archive lacks, sorted.
        leveraged: Symbols filtered out as leveraged tokens, sorted.
    """

    symbols: tuple[str, ...]
    absent: tuple[str, ...] = ()
    leveraged: tuple[str, ...] = ()


def named_universe(named: Iterable[str], listed: Collection[str]) -> Universe:
    """Mode `symbols`: the named symbols that the archive lists, and the absent ones by name.

    A named symbol is taken as it is, whatever its quote asset and leveraged or not.
    """
    wanted, available = set(named), set(listed)
    return Universe(
        symbols=tuple(sorted(wanted & available)), absent=tuple(sorted(wanted - available))
    )


def historical_usdt_universe(listed: Iterable[str]) -> Universe:
    """Mode `historical-usdt`: every listed symbol quoted in USDT but the leveraged tokens.

    Delisted symbols are included. Dated futures (`BTCUSDT_250328`) do not end in USDT.
    """
    quoted = {symbol for symbol in listed if symbol.endswith("USDT") and symbol != "USDT"}
    leveraged = {symbol for symbol in quoted if is_leveraged(symbol.removesuffix("USDT"))}
    return Universe(symbols=tuple(sorted(quoted - leveraged)), leveraged=tuple(sorted(leveraged)))


def is_leveraged(base: str) -> bool:
    """Whether a base asset (`BTCUP` of BTCUPUSDT) is a leveraged token by its name."""
    return base not in UNLEVERAGED_BASES and _LEVERAGED.fullmatch(base) is not None
