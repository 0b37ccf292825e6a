from pathlib import Path
from types import SimpleNamespace
from typing import cast

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.artifacts import download_artifacts
from pyspark.sql import DataFrame, SparkSession
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from sklearn.preprocessing import StandardScaler

from gold.contracts import ASSET_METRICS
from lakehouse.errors import NotEnoughData
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from lakehouse.tasks import TaskContext
from ml import kmeans
from ml.contracts import CLUSTERS, LEADER_LEVELS, LEADER_STATISTICS, MONTHLY_CLUSTERS
from ml.kmeans import MEASURES, fit_kmeans, run_kmeans
from ml.leaders_result import load_leaders
from silver.contracts import LISTINGS
from tests.conftest import ContextFactory
from tests.ml import market
from tests.ml.conftest import RUN_ID, Trained


def standardised(measured: pd.DataFrame) -> np.ndarray:
    # Spark divides by the sample standard deviation, scikit-learn by the population's.
    values = measured[list(MEASURES)]
    return StandardScaler(with_std=False).fit_transform(values) / values.std(ddof=1).to_numpy()


def test_clusters_match_sklearn(trained: Trained) -> None:
    table = trained.table(CLUSTERS)
    measured = market.metrics().dropna()
    assert list(table["symbol"]) == list(measured["symbol"])
    points = standardised(measured)
    reference = KMeans(3, n_init=10, random_state=0).fit(points)
    pairs = set(zip(table["cluster"], reference.labels_, strict=True))
    assert len(pairs) == 3  # each of ours is one of theirs
    for ours, theirs in pairs:
        centre = points[table["cluster"] == ours].mean(axis=0)
        np.testing.assert_allclose(centre, reference.cluster_centers_[theirs], atol=1e-9)


def test_clusters_are_numbered_by_sharpe_and_led_by_their_best(trained: Trained) -> None:
    table = trained.table(CLUSTERS)
    means = table.groupby("cluster")["sharpe"].mean()
    assert list(means.index) == [0, 1, 2]
    assert means.is_monotonic_decreasing
    best = table.loc[table.groupby("cluster")["sharpe"].idxmax(), "symbol"]
    assert set(table.loc[table["is_leader"], "symbol"]) == set(best)
    assert set(table["run_id"]) == {RUN_ID}
    assert set(table["as_of"]) == {pd.Timestamp(market.AS_OF)}


def test_measures_are_those_of_the_metrics(trained: Trained) -> None:
    table = trained.table(CLUSTERS)
    measured = market.metrics().dropna().reset_index(drop=True)
    pd.testing.assert_frame_equal(table[list(MEASURES)], measured[list(MEASURES)])


def test_each_candidate_has_its_metrics(trained: Trained) -> None:
    table = trained.table(CLUSTERS)
    runs = mlflow.search_runs(
        experiment_names=["candlelake/kmeans"],
        filter_string=f"tags.`mlflow.parentRunId` = '{table['mlflow_run_id'][0]}'",
    )
    candidates = runs[runs["tags.mlflow.runName"].str.startswith("k_")].set_index("params.k")
    assert set(candidates.index) == {"2", "3", "4"}
    points = standardised(market.metrics().dropna())
    expected = silhouette_score(points, table["cluster"], metric="sqeuclidean")
    assert candidates["metrics.silhouette"]["3"] == pytest.approx(expected, abs=1e-9)
    for k, inertia in candidates["metrics.inertia"].items():
        best = KMeans(int(k), n_init=20, random_state=0).fit(points).inertia_
        assert inertia == pytest.approx(best, rel=1e-9)
    assert set(candidates["tags.candlelake.evaluation"]) == {"in_sample"}
    for run_id in candidates["run_id"]:
        [read] = mlflow.get_run(run_id).inputs.dataset_inputs
        assert read.dataset.name == f"gold.asset_metrics@v{trained.version(ASSET_METRICS)}"
    three = candidates.loc["3"]
    assert (three["metrics.smallest_cluster"], three["metrics.largest_cluster"]) == (4, 4)
    assert three["metrics.resampled_agreement"] == pytest.approx(1)


class OneStart:
    """Stands for Spark's KMeans: the seed is the only centre that it finds."""

    def __init__(self) -> None:
        self.tried: list[int] = []

    def copy(self) -> "OneStart":
        return self

    def setSeed(self, seed: int) -> SimpleNamespace:  # Spark's name
        self.tried.append(seed)
        found = SimpleNamespace(clusterCenters=lambda: [np.array([float(seed)])])
        return SimpleNamespace(fit=lambda _: found)


