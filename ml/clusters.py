"""What a clustering of symbols says, whatever order the algorithm numbered its clusters in.

Plain numpy.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gold.returns import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ClusterStatistics:
    """One cluster.

    Attributes:
        cluster: Its number.
        symbols: How many symbols it has.
        leader: The symbol with its highest Sharpe ratio.
        annual_return: Mean of its symbols, a fraction a year.
        annual_volatility: Mean of its symbols, a fraction a year.
        sharpe: Mean of its symbols.
    """

    cluster: int
    symbols: int
    leader: str
    annual_return: float
    annual_volatility: float
    sharpe: float


def renumbering(label: IntArray, sharpe: FloatArray, labels: int) -> IntArray:
    """New number of each of the algorithm's labels: 0 has the highest mean Sharpe ratio.

    Args:
        label: The algorithm's label of each symbol, 0..labels-1, shape (symbols,).
        sharpe: Their Sharpe ratios, without NaN, shape (symbols,).
        labels: How many labels there are; one without a symbol comes last.

    Returns:
        Shape (labels,); equal means are numbered in the order of their first symbols.
    """
    size = np.bincount(label, minlength=labels)
    total = np.bincount(label, sharpe, minlength=labels)
    mean = np.where(size > 0, total / np.maximum(size, 1), -np.inf)
    first = np.full(labels, label.size)
    np.minimum.at(first, label, np.arange(label.size))
    numbers = np.empty(labels, dtype=np.int64)
    numbers[np.lexsort((first, -mean))] = np.arange(labels)
    return numbers


def leaders(cluster: IntArray, sharpe: FloatArray) -> BoolArray:
    """Mark each cluster's highest Sharpe ratio; on a tie the first symbol's, shape (symbols,)."""
    order = np.lexsort((-sharpe, cluster))  # stable, so equals stay in symbol order
    best = order[np.diff(cluster[order], prepend=-1) != 0]
    marked = np.zeros(cluster.size, dtype=np.bool_)
    marked[best] = True
    return marked


def cluster_statistics(
    symbols: list[str],
    cluster: IntArray,
    annual_return: FloatArray,
    annual_volatility: FloatArray,
    sharpe: FloatArray,
) -> list[ClusterStatistics]:
    """Describe each cluster that has a symbol, in the order of their numbers.

    Args:
        symbols: Names, in ascending order.
        cluster: Cluster of each symbol, shape (symbols,).
        annual_return: Fractions a year, shape (symbols,).
        annual_volatility: Fractions a year, shape (symbols,).
        sharpe: Shape (symbols,).
    """
    leading = leaders(cluster, sharpe)
    described = []
    for number in np.unique(cluster):
        member = cluster == number
        described.append(
            ClusterStatistics(
                cluster=int(number),
                symbols=int(member.sum()),
                leader=symbols[int(np.flatnonzero(member & leading)[0])],
                annual_return=float(annual_return[member].mean()),
                annual_volatility=float(annual_volatility[member].mean()),
                sharpe=float(sharpe[member].mean()),
            )
        )
    return described
