"""The smart index: which symbols it holds at one date, at which weights, and why.

The rulebook is a chain of pure steps, eligible -> correlation tournament -> ranked -> weighted ->
capped, each a function of arrays in symbol order; `determine` runs them for one determination
date. All inputs are what was known at that date, so the outcome is too.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat

import numpy as np

from gold.decisions import Decision, Determination, Holding, Refusal, told_apart
from gold.returns import FloatArray, IntArray
from gold.weighting import cap_and_floor, weights_by
from lakehouse.settings import RuleSettings


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
    eliminations: list[Elimination] = []
    dropped = np.zeros(sharpe.size, dtype=np.bool_)
    bounds = np.searchsorted(pairs[:, 0], np.arange(sharpe.size + 1)).tolist()
    for first, (start, end) in enumerate(pairwise(bounds)):
        if dropped[first] or start == end:
            continue
        # All pairs of one symbol at once: it beats the others until the first that beats it.
        rivals = start + np.flatnonzero(~dropped[pairs[start:end, 1]])
        stronger = np.flatnonzero(sharpe[pairs[rivals, 1]] > sharpe[first])
        beaten = rivals[: stronger[0]] if stronger.size else rivals
        dropped[pairs[beaten, 1]] = True
        losers, rhos = pairs[beaten, 1].tolist(), rho[beaten].tolist()
        eliminations += map(Elimination, losers, repeat(first), rhos)
        if stronger.size:
            last = rivals[stronger[0]]
            dropped[first] = True
            eliminations.append(Elimination(first, int(pairs[last, 1]), float(rho[last])))
    return tuple(eliminations)


def rank_by_sharpe(sharpe: FloatArray) -> IntArray:
    """Indices by descending Sharpe, ties in symbol order; no NaN."""
    return np.argsort(-sharpe, kind="stable")


def top_with_buffer(is_member: Sequence[bool], top_n: int, rank_buffer: int) -> IntArray:
    """Places of the symbols that an index takes, of all that were ranked.

    A member stays while it is among the first `top_n + rank_buffer`; the places that are then
    left go to the others by rank. Without a buffer these are the first `top_n`.

    Args:
        is_member: Of each ranked symbol, best first, whether the last determination selected it.
        top_n: Most members.
        rank_buffer: Further ranks down to which a member is kept.

    Returns:
        Ascending places from 0, at most `top_n`.
    """
    near = range(min(len(is_member), top_n + rank_buffer))
    stay = [place for place in near if is_member[place]]
    enter = [place for place in near if not is_member[place]]
    return np.sort(np.array([*stay, *enter][:top_n], dtype=np.int64))


def determine(
    symbols: Sequence[str],
    refusals: Mapping[str, Refusal],
    sharpe: FloatArray,
    annual_volatility: FloatArray,
    pairs: IntArray,
    rho: FloatArray,
    rules: RuleSettings,
    members: Collection[str] = (),
) -> Determination:
    """Members, weights and reasons of an index at one determination date.

    Args:
        symbols: N symbols in ascending order, each once: all that were listed before the date.
        refusals: Those that are not eligible, and why; every other has a Sharpe and a volatility.
        sharpe: N Sharpe ratios, NaN where undefined.
        annual_volatility: N volatilities, NaN where undefined.
        pairs: (m, 2) index pairs i < j with |rho| above the threshold, in any order.
        rho: m correlations of the pairs.
        rules: The rulebook; of its rules those from the tournament to cap and floor.
        members: Symbols selected at the determination before, for the rank buffer.

    Returns:
        One decision for each symbol, and the holdings: none when no symbol is eligible.

    Raises:
        ValueError: The symbols are not in ascending order.
    """
    if any(before >= after for before, after in pairwise(symbols)):
        raise ValueError("symbols must be in ascending order, each once")
    remaining = np.array([symbol not in refusals for symbol in symbols], dtype=np.bool_)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    order = order[remaining[pairs[order]].all(axis=1)]
    eliminations = correlation_tournament(sharpe, pairs[order], rho[order])
    remaining[[elimination.loser for elimination in eliminations]] = False
    ranked = np.flatnonzero(remaining)
    ranked = ranked[rank_by_sharpe(sharpe[ranked])]
    taken = top_with_buffer(
        [symbols[i] in members for i in ranked.tolist()], rules.top_n, rules.rank_buffer
    )
    if rules.weighting == "sharpe":
        taken = taken[sharpe[ranked[taken]] > 0]
    holdings = _holdings(symbols, sharpe, annual_volatility, ranked, taken, rules)
    decisions = (
        *(Decision(symbol, "ineligible", why.rule, why.detail) for symbol, why in refusals.items()),
        *(_dropped(symbols, sharpe, row, rules.correlation_threshold) for row in eliminations),
        *_ranked(symbols, sharpe, ranked, holdings, rules),
    )
    return Determination(tuple(sorted(decisions, key=lambda row: row.symbol)), holdings)


def _holdings(
    symbols: Sequence[str],
    sharpe: FloatArray,
    annual_volatility: FloatArray,
    ranked: IntArray,
    taken: IntArray,
    rules: RuleSettings,
) -> tuple[Holding, ...]:
    """Holdings of the symbols at the places that are taken, of all ranked ones."""
    if not taken.size:
        return ()
    held = ranked[taken]
    weights = weights_by(rules.weighting, sharpe[held], annual_volatility[held])
    weights = cap_and_floor(weights, rules.cap, rules.floor)
    return tuple(
        Holding(symbols[i], weight, place + 1, float(sharpe[i]), float(annual_volatility[i]))
        for i, place, weight in zip(held.tolist(), taken.tolist(), weights.tolist(), strict=True)
    )


def _dropped(
    symbols: Sequence[str], sharpe: FloatArray, elimination: Elimination, threshold: float
) -> Decision:
    """Decision on a symbol that lost the tournament."""
    loser, winner = elimination.loser, elimination.winner
    bound = float(np.copysign(threshold, elimination.rho))
    rho, _ = told_apart(elimination.rho, bound, decimals=3)
    lower, higher = told_apart(float(sharpe[loser]), float(sharpe[winner]), decimals=2)
    beyond = ">" if bound > 0 else "<"
    compared = f"{lower} < {higher}" if sharpe[loser] < sharpe[winner] else f"{lower} = {higher}"
    detail = f"rho {rho} with {symbols[winner]} {beyond} {bound:g}; Sharpe {compared}"
    return Decision(symbols[loser], "dropped", "correlation", detail)


def _ranked(
    symbols: Sequence[str],
    sharpe: FloatArray,
    ranked: IntArray,
    holdings: tuple[Holding, ...],
    rules: RuleSettings,
) -> Iterator[Decision]:
    """Decisions on the symbols that came to be ranked, best first."""
    weights = {holding.symbol: holding.weight for holding in holdings}
    for rank, i in enumerate(ranked.tolist(), start=1):
        place = f"rank {rank} of {ranked.size}, Sharpe {sharpe[i]:.2f}"
        weight = weights.get(symbols[i])
        if weight is not None:
            held = f"weight {weight:.4f}{_above_cap(weight, len(holdings), rules.cap)}"
            yield Decision(symbols[i], "selected", "rank", f"{place}; {held}")
        else:
            reason = _passed_over(float(sharpe[i]), len(holdings), rules)
            yield Decision(symbols[i], "not_ranked", "rank", f"{place}; {reason}")


def _above_cap(weight: float, held: int, cap: float) -> str:
    """That so few members must weigh more than the cap; empty where they need not."""
    if weight <= cap:
        return ""
    return f", above the cap of {cap:g} that {held} member{'s' if held > 1 else ''} cannot keep"


def _passed_over(sharpe: float, held: int, rules: RuleSettings) -> str:
    """Why a ranked symbol is not held."""
    if rules.weighting == "sharpe" and sharpe <= 0:
        return "a weight by Sharpe needs one above 0"
    if rules.rank_buffer:
        return f"{held} are held, members down to rank {rules.top_n + rules.rank_buffer} first"
    return f"the first {held} are held"
