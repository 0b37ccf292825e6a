"""KMeans of a few hundred points, and how much a clustering changes when its symbols do.

scikit-learn, on one thread: a parallel sum would round differently from run to run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score
from threadpoolctl import ThreadpoolController

from gold.returns import FloatArray, IntArray

STARTS = 10
"""Starting centres tried for each fit, the best of which is kept: one alone is a matter of luck."""

_THREADS = ThreadpoolController()


@dataclass(frozen=True)
class Clustering:
    """One clustering of symbols.

    Attributes:
        label: (N,) the cluster of each symbol, 0..k-1.
        metrics: What tells it from others: see `judged`.
    """

    label: IntArray
    metrics: Mapping[str, float]


def standardised(measures: FloatArray) -> FloatArray:
    """Each column less its mean, over its sample standard deviation; 0 where all are equal.

    Args:
        measures: (N, M), finite, N >= 2.
    """
    varying = measures.min(axis=0) < measures.max(axis=0)
    scale = np.where(varying, measures.std(axis=0, ddof=1), 1.0)
    return np.where(varying, (measures - measures.mean(axis=0)) / scale, 0.0)


def different(points: FloatArray) -> int:
    """How many rows differ from each other: KMeans finds no more clusters than that."""
    return len(np.unique(points, axis=0))


def fit_clusters(points: FloatArray, clusters: int, seed: int) -> KMeans:
    """Fit KMeans from `STARTS` starting centres, and keep the fit with the lowest inertia.

    Args:
        points: (N, M) standardised, more than `clusters` of them different.
        clusters: k.
        seed: Of the starting centres (k-means++).
    """
    with _THREADS.limit(limits=1):
        return KMeans(clusters, n_init=STARTS, random_state=seed).fit(points)


def inertia(points: FloatArray, centres: FloatArray) -> float:
    """Sum over the points of the squared distance to the nearest centre.

    Args:
        points: (N, M).
        centres: (k, M).
    """
    distance = ((points[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
    return float(distance.min(axis=1).sum())


def agreement(label: IntArray, other: IntArray) -> float:
    """Adjusted Rand index of two clusterings of the same symbols.

    1 for the same clusters whatever their numbers, about 0 for two that have nothing to do with
    each other.

    Source: L. Hubert, P. Arabie, Comparing partitions, Journal of Classification 2, 1985.
    """
    return float(adjusted_rand_score(label, other))


def judged(
    points: FloatArray, label: IntArray, centres: FloatArray, seed: int, resamples: int
) -> Clustering:
    """A clustering with its metrics: how dense, how even and how stable its clusters are.

    The silhouette is the mean by squared Euclidean distance, from -1 to 1.

    Args:
        points: (N, M) standardised.
        label: (N,) the clustering, 0..k-1, of which two clusters or more have points.
        centres: (k, M).
        seed: Of the resamples.
        resamples: How many; see `resampled_agreement`, which is left out when none counts.
    """
    sizes = np.bincount(label, minlength=len(centres))
    metrics = {
        "silhouette": float(silhouette_score(points, label, metric="sqeuclidean")),
        "inertia": inertia(points, centres),
        "smallest_cluster": float(sizes.min()),
        "largest_cluster": float(sizes.max()),
    }
    agreements = resampled_agreement(points, label, seed, resamples)
    if agreements.size:
        metrics["resampled_agreement"] = float(agreements.mean())
    return Clustering(label, metrics)


def resampled_agreement(
    points: FloatArray, label: IntArray, seed: int, resamples: int
) -> FloatArray:
    """Agreement of a clustering with those of bootstrap resamples of its symbols.

    Each resample draws as many symbols with replacement and is clustered anew by `fit_clusters`;
    all symbols are then given to its nearest centres, and compared.

    Args:
        points: (N, M) standardised.
        label: (N,) the clustering, 0..k-1.
        seed: Of the draws and the starts.
        resamples: How many.

    Returns:
        An adjusted Rand index for each resample that holds more than k different points.

    Source: C. Hennig, Cluster-wise assessment of cluster stability, Computational Statistics &
    Data Analysis 52, 2007, with another index.
    """
    clusters = int(label.max()) + 1
    random = np.random.default_rng([seed, clusters])
    found = []
    for _ in range(resamples):
        drawn = points[random.integers(0, len(points), len(points))]
        start = int(random.integers(0, 2**31))
        if different(drawn) > clusters:
            model = fit_clusters(drawn, clusters, start)
            with _THREADS.limit(limits=1):
                found.append(agreement(label, model.predict(points)))
    return np.array(found, dtype=np.float64)
