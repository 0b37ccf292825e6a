"""What an index decided on each symbol, in the words and numbers of `gold.index_decisions`."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lakehouse.intervals import instant

Verdict = Literal["selected", "dropped", "not_ranked", "ineligible"]
Rule = Literal["exclusion", "history", "trading", "liquidity", "correlation", "rank"]


@dataclass(frozen=True)
class Refusal:
    """The first eligibility rule that a symbol breaks, and the numbers of it."""

    rule: Rule
    detail: str


@dataclass(frozen=True)
class Decision:
    """What became of one symbol, by which rule, and the numbers that decided."""

    symbol: str
    decision: Verdict
    rule: Rule
    detail: str


@dataclass(frozen=True)
class Holding:
    """One member of an index: its weight (fraction of 1) and its rank by Sharpe from 1."""

    symbol: str
    weight: float
    rank: int
    sharpe: float
    annual_volatility: float


@dataclass(frozen=True)
class Determination:
    """An index at one date: a decision for every symbol in symbol order, holdings by rank."""

    decisions: tuple[Decision, ...]
    holdings: tuple[Holding, ...]

    @property
    def eligible(self) -> tuple[str, ...]:
        """Symbols that no eligibility rule refused, in symbol order: the eligible universe."""
        return tuple(row.symbol for row in self.decisions if row.decision != "ineligible")

    @property
    def members(self) -> frozenset[str]:
        """Symbols that are held."""
        return frozenset(row.symbol for row in self.holdings)


def with_sales(
    determinations: Sequence[Determination],
    dates: Sequence[int],
    sold: Mapping[int, Sequence[str]],
    bar: int,
) -> tuple[Determination, ...]:
    """Say of each member that was sold as it had stopped trading that it was, and when.

    It is said at the next determination, the first one that can know of the sale.

    Args:
        determinations: D determinations.
        dates: Their D dates, ascending, UTC microseconds.
        sold: By the open of a bar, the members sold at it; known at the bar's close.
        bar: Length of a bar, microseconds.
    """
    details: dict[tuple[int, str], str] = {}
    for opened, symbols in sorted(sold.items()):
        place = bisect_left(dates, opened + bar)
        for symbol in symbols:
            said = details.get((place, symbol), "")
            details[place, symbol] = f"{said}; a member until sold at the bar of {minute(opened)}"
    return tuple(
        replace(
            made,
            decisions=tuple(
                replace(row, detail=row.detail + details.get((place, row.symbol), ""))
                for row in made.decisions
            ),
        )
        for place, made in enumerate(determinations)
    )


def told_apart(value: float, other: float, decimals: int) -> tuple[str, str]:
    """Both numbers as text, with as many decimals as it takes to see that they differ."""
    while value != other and f"{value:,.{decimals}f}" == f"{other:,.{decimals}f}":
        decimals += 1
    return f"{value:,.{decimals}f}", f"{other:,.{decimals}f}"


def minute(micros: int) -> str:
    """A time in UTC microseconds as text, to the minute."""
    return f"{instant(micros):%Y-%m-%d %H:%M}"