def test_the_kept_model_is_the_best_of_several_starts(
    base_settings: Settings, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = OneStart()
    monkeypatch.setattr(kmeans, "KMeans", lambda **_: fits)
    context = cast(TaskContext, SimpleNamespace(settings=base_settings, spark=spark))
    measured = np.array([[46.0], [48.0]])
    found = fit_kmeans(context, cast(DataFrame, None), measured)
    assert found.clusterCenters() == [47.0]
    assert sorted(fits.tried) == list(range(42, 52))


def test_the_leaders_of_each_month_are_held(trained: Trained) -> None:
    clusters = trained.table(MONTHLY_CLUSTERS)
    assert set(clusters["as_of"]) == {pd.Timestamp("2024-11-01", tz="UTC")}
    assert set(clusters["symbol"]) == set(market.SYMBOLS) - {market.LATE, market.BROKEN}
    assert clusters["is_leader"].sum() == 3
    levels = trained.table(LEADER_LEVELS)
    mine = levels[levels["index_name"] == "cluster_leaders"]
    # Bought at the first open of the month, which is the made-up bar's close, for 10 basis points.
    closes = market.closes().pivot(index="open_time", columns="symbol", values="close")
    held = closes.loc["2024-11-01":, clusters["symbol"][clusters["is_leader"]]]
    expected = 1000 * (1 - 0.001) * (held / held.iloc[0]).mean(axis=1)
    np.testing.assert_allclose(mine["level"].iloc[1:], expected, rtol=1e-12)
    every = closes.loc["2024-11-01":, clusters["symbol"]]
    equal = levels[levels["index_name"] == "equal_weight"]["level"].iloc[1:]
    np.testing.assert_allclose(equal, 999 * (every / every.iloc[0]).mean(axis=1), rtol=1e-12)
    statistics = trained.table(LEADER_STATISTICS).set_index(["index_name", "statistic"])["value"]
    total = expected.iloc[-1] / 1000 - 1
    assert statistics["cluster_leaders", "total_return"] == pytest.approx(total)
    assert 0 <= statistics["cluster_leaders", "random_share_below"] <= 1


def test_the_report_knows_the_rules_by_which_the_leaders_were_held(trained: Trained) -> None:
    found = load_leaders(Lake(trained.spark, trained.settings.warehouse), trained.settings, RUN_ID)
    assert found is not None
    assert (found.rules["top_n"], found.rules["weighting"]) == (3, "equal")
    assert found.rules["top_n"] != trained.settings.index.top_n
    assert found.rules["cost_bps"] == trained.settings.index.cost_bps


def test_the_leaders_are_a_child_run_that_walked_forward(trained: Trained) -> None:
    table = trained.table(LEADER_STATISTICS)
    [run] = mlflow.search_runs(
        experiment_names=["candlelake/kmeans"],
        filter_string=f"tags.`mlflow.parentRunId` = '{table['mlflow_run_id'][0]}' "
        "AND attributes.run_name = 'leaders'",
        output_format="list",
    )
    assert run.data.tags["candlelake.evaluation"] == "walk_forward"
    assert {each.dataset.name.split("@")[0] for each in run.inputs.dataset_inputs} == {
        "silver.candles",
        "silver.listings",
    }
    values = table.set_index(["index_name", "statistic"])["value"]
    for name in ("cluster_leaders", "equal_weight"):
        metric = "total_return" if name == "cluster_leaders" else f"{name}_total_return"
        assert run.data.metrics[metric] == values[name, "total_return"]
    folder = Path(download_artifacts(run_id=run.info.run_id))
    assert {path.name for path in folder.iterdir()} == {"equity.png", "drawdown.png", "leaders.csv"}


def test_the_kept_model_gives_the_numbers_of_the_table(trained: Trained) -> None:
    from pyspark.ml import PipelineModel

    table = trained.table(CLUSTERS)
    folder = download_artifacts(run_id=table["mlflow_run_id"][0], artifact_path="model")
    model = PipelineModel.load(f"{folder}/sparkml")
    rows = trained.spark.createDataFrame(table[["symbol", *MEASURES]])
    predicted = model.transform(rows).select("symbol", "prediction").toArrow().to_pandas()
    merged = table.merge(predicted, on="symbol")
    assert len(merged) == len(table)
    assert (merged["cluster"] == merged["prediction"]).all()


def test_a_repeated_run_replaces_its_rows_with_the_newest_metrics(
    make_context: ContextFactory, in_store: Settings
) -> None:
    measured = market.metrics()
    few = in_store.model_copy(
        update={
            "ml": in_store.ml.model_copy(
                update={
                    "kmeans": in_store.ml.kmeans.model_copy(
                        update={"clusters": 2, "sweep": (), "resamples": 3}
                    )
                }
            )
        }
    )
    context = make_context("kmeans", settings=few)
    context.lake.append(ASSET_METRICS, market.metric_rows(context.spark, measured))
    # 60 days: no month ends with a lookback of 90 behind it.
    context.lake.append(LISTINGS, market.listing_rows(context.spark, market.closes()))
    assert "do not reach over 90 days" in run_kmeans(context).figures["cluster_leaders"]
    newer = measured.dropna().query("symbol < 'M3'")
    later = market.AS_OF.replace(month=2)
    context = make_context("kmeans", settings=few)
    context.lake.append(ASSET_METRICS, market.metric_rows(context.spark, newer, later))
    run_kmeans(context)
    table = context.lake.read_own(CLUSTERS).toArrow().to_pandas()
    assert sorted(table["symbol"]) == list(newer["symbol"])
    assert set(table["as_of"]) == {pd.Timestamp(later)}


def test_leaders_that_cannot_be_held_leave_a_failed_run(
    make_context: ContextFactory, in_store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make_context("kmeans", settings=in_store, run_id="run-without-leaders")
    context.lake.append(ASSET_METRICS, market.metric_rows(context.spark, market.metrics()))

    def fails(_: object) -> None:
        raise NotEnoughData("no candles")

    monkeypatch.setattr(kmeans, "leaders_portfolio", fails)
    with pytest.raises(NotEnoughData, match="no candles"):
        run_kmeans(context)
    [run] = mlflow.search_runs(
        experiment_names=["candlelake/kmeans"],
        filter_string=f"tags.`candlelake.run_id` = '{context.run_id}'",
        output_format="list",
    )
    assert run.info.status == "FAILED"


def test_too_few_symbols_are_refused(make_context: ContextFactory) -> None:
    context = make_context("kmeans")
    five = market.metrics().dropna().head(5)
    context.lake.append(ASSET_METRICS, market.metric_rows(context.spark, five))
    with pytest.raises(NotEnoughData, match=r"5 symbols .* lower ml\.kmeans\.clusters"):
        run_kmeans(context)
