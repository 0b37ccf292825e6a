"""Which of the archive's symbols a study takes.

Pure functions over symbol names and the exchange's answers. `symbols` and `historical-usdt` ask
nothing of today. The other modes take what is known or trades today, so what vanished before is
missing from them: their `Universe` says so in `bias`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest

from bronze.exchange import ExchangeSymbol

_QUOTE = "USDT"

# Binance's leveraged tokens: BTCUP, ETHDOWN, XRPBEAR, and BULL and BEAR alone (on Bitcoin). UP or
# DOWN alone was never one, so these two need an underlying before them.
_LEVERAGED = re.compile(r".+(?:UP|DOWN)|.*(?:BULL|BEAR)")

# Reviewed coins whose names only look leveraged: Jupiter and Maple Finance. A coin that is missing
# here is left out by name (`Universe.leveraged`), never in silence.
UNLEVERAGED_BASES = frozenset({"JUP", "SYRUP"})

# A contract or pair on a cheap coin is on many of it: 1000PEPE, 1000000MOG, 1MBABYDOGE.
_MULTIPLES = ("", "1000", "10000", "1000000", "1M")


@dataclass(frozen=True)
class Universe:
    """The symbols of a study, and those that were asked for or listed but are not in it.

    Attributes:
        symbols: The universe, sorted, each symbol once.
        absent: Symbols that are asked for but the archive lacks, sorted.
        leveraged: Symbols filtered out as leveraged tokens, sorted.
        bias: How today's knowledge chose it; empty if it did not.
    """

    symbols: tuple[str, ...]
    absent: tuple[str, ...] = ()
    leveraged: tuple[str, ...] = ()
    bias: str = ""

    def restricted_to(self, present: Collection[str]) -> Universe:
        """The universe without the symbols that turn out to have no files; they are absent."""
        without = set(self.symbols) - set(present)
        return replace(
            self,
            symbols=tuple(symbol for symbol in self.symbols if symbol not in without),
            absent=tuple(sorted({*self.absent, *without})),
        )


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
    quoted = {symbol for symbol in listed if symbol.endswith(_QUOTE) and symbol != _QUOTE}
    leveraged = {symbol for symbol in quoted if is_leveraged(symbol.removesuffix(_QUOTE))}
    return Universe(symbols=tuple(sorted(quoted - leveraged)), leveraged=tuple(sorted(leveraged)))


def top100_universe(bases: Iterable[str], reviewed: str, listed: Collection[str]) -> Universe:
    """Mode `top100`: the USDT symbols of the listed assets that the archive has.

    Args:
        bases: Base assets (`PEPE` stands for 1000PEPEUSDT too, where the archive has only that).
        reviewed: Day of the list's review.
        listed: Symbols of the archive.
    """
    available = set(listed)
    found = {base: usdt_symbol(base, available) for base in bases}
    return Universe(
        symbols=tuple(sorted({symbol for symbol in found.values() if symbol})),
        absent=tuple(sorted(base + _QUOTE for base, symbol in found.items() if symbol is None)),
        bias=f"assets chosen with the knowledge of {reviewed}: survivorship bias before that day",
    )


def all_usdt_universe(exchange: Iterable[ExchangeSymbol], listed: Collection[str]) -> Universe:
    """Mode `all-usdt`: what trades against USDT today, but the leveraged tokens."""
    trading, available = _trading(exchange), set(listed)
    leveraged = {each.symbol for each in trading if is_leveraged(each.base_asset)}
    wanted = {each.symbol for each in trading} - leveraged
    return Universe(
        symbols=tuple(sorted(wanted & available)),
        absent=tuple(sorted(wanted - available)),
        leveraged=tuple(sorted(leveraged)),
        bias="only what trades today: survivorship bias, delisted symbols are missing",
    )


def diversified_universe(
    exchange: Sequence[ExchangeSymbol],
    sectors: Mapping[str, Sequence[str]],
    target: int,
    listed: Collection[str],
) -> Universe:
    """Mode `diversified`: seeds of each sector, then the most traded symbols, up to a target.

    Seeds are taken in turns, the first of each sector, then the second of each, so that a small
    target is diversified too. A seed that does not trade today is `absent`.

    Args:
        exchange: The exchange's symbols, with their 24 h quote volume.
        sectors: Sector -> base assets, the most important first.
        target: Number of symbols, if there are so many.
        listed: Symbols of the archive.
    """
    everything = all_usdt_universe(exchange, listed)
    available = set(everything.symbols)
    turns = chain.from_iterable(zip_longest(*sectors.values()))
    seeds = {base: usdt_symbol(base, available) for base in turns if base is not None}
    volume = {each.symbol: each.quote_volume or 0.0 for each in exchange}
    by_volume = sorted(available, key=lambda symbol: (-volume[symbol], symbol))
    chosen = list(dict.fromkeys(chain((s for s in seeds.values() if s), by_volume)))[:target]
    return Universe(
        symbols=tuple(sorted(chosen)),
        absent=tuple(sorted(base + _QUOTE for base, symbol in seeds.items() if symbol is None)),
        leveraged=everything.leveraged,
        bias="chosen by what trades today: survivorship bias, delisted symbols are missing",
    )


def usdt_symbol(base: str, listed: Collection[str]) -> str | None:
    """The symbol of a base asset against USDT, or of a multiple of it; None if there is none."""
    candidates = (f"{multiple}{base}{_QUOTE}" for multiple in _MULTIPLES)
    return next((symbol for symbol in candidates if symbol in listed), None)


def is_leveraged(base: str) -> bool:
    """Whether a base asset (`BTCUP` of BTCUPUSDT) is a leveraged token by its name."""
    return base not in UNLEVERAGED_BASES and _LEVERAGED.fullmatch(base) is not None


def _trading(exchange: Iterable[ExchangeSymbol]) -> list[ExchangeSymbol]:
    """What trades against USDT and never expires.

    The exchange names the quote asset: from a symbol alone it cannot be told, ADAEUR is ADA in EUR
    and not AD in AEUR.
    """
    return [
        each
        for each in exchange
        if each.status == "TRADING" and each.quote_asset == _QUOTE and each.is_perpetual
    ]
