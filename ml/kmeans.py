"""The task `kmeans`: gold.asset_metrics -> ml.clusters and an MLflow run.

Symbols are grouped by their standardised return, volatility and Sharpe ratio over all history
(in-sample). Each number of clusters tried is a child run; the one in the settings is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.clustering import KMeans
from pyspark.ml.feature import SQLTransformer, StandardScaler, VectorAssembler
from pyspark.sql import functions as F

from gold.contracts import ASSET_METRICS
from gold.returns import FloatArray, IntArray
from lakehouse.arrow import frame_of
from lakehouse.errors import NotEnoughData
from lakehouse.session import threads
from lakehouse.sql import equals
from lakehouse.tasks import TaskContext, TaskOutcome
from ml import kmeans_plots, plots
from ml.clustering import (
    STARTS,
    Clustering,
    different,
    fit_clusters,
    inertia,
    judged,
    standardised,
)
from ml.clusters import cluster_statistics, leaders, renumbering
from ml.contracts import CLUSTERS
from ml.leaders_portfolio import (
    leader_figures,
    leaders_portfolio,
    track_leaders,
    write_leaders,
)
from ml.registry import DOUBLE, INTEGER, Interface, register
from ml.results import ModelResult
from ml.tracking import TrackedRun, tracked_run

if TYPE_CHECKING:
    from pyspark.ml.clustering import KMeansModel
    from pyspark.sql import DataFrame

HONEST_METRIC = "resampled_agreement"
"""By which champions are chosen: whether the same symbols, drawn again, give the same clusters. A
silhouette may prefer a worse fit. Neither says whether the clusters last."""

MEASURES = ("annual_return", "annual_volatility", "sharpe")

_FITS_AT_ONCE = 2
_REPORTED = ("silhouette", "resampled_agreement")
_MEASURED = {
    "silhouette": "Silhouette",
    "inertia": "Inertia",
    "resampled_agreement": "Agreement of resamples",
}


def run_kmeans(context: TaskContext) -> TaskOutcome:
    """Fit, track and write the clusters.

    Raises:
        NotEnoughData: No more symbols with different figures than clusters.
    """
    settings = context.settings.ml.kmeans
    metrics = _newest_metrics(context)
    with tracked_run(context, "kmeans", "in_sample") as run:
        run.log_inputs(ASSET_METRICS)
        months = leaders_portfolio(context)
        scaler, points = _standardised(context, metrics)
        model, chosen = _kept(context, points, metrics)
        _track_sweep(context, run, _sweep(context, metrics, chosen))
        result = _result(metrics, scaler, model, chosen)
        cluster = np.asarray(result.output["cluster"].to_numpy(), dtype=np.int64)
        _track(run, context, metrics, cluster)
        run.log_metrics(result.metrics)
        run.log_output(result.output)
        example = metrics.select(list(MEASURES)).slice(0, 2).to_pandas()
        interface = Interface(dict.fromkeys(MEASURES, DOUBLE), INTEGER, example)
        rows = _rows(context, run.mlflow_run_id, metrics, cluster)
        context.lake.replace(
            CLUSTERS, context.lake.frame(CLUSTERS, rows), equals({"run_id": context.run_id})
        )
        if months:
            track_leaders(context, run, months)
            write_leaders(context, run.mlflow_run_id, months)
        register(run, result.model, "kmeans", interface, HONEST_METRIC)
    return TaskOutcome(
        f"{metrics.num_rows:,} symbols in {settings.clusters} clusters, "
        f"silhouette {chosen.metrics['silhouette']:.2f}",
        {
            **{name: f"{chosen.metrics[name]:.2f}" for name in _REPORTED if name in chosen.metrics},
            **leader_figures(context.settings, months),
        },
    )


def kmeans_result(context: TaskContext) -> ModelResult:
    """Fit the number of clusters of the settings to the newest metrics.

    Returns:
        The output has a row for each symbol, in their order, with its cluster.

    Raises:
        NotEnoughData: No more symbols with different figures than clusters.
    """
    metrics = _newest_metrics(context)
    scaler, points = _standardised(context, metrics)
    return _result(metrics, scaler, *_kept(context, points, metrics))


def _result(
    metrics: pa.Table, scaler: PipelineModel, kept: KMeansModel, chosen: Clustering
) -> ModelResult:
    """The model and what it says, its clusters numbered by their Sharpe ratios."""
    numbers = renumbering(chosen.label, _column(metrics, "sharpe"), kept.getK())
    output = pa.table({"symbol": metrics["symbol"], "cluster": numbers[chosen.label]})
    model = PipelineModel([*scaler.stages, kept, _renumber(numbers)])
    figures = {**chosen.metrics, "symbols": float(metrics.num_rows)}
    return ModelResult(figures, output, model)


def _newest_metrics(context: TaskContext) -> pa.Table:
    """Symbols with a Sharpe ratio over all history, as of the newest date, in symbol order."""
    static = (
        context.lake.read(ASSET_METRICS)
        .where(equals(context.settings.scope))
        .where("lookback_days IS NULL")
    )
    newest = static.agg(F.max("as_of").alias("as_of"))
    metrics = (
        static.join(newest, "as_of", "inner")
        .where("sharpe IS NOT NULL")
        .select("as_of", "symbol", *MEASURES)
        .toArrow()
        .sort_by("symbol")
    )
    clusters = context.settings.ml.kmeans.clusters
    distinct = different(_measures(metrics))
    if distinct <= clusters:
        raise NotEnoughData(
            f"{distinct} symbols with a Sharpe ratio of their own are too few for {clusters} "
            "clusters: widen the universe or the months, or lower ml.kmeans.clusters"
        )
    return metrics


def _standardised(context: TaskContext, metrics: pa.Table) -> tuple[PipelineModel, DataFrame]:
    """The fitted standardisation, and the symbols that it was fitted to with its results."""
    symbols = frame_of(context.spark, metrics.select(["symbol", *MEASURES]))
    # One partition in symbol order: the start of the algorithm depends on where rows lie.
    symbols = symbols.coalesce(1).sortWithinPartitions("symbol")
    scaler = Pipeline(
        stages=[
            VectorAssembler(inputCols=list(MEASURES), outputCol="measures"),
            StandardScaler(
                inputCol="measures", outputCol="standardised", withMean=True, withStd=True
            ),
        ]
    ).fit(symbols)
    return scaler, scaler.transform(symbols)


def _kept(
    context: TaskContext, points: DataFrame, metrics: pa.Table
) -> tuple[KMeansModel, Clustering]:
    """Fit the number of clusters of the settings by Spark, as a model is kept, and judge it."""
    settings = context.settings.ml
    measured = standardised(_measures(metrics))
    model = fit_kmeans(context, points, measured)
    labelled = model.transform(points).select("symbol", "label").toArrow().sort_by("symbol")
    label = np.asarray(labelled["label"].to_numpy(), dtype=np.int64)
    return model, judged(measured, label, _centres(model), settings.seed, settings.kmeans.resamples)


def _sweep(context: TaskContext, metrics: pa.Table, chosen: Clustering) -> Mapping[int, Clustering]:
    """Fit and judge each number of clusters that leaves a cluster more than one symbol.

    The chosen one is that of the kept model; the others are scikit-learn's, from as many starts.
    """
    settings, measured = context.settings.ml, standardised(_measures(metrics))

    def tried(clusters: int) -> Clustering:
        if clusters == settings.kmeans.clusters:
            return chosen
        fit, seed = fit_clusters(measured, clusters, settings.seed), settings.seed
        label = fit.labels_.astype(np.int64)
        return judged(measured, label, fit.cluster_centers_, seed, settings.kmeans.resamples)

    ks = sorted({*settings.kmeans.sweep, settings.kmeans.clusters})
    return {clusters: tried(clusters) for clusters in ks if clusters < different(measured)}


def _track_sweep(
    context: TaskContext, run: TrackedRun, candidates: Mapping[int, Clustering]
) -> None:
    """Log each number of clusters as a child run, and all of them in one figure."""
    for clusters, one in candidates.items():
        tags = {"candlelake.evaluation": "in_sample"}
        with run.child(f"k_{clusters}", {"k": clusters}, tags) as child:
            child.log_inputs(ASSET_METRICS)
            child.log_metrics(one.metrics)
            sizes = np.sort(np.bincount(one.label, minlength=clusters))[::-1]
            child.log_csv("sizes.csv", {"symbols": sizes.tolist()})
    measures = {
        title: [one.metrics.get(name, np.nan) for one in candidates.values()]
        for name, title in _MEASURED.items()
    }
    scope, chosen = " ".join(context.settings.scope.values()), context.settings.ml.kmeans.clusters
    figure = kmeans_plots.sweep(list(candidates), measures, chosen, scope)
    run.log_figure(figure, "sweep.png")


def fit_kmeans(context: TaskContext, points: DataFrame, measured: FloatArray) -> KMeansModel:
    """Fit the number of clusters of the settings from `STARTS` seeds; the lowest inertia is kept.

    Args:
        context: Names the number of clusters, and the first of the seeds.
        points: symbol and the vector standardised.
        measured: The same vectors, (N, M).
    """
    settings = context.settings.ml
    kmeans = KMeans(k=settings.kmeans.clusters, featuresCol="standardised", predictionCol="label")

    def fit(seed: int) -> KMeansModel:
        return kmeans.copy().setSeed(seed).fit(points)

    # A fit is a dozen small jobs, between which the driver works alone.
    with threads(context.spark, _FITS_AT_ONCE, "kmeans") as pool:
        fits = list(pool.map(fit, range(settings.seed, settings.seed + STARTS)))
    return min(fits, key=lambda model: inertia(measured, _centres(model)))


def _centres(model: KMeansModel) -> FloatArray:
    return np.array(model.clusterCenters())


def _renumber(numbers: IntArray) -> SQLTransformer:
    """The model's last stage: from KMeans' label to the number of the cluster."""
    array = ", ".join(str(number) for number in numbers)
    return SQLTransformer(
        statement=f"SELECT *, element_at(array({array}), label + 1) AS prediction FROM __THIS__"
    )


def _track(
    run: TrackedRun,
    context: TaskContext,
    metrics: pa.Table,
    cluster: IntArray,
) -> None:
    scope = " ".join(context.settings.scope.values())
    symbols = metrics["symbol"].to_pylist()
    annual_return, volatility, sharpe = (_column(metrics, name) for name in MEASURES)
    statistics = cluster_statistics(symbols, cluster, annual_return, volatility, sharpe)
    rows = [asdict(one) for one in statistics]
    run.log_csv("clusters.csv", {name: [row[name] for row in rows] for name in rows[0]})
    leading = [one.leader for one in statistics]
    scatter = plots.cluster_scatter(symbols, volatility, annual_return, cluster, leading, scope)
    run.log_figure(scatter, "clusters.png")


def _rows(
    context: TaskContext, mlflow_run_id: str, metrics: pa.Table, cluster: IntArray
) -> list[dict[str, object]]:
    """Rows of ml.clusters."""
    leading = leaders(cluster, _column(metrics, "sharpe"))
    return [
        {
            "run_id": context.run_id,
            "mlflow_run_id": mlflow_run_id,
            **context.settings.scope,
            **row,
            "cluster": int(cluster[place]),
            "is_leader": bool(leading[place]),
        }
        for place, row in enumerate(metrics.to_pylist())
    ]


def _measures(metrics: pa.Table) -> FloatArray:
    """(symbols, measures), in the order of `MEASURES`."""
    return np.column_stack([_column(metrics, name) for name in MEASURES])


def _column(metrics: pa.Table, name: str) -> FloatArray:
    return np.asarray(metrics[name].to_numpy(), dtype=np.float64)
