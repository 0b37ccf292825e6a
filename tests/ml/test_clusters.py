import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.clusters import cluster_statistics, leaders, renumbering


def clustering(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    symbols = int(rng.integers(1, 40))
    return rng.integers(0, 5, symbols), rng.integers(-6, 6, symbols) / 4


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=80)
def test_numbers_descend_with_the_mean_sharpe(seed: int) -> None:
    label, sharpe = clustering(seed)
    numbers = renumbering(label, sharpe, 5)
    assert sorted(numbers) == [0, 1, 2, 3, 4]
    means = pd.Series(sharpe).groupby(numbers[label]).mean()
    assert means.is_monotonic_decreasing
    # Clusters without a symbol come last.
    assert list(means.index) == list(range(len(means)))


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=80)
def test_the_algorithms_own_order_does_not_show(seed: int) -> None:
    label, sharpe = clustering(seed)
    shuffled = np.random.default_rng(seed).permutation(5)[label]
    np.testing.assert_array_equal(
        renumbering(label, sharpe, 5)[label], renumbering(shuffled, sharpe, 5)[shuffled]
    )


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=80)
def test_each_cluster_has_one_leader_the_first_of_its_best(seed: int) -> None:
    cluster, sharpe = clustering(seed)
    marked = leaders(cluster, sharpe)
    best = pd.Series(sharpe).groupby(cluster).idxmax()
    np.testing.assert_array_equal(np.flatnonzero(marked), np.sort(best.to_numpy()))


def test_statistics_of_two_clusters() -> None:
    first, second = cluster_statistics(
        ["A", "B", "C"],
        np.array([1, 0, 1]),
        np.array([1.0, 5.0, 2.0]),
        np.array([0.5, 1.0, 1.5]),
        np.array([2.0, 5.0, 4.0]),
    )
    assert (first.cluster, first.symbols, first.leader, first.sharpe) == (0, 1, "B", 5.0)
    assert (second.cluster, second.symbols, second.leader) == (1, 2, "C")
    assert (second.annual_return, second.annual_volatility, second.sharpe) == (1.5, 1.0, 3.0)
