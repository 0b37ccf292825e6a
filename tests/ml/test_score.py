import mlflow
import numpy as np
import pytest
from mlflow.artifacts import download_artifacts

from lakehouse.errors import ModelNotFound
from lakehouse.settings import Settings
from ml.contracts import NEWEST, PREDICTIONS
from ml.features import FEATURE_NAMES
from ml.score import run_score
from tests.conftest import ContextFactory
from tests.ml import market
from tests.ml.conftest import Trained


def test_the_champion_predicts_the_bar_after_the_newest(trained: Trained) -> None:
    from pyspark.ml import PipelineModel

    found = trained.table(PREDICTIONS).query(f"split == '{NEWEST}'")
    rows = market.features(market.closes())
    expected = rows[rows["open_time"] == rows["open_time"].max()].dropna(subset=list(FEATURE_NAMES))
    assert list(found["symbol"]) == list(expected["symbol"])
    assert set(found["open_time"]) == set(expected["open_time"])
    assert found["target"].isna().all()
    champion = mlflow.MlflowClient().get_model_version_by_alias("candlelake-gbt-um-4h", "champion")
    assert set(found["model_version"]) == {int(champion.version)}
    assert set(found["mlflow_run_id"]) == {champion.run_id}
    folder = download_artifacts("models:/candlelake-gbt-um-4h@champion")
    model = PipelineModel.load(f"{folder}/sparkml")
    again = model.transform(trained.spark.createDataFrame(expected[["symbol", *FEATURE_NAMES]]))
    predicted = again.select("symbol", "prediction").toArrow().sort_by("symbol")["prediction"]
    np.testing.assert_allclose(found["prediction"], predicted.to_numpy(), rtol=1e-9)
    assert trained.outcomes["score"].message == (
        f"{len(found)} predictions of the bar after 2024-11-29 20:00 UTC by candlelake-gbt-um-4h, "
        "version 1"
    )


def test_folds_name_no_version_and_keep_their_targets(trained: Trained) -> None:
    folds = trained.table(PREDICTIONS).query(f"split != '{NEWEST}'")
    assert folds["model_version"].isna().all()
    assert folds["target"].notna().all()


def test_a_market_without_a_champion_is_named(
    make_context: ContextFactory, in_store: Settings
) -> None:
    spot = in_store.model_copy(
        update={"archive": in_store.archive.model_copy(update={"market": "spot"})}
    )
    with pytest.raises(ModelNotFound, match=r"candlelake-gbt-spot-4h .* run the task gbt first"):
        run_score(make_context("score", settings=spot))
