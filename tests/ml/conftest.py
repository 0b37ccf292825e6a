"""One warehouse and one MLflow store that all tasks have worked on once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlflow
import pandas as pd
import pytest

from gold.contracts import ASSET_METRICS
from lakehouse.contracts import TableContract
from lakehouse.session import threads
from lakehouse.settings import Settings
from lakehouse.tables import Lake
from lakehouse.tasks import TaskOutcome
from ml.contracts import FEATURES
from ml.tasks import gbt, gbt_features, kmeans, pca, score
from silver.contracts import CANDLES, LISTINGS
from tests.ml import market
from tests.pipelines import changed_settings, do, interpreted

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RUN_ID = "run-1"


@dataclass(frozen=True)
class Trained:
    """What the tasks left."""

    spark: SparkSession
    settings: Settings
    outcomes: Mapping[str, TaskOutcome]
    read: Mapping[str, int]

    def table(self, contract: TableContract) -> pd.DataFrame:
        """Rows of a table, of one that the tasks read at that version, sorted by its key."""
        lake = Lake(self.spark, self.settings.warehouse)
        rows = lake.read_own(contract, self.read.get(contract.full_name)).toArrow().to_pandas()
        return rows.sort_values(list(contract.key), ignore_index=True)

    def version(self, contract: TableContract) -> int:
        """The version that the tasks read."""
        return self.read[contract.full_name]


@pytest.fixture(scope="session")
def small(base_settings: Settings) -> Settings:
    """Few components, clusters, trees and folds."""
    ml = base_settings.ml
    return base_settings.model_copy(
        update={
            "ml": ml.model_copy(
                update={
                    "pca": ml.pca.model_copy(update={"components": 3, "lookback_days": 30}),
                    "kmeans": ml.kmeans.model_copy(
                        update={"clusters": 3, "sweep": (2, 4), "resamples": 5}
                    ),
                    "gbt": ml.gbt.model_copy(
                        update={"max_iter": 3, "max_depth": 3, "fold_days": 20, "embargo_bars": 5}
                    ),
                }
            ),
            # The market is small and 60 days long.
            "index": base_settings.index.model_copy(
                update={"lookback_days": 30, "enter_volume": 0.0, "stay_volume": 0.0}
            ),
        }
    )


@pytest.fixture
def trained(trained_once: Trained) -> Trained:
    """The warehouse and the store; tests that open a store of their own leave MLflow at theirs."""
    mlflow.set_tracking_uri(trained_once.settings.mlflow.tracking_uri)
    return trained_once


@pytest.fixture(scope="session")
def trained_once(
    spark: SparkSession, small: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    base = tmp_path_factory.mktemp("trained")
    settings = changed_settings(
        small.model_copy(update={"warehouse": str(base / "lake")}),
        mlflow={"tracking_uri": f"sqlite:///{base}/mlflow.db"},
    )
    with interpreted(spark):
        lake = Lake(spark, settings.warehouse)
        lake.append(CANDLES, market.candle_rows(spark, market.closes()))
        lake.append(LISTINGS, market.listing_rows(spark, market.closes()))
        lake.append(ASSET_METRICS, market.metric_rows(spark, market.metrics()))
        # At once, as a job runs them, on a store that does not exist yet.
        with threads(spark, 2, "test") as pool:
            tasks = {task.name: task for task in (pca, kmeans, gbt_features)}
            running = {
                name: pool.submit(do, spark, settings, task, RUN_ID) for name, task in tasks.items()
            }
            outcomes = {name: future.result() for name, future in running.items()}
        for task in (gbt, score):
            outcomes[task.name] = do(spark, settings, task, RUN_ID)
        read = {
            table.full_name: lake.version(table) for table in (CANDLES, ASSET_METRICS, FEATURES)
        }
    return Trained(spark, settings, outcomes, read)


@pytest.fixture
def in_store(settings: Settings, trained_once: Trained) -> Settings:
    """A warehouse of the test's own, and the store that is there already."""
    return settings.model_copy(update={"mlflow": trained_once.settings.mlflow})
