"""The smart index: which symbols it holds at one date, at which weights, and why.

The rulebook is a chain of pure steps, eligible -> correlation tournament -> ranked -> weighted,
each a function of arrays in symbol order; `determine` runs them for one determination date. All
inputs are what was known at that date, so the outcome is too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum
from typing import Literal

import numpy as np
import numpy.typing as npt

from gold.metrics import TOO_FEW_RETURNS
from gold.returns import FloatArray, IntArray
from lakehouse.errors import NotEnoughData

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Elimination:
    """A symbol that lost the correlation tournament.

    Attributes:
        loser: Index of the symbol that is dropped.
        winner: Index of the symbol that beat it; it may itself lose to a later one.
        rho: Their correlation.
    """

    loser: int
    winner: int
    rho: float


@dataclass(frozen=True)
class Decision:
    """What became of one symbol, by which rule, and the numbers that decided."""

    symbol: str
    decision: Literal["selected", "dropped", "not_ranked", "ineligible"]
    rule: Literal["history", "correlation", "rank"]
    detail: str


@dataclass(frozen=True)
class Holding:
    """One member of the index: its weight (fraction of 1) and its rank by Sharpe from 1."""

    symbol: str
    weight: float
    rank: int
    sharpe: float
    annual_volatility: float


@dataclass(frozen=True)
class Determination:
    """The index at one date: a decision for every symbol in symbol order, holdings by rank."""

    decisions: tuple[Decision, ...]
    holdings: tuple[Holding, ...]


def eligible(sharpe: FloatArray, annual_volatility: FloatArray) -> BoolArray:
    """Symbols that can be ranked and weighted: a Sharpe and a volatility above 0, both finite."""
    return np.isfinite(sharpe) & np.isfinite(annual_volatility) & (annual_volatility > 0)


def correlated_pairs(rho: FloatArray, threshold: float) -> tuple[IntArray, FloatArray]:
    """Pairs i < j whose correlation, of either sign, is above the threshold.

    Args:
        rho: (N, N) correlations in symbol order; NaN (no correlation) never counts.
        threshold: Least |rho| of a pair, itself excluded.

    Returns:
        (m, 2) index pairs in lexicographic order, and their m correlations.
    """
    first, second = np.nonzero(np.triu(np.abs(rho) > threshold, k=1))
    return np.column_stack([first, second]), rho[first, second]


def correlation_tournament(
    sharpe: FloatArray, pairs: IntArray, rho: FloatArray
) -> tuple[Elimination, ...]:
    """Of each correlated pair, in order, drop the symbol with the lower Sharpe.

    A pair one of whose members is already dropped is skipped; on a tie the second is dropped. No
    two symbols that remain form a pair. The order decides who remains: a winner may be dropped
    later, and the symbols that it beat stay dropped.

    Args:
        sharpe: N Sharpe ratios in symbol order, defined for every member of a pair.
        pairs: (m, 2) index pairs i < j in lexicographic order.
        rho: m correlations of the pairs.

    Returns:
        One elimination for each dropped symbol, in the order in which they were dropped.
    """
    eliminations: dict[int, Elimination] = {}
    for (first, second), pair_rho in zip(pairs.tolist(), rho.tolist(), strict=True):
        if first in eliminations or second in eliminations:
            continue
        loser, winner = (first, second) if sharpe[first] < sharpe[second] else (second, first)
        eliminations[loser] = Elimination(loser, winner, pair_rho)
    return tuple(eliminations.values())


def rank_by_sharpe(sharpe: FloatArray) -> IntArray:
    """Indices by descending Sharpe, ties in symbol order; no NaN."""
    return np.argsort(-sharpe, kind="stable")


def inverse_volatility_weights(annual_volatility: FloatArray) -> FloatArray:
    """Weights proportional to 1 / volatility that sum to 1.

    Args:
        annual_volatility: n >= 1 volatilities above 0, of the members alone.

    Returns:
        n positive weights.
    """
    inverse: FloatArray = annual_volatility.min() / annual_volatility
    # An exactly rounded sum: a member's weight does not depend on the order of the others.
    return inverse / fsum(inverse)


def determine(
    symbols: Sequence[str],
    returns: IntArray,
    sharpe: FloatArray,
    annual_volatility: FloatArray,
    pairs: IntArray,
    rho: FloatArray,
    *,
    threshold: float,
    top_n: int,
) -> Determination:
    """Members, weights and reasons of the index at one determination date.

    Args:
        symbols: N symbols in ascending order, each once.
        returns: N numbers of log returns in the lookback.
        sharpe: N Sharpe ratios, NaN where undefined.
        annual_volatility: N volatilities, NaN where undefined.
        pairs: (m, 2) index pairs i < j with |rho| above the threshold, in any order.
        rho: m correlations of the pairs.
        threshold: The threshold of the pairs.
        top_n: Most members of the index, at least 1.

    Returns:
        One decision for each symbol, and the holdings.

    Raises:
        NotEnoughData: No symbol is eligible.
        ValueError: The symbols are not in ascending order.
    """
    if any(before >= after for before, after in pairwise(symbols)):
        raise ValueError("symbols must be in ascending order, each once")
    admitted = eligible(sharpe, annual_volatility)
    if not admitted.any():
        raise NotEnoughData(
            f"no index: none of {len(symbols)} symbols has more than {TOO_FEW_RETURNS} returns "
            "and a volatility; give the lookback more months or the universe more symbols"
        )
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    order = order[admitted[pairs[order]].all(axis=1)]
    eliminations = correlation_tournament(sharpe, pairs[order], rho[order])
    remaining = admitted.copy()
    remaining[[elimination.loser for elimination in eliminations]] = False
    ranked = np.flatnonzero(remaining)
    ranked = ranked[rank_by_sharpe(sharpe[ranked])]
    holdings = _holdings(symbols, sharpe, annual_volatility, ranked[:top_n])
    decisions = (
        *_ineligible(symbols, returns, admitted),
        *(_dropped(symbols, sharpe, elimination, threshold) for elimination in eliminations),
        *_ranked(symbols, sharpe, ranked, holdings),
    )
    return Determination(tuple(sorted(decisions, key=lambda row: row.symbol)), holdings)


def _holdings(
    symbols: Sequence[str], sharpe: FloatArray, annual_volatility: FloatArray, members: IntArray
) -> tuple[Holding, ...]:
    """Holdings of the members, which come in the order of their ranks."""
    weights = inverse_volatility_weights(annual_volatility[members])
    return tuple(
        Holding(symbols[i], float(weight), rank, float(sharpe[i]), float(annual_volatility[i]))
        for rank, (i, weight) in enumerate(zip(members.tolist(), weights, strict=True), start=1)
    )


def _ineligible(
    symbols: Sequence[str], returns: IntArray, admitted: BoolArray
) -> Iterator[Decision]:
    """Decisions on the symbols that were not admitted."""
    for i in np.flatnonzero(~admitted).tolist():
        too_few = f"{returns[i]} returns, more than {TOO_FEW_RETURNS} needed"
        detail = "no volatility" if returns[i] > TOO_FEW_RETURNS else too_few
        yield Decision(symbols[i], "ineligible", "history", detail)


def _dropped(
    symbols: Sequence[str], sharpe: FloatArray, elimination: Elimination, threshold: float
) -> Decision:
    """Decision on a symbol that lost the tournament."""
    loser, winner = elimination.loser, elimination.winner
    bound = float(np.copysign(threshold, elimination.rho))
    rho, _ = _told_apart(elimination.rho, bound, decimals=3)
    lower, higher = _told_apart(float(sharpe[loser]), float(sharpe[winner]), decimals=2)
    beyond = ">" if bound > 0 else "<"
    compared = f"{lower} < {higher}" if sharpe[loser] < sharpe[winner] else f"{lower} = {higher}"
    detail = f"rho {rho} with {symbols[winner]} {beyond} {bound:g}; Sharpe {compared}"
    return Decision(symbols[loser], "dropped", "correlation", detail)


def _ranked(
    symbols: Sequence[str], sharpe: FloatArray, ranked: IntArray, holdings: tuple[Holding, ...]
) -> Iterator[Decision]:
    """Decisions on the symbols that came to be ranked: the first of them are the holdings."""
    for rank, i in enumerate(ranked.tolist(), start=1):
        place = f"rank {rank} of {ranked.size}, Sharpe {sharpe[i]:.2f}"
        if rank <= len(holdings):
            weight = holdings[rank - 1].weight
            yield Decision(symbols[i], "selected", "rank", f"{place}; weight {weight:.4f}")
        else:
            left_out = f"{place}; the first {len(holdings)} are held"
            yield Decision(symbols[i], "not_ranked", "rank", left_out)


def _told_apart(value: float, other: float, decimals: int) -> tuple[str, str]:
    """Both numbers as text, with as many decimals as it takes to see that they differ."""
    while value != other and f"{value:.{decimals}f}" == f"{other:.{decimals}f}":
        decimals += 1
    return f"{value:.{decimals}f}", f"{other:.{decimals}f}"
