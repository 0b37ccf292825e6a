"""The cluster leaders: an index that clusters its eligible symbols anew at each date.

Each date knows the lookback before it and no other bar. The eligible symbols are clustered by
their standardised return, volatility and Sharpe ratio, and the highest Sharpe ratio of each
cluster is held, at equal weights. Plain numpy.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gold.decisions import Decision, Determination, Holding, told_apart
from gold.eligibility import refusals
from gold.lookback import Lookback
from gold.returns import BoolArray, FloatArray, IntArray
from gold.smart_index import rank_by_sharpe
from ml.clustering import agreement, different, fit_clusters, standardised
from ml.clusters import leaders, renumbering


@dataclass(frozen=True)
class ClusteredDate:
    """The clusters of one determination date, and what is held from it.

    Attributes:
        as_of: The date, exclusive end of what was known, UTC microseconds.
        symbols: n eligible symbols, ascending.
        measures: (n, 3) annual return, annual volatility and Sharpe ratio of the lookback.
        cluster: (n,) from 0, in descending order of the mean Sharpe ratio; empty when they were
            not clustered.
        is_leader: (n,) flags of those held, likewise empty.
        determination: The leaders at equal weights, cash when they were not clustered.
        skipped: Why they were not clustered, empty when they were.
    """

    as_of: int
    symbols: tuple[str, ...]
    measures: FloatArray
    cluster: IntArray
    is_leader: BoolArray
    determination: Determination
    skipped: str


def cluster_in_turn(
    lookbacks: Iterable[Lookback], clusters: int, seed: int
) -> tuple[ClusteredDate, ...]:
    """Cluster the eligible symbols of ascending dates, each knowing the leaders held before it.

    Args:
        lookbacks: What each date knows.
        clusters: k.
        seed: Of the starting centres.
    """
    made: list[ClusteredDate] = []
    for known in lookbacks:
        members = made[-1].determination.members if made else frozenset[str]()
        made.append(_clustered(known, clusters, seed, members))
    return tuple(made)


def month_to_month(dates: Sequence[ClusteredDate]) -> Iterator[tuple[int, float, int]]:
    """How far the clusters of each date are those of the date before.

    Yields:
        as_of, the adjusted Rand index over the symbols that both have clustered, and their number;
        for pairs of dates that have at least two of them.
    """
    for before, after in pairwise(dates):
        if before.skipped or after.skipped:
            continue
        _, i, j = np.intersect1d(before.symbols, after.symbols, return_indices=True)
        if i.size > 1:
            yield after.as_of, agreement(before.cluster[i], after.cluster[j]), int(i.size)


def _clustered(known: Lookback, clusters: int, seed: int, members: frozenset[str]) -> ClusteredDate:
    """Cluster one date; `members` need less volume to stay eligible."""
    candidates = known.candidates
    refused = refusals(candidates, known.eligibility, members)
    kept = np.array([symbol not in refused for symbol in candidates.symbols], dtype=np.bool_)
    symbols = tuple(np.array(candidates.symbols, dtype=object)[kept])
    sharpe, volatility = candidates.sharpe[kept], candidates.annual_volatility[kept]
    measures = np.column_stack([sharpe * volatility, volatility, sharpe])
    cluster, leading = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_)
    skipped = ""
    few = different(measures)
    if few > clusters:
        label = fit_clusters(standardised(measures), clusters, seed).labels_
        cluster = renumbering(label, sharpe, clusters)[label]
        leading = leaders(cluster, sharpe)
        decisions = list(_decisions(symbols, cluster, leading, sharpe))
    else:
        skipped = f"{few} eligible symbols that differ are too few for {clusters} clusters"
        decisions = [Decision(symbol, "not_ranked", "rank", skipped) for symbol in symbols]
    decisions += [
        Decision(name, "ineligible", why.rule, why.detail) for name, why in refused.items()
    ]
    holdings = _holdings(symbols, np.flatnonzero(leading), sharpe, volatility)
    return ClusteredDate(
        as_of=known.eligibility.as_of,
        symbols=symbols,
        measures=measures,
        cluster=cluster,
        is_leader=leading,
        determination=Determination(
            tuple(sorted(decisions, key=lambda row: row.symbol)), tuple(holdings)
        ),
        skipped=skipped,
    )


def _decisions(
    symbols: Sequence[str], cluster: IntArray, leading: BoolArray, sharpe: FloatArray
) -> Iterator[Decision]:
    """The leaders, and of every other symbol who leads it."""
    size = np.bincount(cluster)
    first = {int(cluster[i]): int(i) for i in np.flatnonzero(leading)}
    for i, symbol in enumerate(symbols):
        group, ahead = int(cluster[i]), first[int(cluster[i])]
        if i == ahead:
            detail = f"leads the {size[group]} of cluster {group}, Sharpe {sharpe[i]:.2f}"
            yield Decision(symbol, "selected", "rank", detail)
        else:
            lower, higher = told_apart(float(sharpe[i]), float(sharpe[ahead]), decimals=2)
            compared = "=" if lower == higher else "<"
            detail = f"{symbols[ahead]} leads cluster {group}, Sharpe {lower} {compared} {higher}"
            yield Decision(symbol, "not_ranked", "rank", detail)


def _holdings(
    symbols: Sequence[str], leading: IntArray, sharpe: FloatArray, volatility: FloatArray
) -> Iterator[Holding]:
    """The leaders at equal weights, by Sharpe ratio; nothing without any."""
    held = leading[rank_by_sharpe(sharpe[leading])]
    for rank, i in enumerate(held.tolist(), start=1):
        yield Holding(symbols[i], 1 / held.size, rank, float(sharpe[i]), float(volatility[i]))
