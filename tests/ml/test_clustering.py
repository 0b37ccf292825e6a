from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.preprocessing import StandardScaler

from ml.clustering import (
    agreement,
    different,
    fit_clusters,
    inertia,
    judged,
    resampled_agreement,
    standardised,
)


def points(seed: int, apart: float, size: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Points of three groups, and the group of each."""
    rng = np.random.default_rng(seed)
    group = np.arange(size) % 3
    return rng.normal(size=(size, 2)) + apart * np.column_stack([group == 1, group == 2]), group


def rand_index(one: np.ndarray, two: np.ndarray) -> float:
    """The adjusted Rand index by its definition, from a table of counts."""
    table = pd.crosstab(one, two).to_numpy()
    both = sum(comb(int(n), 2) for n in table.ravel())
    first, second = (sum(comb(int(n), 2) for n in table.sum(axis=axis)) for axis in (0, 1))
    expected = first * second / comb(len(one), 2)
    return (both - expected) / ((first + second) / 2 - expected)


def test_standardised_as_sklearn_does_but_for_the_sample_deviation() -> None:
    values = np.column_stack([points(1, 3.0)[0], np.full(60, 0.1)])
    expected = StandardScaler().fit_transform(values) * np.sqrt(59 / 60)
    found = standardised(values)
    np.testing.assert_allclose(found[:, :2], expected[:, :2], rtol=1e-12, atol=1e-15)
    assert not found[:, 2].any()


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=50)
def test_agreement_by_its_definition_whatever_the_numbers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, two = rng.integers(0, 3, 20), rng.integers(0, 4, 20)
    assert agreement(one, two) == pytest.approx(rand_index(one, two), abs=1e-12)
    assert agreement(rng.permutation(3)[one], two) == pytest.approx(agreement(one, two), abs=1e-12)
    assert agreement(one, rng.permutation(3)[one]) == pytest.approx(1)


def test_inertia_is_that_of_sklearn() -> None:
    data, _ = points(2, 2.0)
    model = fit_clusters(data, 4, seed=42)
    assert inertia(data, model.cluster_centers_) == pytest.approx(model.inertia_, rel=1e-12)


def test_a_fit_is_the_best_there_is() -> None:
    data, _ = points(3, 2.0, size=9)
    best = min(
        sum(((data[part] - data[part].mean(axis=0)) ** 2).sum() for part in (member, ~member))
        for size in range(1, 5)
        for chosen in combinations(range(9), size)
        for member in [np.isin(np.arange(9), chosen)]
    )
    assert fit_clusters(data, 2, seed=42).inertia_ == pytest.approx(best)


def test_groups_far_apart_are_found_again_and_noise_is_not() -> None:
    data, group = points(4, 30.0)
    np.testing.assert_allclose(resampled_agreement(data, group, seed=42, resamples=10), 1)
    noise, _ = points(4, 0.0)
    label = fit_clusters(noise, 6, seed=42).labels_
    assert resampled_agreement(noise, label, seed=42, resamples=10).mean() < 0.8


def test_each_resample_is_clustered_by_its_own_points() -> None:
    # Two groups near each other and one point far away, a cluster of its own: a resample without
    # it, of which there are (1 - 1/n)^n, parts the groups instead.
    rng = np.random.default_rng(6)
    size = 40
    data = rng.normal(0, 0.1, (size, 2)) + np.where(np.arange(size) % 2, 5.0, 0.0)[:, None]
    data[0] = 1_000.0
    label = (np.arange(size) == 0).astype(np.int64)
    without = (resampled_agreement(data, label, seed=42, resamples=100) < 0.5).mean()
    assert without == pytest.approx((1 - 1 / size) ** size, abs=0.1)


def test_metrics_of_a_clustering() -> None:
    data, group = points(4, 30.0)
    centres = np.array([data[group == place].mean(axis=0) for place in range(3)])
    label = np.where(group == 1, 2, group)  # a cluster without a symbol, and one of forty
    found = judged(data, group, centres, seed=42, resamples=5).metrics
    points_of = [data[group == place] for place in range(3)]
    spread = [((data[:, None, :] - each[None]) ** 2).sum(axis=2) for each in points_of]
    # By its definition: a point is not among its neighbours.
    inside = np.array([spread[g][n].sum() / 19 for n, g in enumerate(group)])
    apart = np.array(
        [min(spread[o][n].mean() for o in range(3) if o != g) for n, g in enumerate(group)]
    )
    silhouette = ((apart - inside) / np.maximum(apart, inside)).mean()
    assert found["silhouette"] == pytest.approx(silhouette)
    assert found["inertia"] == pytest.approx(KMeans(3, n_init=10).fit(data).inertia_)
    assert found["resampled_agreement"] == pytest.approx(1)
    assert (found["smallest_cluster"], found["largest_cluster"]) == (20, 20)
    uneven = judged(data, label, centres, seed=42, resamples=0).metrics
    assert (uneven["smallest_cluster"], uneven["largest_cluster"]) == (0, 40)
    assert "resampled_agreement" not in uneven


def test_resamples_come_from_their_seed() -> None:
    data, _ = points(5, 1.0)
    label = fit_clusters(data, 4, seed=42).labels_
    once, again, other = (resampled_agreement(data, label, seed, 5) for seed in (1, 1, 2))
    assert once.tolist() == again.tolist()
    assert once.tolist() != other.tolist()


def test_a_resample_with_too_few_different_points_does_not_count() -> None:
    data = np.repeat([[0.0], [1.0], [5.0]], 2, axis=0)
    label = np.array([0, 0, 0, 0, 1, 1])
    assert different(data) == 3
    counted = resampled_agreement(data, label, seed=42, resamples=50)
    assert 0 < counted.size < 50
