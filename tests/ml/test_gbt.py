import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow.artifacts import download_artifacts
from pyspark.sql import functions as F
from scipy import stats
from sklearn.linear_model import Ridge
from sklearn.metrics import (
    accuracy_score,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)

from lakehouse.errors import NotEnoughData
from lakehouse.settings import Settings
from lakehouse.tasks import TaskContext
from ml import fits
from ml.contracts import FEATURE_IMPORTANCES, FEATURES, NEWEST, PREDICTIONS
from ml.features import FEATURE_NAMES, TARGET
from ml.fits import fit_gbt, fit_ridge, training_rows
from ml.gbt import run_gbt
from ml.permutation import shuffled_copies
from ml.splits import random_split
from ml.validation import walk_forward_splits
from tests.conftest import ContextFactory
from tests.ml import market
from tests.ml.conftest import RUN_ID, Trained
from tests.pipelines import interpreted

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel


def usable() -> pd.DataFrame:
    return market.features(market.closes()).dropna().reset_index(drop=True)


def blocks() -> list[tuple[pd.Timestamp, pd.Timestamp, pd.Timestamp]]:
    """train_end, test_start and test_end of the two folds: 20 days each, after the first 20."""
    midnight = usable()["open_time"].min().ceil("D")
    cuts = [midnight + pd.Timedelta(days=20 * block) for block in (1, 2, 3)]
    return [(start - market.BAR * (1 + 5), start, end) for start, end in pairwise(cuts)]


def children(trained: Trained, parent: str) -> pd.DataFrame:
    runs = mlflow.search_runs(
        experiment_names=["candlelake/gbt"],
        filter_string=f"tags.`mlflow.parentRunId` = '{parent}'",
    )
    return runs.set_index("tags.mlflow.runName")


def predictions(trained: Trained) -> pd.DataFrame:
    """Those of the walk-forward folds."""
    return trained.table(PREDICTIONS).query(f"split != '{NEWEST}'").reset_index(drop=True)


def test_predictions_cover_the_test_blocks_once(trained: Trained) -> None:
    table = predictions(trained)
    rows = usable()
    for fold, (_, start, end) in enumerate(blocks(), start=1):
        expected = rows[(rows["open_time"] >= start) & (rows["open_time"] < end)]
        found = table[table["split"] == f"fold_{fold}"].merge(expected, on=["symbol", "open_time"])
        assert len(found) == len(expected) == (table["split"] == f"fold_{fold}").sum()
        np.testing.assert_allclose(found["target_x"], found["target_y"], rtol=1e-9)
    assert set(table["split"]) == {"fold_1", "fold_2"}
    assert not table.duplicated(["symbol", "open_time"]).any()
    assert set(table["run_id"]) == {RUN_ID}


def fold_rows(fold: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to fit and rows to predict."""
    train_end, start, end = blocks()[fold]
    rows = usable()
    opens = rows["open_time"]
    return rows[opens < train_end], rows[(opens >= start) & (opens < end)]


def predicted(trained: Trained, model: "PipelineModel", rows: pd.DataFrame) -> np.ndarray:
    """Forecasts in the order of the rows."""
    numbered = rows[list(FEATURE_NAMES)].assign(row=range(len(rows)))
    forecasts = model.transform(trained.spark.createDataFrame(numbered))
    found = forecasts.select("row", "prediction").toArrow().sort_by("row")
    return np.asarray(found["prediction"].to_numpy())


@pytest.fixture(scope="module")
def fold_models(trained_once: Trained) -> "list[PipelineModel]":
    """The trees of both folds again, from tables that end before them."""
    context = cast(TaskContext, SimpleNamespace(settings=trained_once.settings))
    pasts = [trained_once.spark.createDataFrame(fold_rows(fold)[0]) for fold in (0, 1)]
    return [fit_gbt(context, past, past.count()) for past in pasts]


def test_a_fold_knows_nothing_from_its_purge_on(
    trained: Trained, fold_models: "list[PipelineModel]"
) -> None:
    for fold, model in enumerate(fold_models):
        block = fold_rows(fold)[1]
        again = block.assign(again=predicted(trained, model, block))
        table = predictions(trained).query(f"split == 'fold_{fold + 1}'")
        both = table.merge(again, on=["symbol", "open_time"])
        assert len(both) == len(table)
        np.testing.assert_array_equal(both["prediction"], both["again"])


def test_permutation_importances_are_of_the_rows_that_the_folds_have_not_seen(
    trained: Trained, fold_models: "list[PipelineModel]"
) -> None:
    seed = trained.settings.ml.seed
    lost, total = np.zeros(len(FEATURE_NAMES)), 0.0
    for fold, model in enumerate(fold_models):
        # Few enough to be taken all, in the order of their hashes.
        block = trained.spark.createDataFrame(fold_rows(fold)[1])
        by_chance = F.xxhash64("symbol", "open_time", F.lit(seed))
        rows = block.orderBy(by_chance).toArrow().to_pandas()
        error = np.sum((predicted(trained, model, rows) - rows[TARGET]) ** 2)
        copies = shuffled_copies(rows[list(FEATURE_NAMES)].to_numpy(), 5, seed)
        for feature, repeats in enumerate(copies):
            stacked = pd.DataFrame(repeats.reshape(-1, len(FEATURE_NAMES)), columns=FEATURE_NAMES)
            shuffled = predicted(trained, model, stacked) - np.tile(rows[TARGET], 5)
            lost[feature] += np.sum(shuffled**2) / 5 - error
        total += np.sum(rows[TARGET] ** 2)
    expected = pd.Series(lost / total, FEATURE_NAMES)
    assert (expected > 0).any()
    logged = mlflow.get_run(predictions(trained)["mlflow_run_id"][0]).data.metrics
    for feature, fall in expected.items():
        assert logged[f"permutation_importance_{feature}"] == pytest.approx(fall, abs=1e-9)
    table = trained.table(FEATURE_IMPORTANCES).set_index("feature")["permutation_importance"]
    np.testing.assert_allclose(table[list(FEATURE_NAMES)], expected, atol=1e-9)


def test_the_random_split_is_fitted_to_its_rows_alone(
    trained: Trained, make_context: ContextFactory
) -> None:
    rows = trained.spark.createDataFrame(usable())
    split = random_split(rows, trained.settings.ml.seed)
    context = make_context("gbt", settings=trained.settings)
    model = fit_gbt(context, split.train, split.train.count())
    found = model.transform(split.test).toArrow().to_pandas()
    expected = root_mean_squared_error(found[TARGET], found["prediction"])
    parent = mlflow.get_run(predictions(trained)["mlflow_run_id"][0])
    assert parent.data.metrics["random_split_rmse"] == pytest.approx(expected, rel=1e-9)


def test_the_kept_trees_are_fitted_to_all_rows(trained: Trained) -> None:
    run = predictions(trained)["mlflow_run_id"][0]
    folder = download_artifacts(run_id=run, artifact_path="model/sparkml/stages")
    [data] = Path(folder).glob("*GBT*/data")
    roots = [row["nodeData"] for row in pq.read_table(data).to_pylist()]
    assert {root["rawCount"] for root in roots if root["id"] == 0} == {len(usable())}


def test_folds_are_those_of_the_splitter() -> None:
    times = usable()["open_time"].astype("int64") // 1_000
    step = int(market.BAR / pd.Timedelta("1us"))
    folds = walk_forward_splits(
        int(times.min()), int(times.max()), step, day=6 * step, block=120, purge=1, embargo=5
    )
    assert [
        tuple(
            pd.Timestamp(at, unit="us", tz="UTC") for at in (f.train_end, f.test_start, f.test_end)
        )
        for f in folds
    ] == blocks()


def test_metrics_are_those_of_the_predictions(trained: Trained) -> None:
    table = predictions(trained)
    parent = table["mlflow_run_id"][0]
    logged = mlflow.get_run(parent).data.metrics
    target, prediction = table["target"], table["prediction"]
    assert logged["rmse"] == pytest.approx(root_mean_squared_error(target, prediction), rel=1e-9)
    assert logged["zero_rmse"] == pytest.approx(np.sqrt((target**2).mean()), rel=1e-9)
    mirrored = r2_score(np.append(target, -target), np.append(prediction, -prediction))
    assert logged["oos_r2"] == pytest.approx(mirrored, abs=1e-9)
    assert logged["mae"] == pytest.approx(mean_absolute_error(target, prediction), rel=1e-9)
    moved = target != 0
    right = accuracy_score(np.sign(prediction[moved]), np.sign(target[moved]))
    assert logged["directional_accuracy"] == pytest.approx(right, rel=1e-9)
    known = usable()
    means = [
        known.loc[known["open_time"] < train_end, TARGET].mean() for train_end, _, _ in blocks()
    ]
    mean = np.where(table["split"] == "fold_1", *means)
    spread = np.sum((target - mean) ** 2)
    expected = 1 - np.sum((target - prediction) ** 2) / spread
    assert logged["oos_r2_mean"] == pytest.approx(expected, abs=1e-9)
    assert logged["optimism"] == logged["random_split_oos_r2"] - logged["oos_r2"]
    by_bar = pd.Series(
        {
            at: stats.spearmanr(bar["prediction"], bar["target"]).statistic
            for at, bar in table.groupby("open_time")
            if len(bar) >= 3 and bar["prediction"].nunique() > 1
        }
    )
    by_day = by_bar.groupby(by_bar.index.floor("D")).mean()
    assert logged["rank_ic"] == pytest.approx(by_day.mean(), abs=1e-9)
    student = stats.ttest_1samp(by_day, 0).statistic
    assert logged["rank_ic_t"] == pytest.approx(student, rel=1e-9)
    assert logged["rank_ic_days"] == len(by_day)
    folds = children(trained, parent)
    for split, rows in table.groupby("split"):
        expected = root_mean_squared_error(rows["target"], rows["prediction"])
        assert folds.loc[split, "metrics.rmse"] == pytest.approx(expected, rel=1e-9)
        assert folds.loc[split, "metrics.rows"] == len(rows)


def test_each_fit_says_how_it_was_judged(trained: Trained) -> None:
    parent = predictions(trained)["mlflow_run_id"][0]
    runs = children(trained, parent)
    assert dict(runs["tags.candlelake.evaluation"]) == {
        "fold_1": "walk_forward",
        "fold_2": "walk_forward",
        "random_split": "random_split",
        "ridge_fold_1": "walk_forward",
        "ridge_fold_2": "walk_forward",
    }
    # Sorted by it, the honest ones stand above each other, and nothing else does.
    honest = runs["metrics.oos_r2"].notna()
    assert set(runs.index[~honest]) == {"random_split"}
    metrics = mlflow.get_run(parent).data.metrics
    optimistic = runs.loc["random_split", "metrics.random_split_oos_r2"]
    assert optimistic == metrics["random_split_oos_r2"]
    assert not {"oos_r2", "rank_ic", "rmse"} & set(
        mlflow.get_run(runs.loc["random_split", "run_id"]).data.metrics
    )
    assert runs.loc["random_split", "tags.candlelake.optimistic"] == "true"
    assert runs["tags.candlelake.optimistic"].notna().sum() == 1
    assert mlflow.get_run(parent).data.tags["candlelake.evaluation"] == "walk_forward"
    assert (runs["status"] == "FINISHED").all()


def test_the_outcome_names_the_honest_and_the_optimistic_figures(trained: Trained) -> None:
    figures = trained.outcomes["gbt"].figures
    names = ("rmse", "zero_rmse", "mae", "oos_r2", "oos_r2_mean", "directional_accuracy")
    names = (*names, "rank_ic", "rank_ic_t")
    numbers = {f"{side}{name}" for side in ("", "ridge_", "random_split_") for name in names}
    assert set(figures) == {*numbers, "model", "version"}
    assert all(np.isfinite(float(figures[name])) for name in numbers)


def test_a_forecast_without_skill_is_called_so(trained: Trained) -> None:
    # The made-up market is a random walk.
    said = trained.outcomes["gbt"].message
    assert said.startswith("No skill")
    run = mlflow.get_run(predictions(trained)["mlflow_run_id"][0])
    assert said.startswith(run.data.tags["candlelake.skill"])


def sklearns_ridge(penalty: float, rows: pd.DataFrame) -> tuple[np.ndarray, float]:
    """Coefficients and intercept."""
    x, y = rows[list(FEATURE_NAMES)], rows[TARGET]
    scale = x.std(ddof=0)
    # Spark penalises standardised coefficients of a standardised target.
    alpha = penalty / y.std(ddof=0) * len(rows)
    slopes = Ridge(alpha=alpha).fit((x - x.mean()) / scale, y).coef_ / scale.to_numpy()
    return slopes, float(y.mean() - x.mean() @ slopes)


def test_the_ridge_is_that_of_sklearn(trained: Trained, make_context: ContextFactory) -> None:
    context = make_context("gbt", settings=trained.settings)
    rows = usable()
    line = fit_ridge(context, trained.spark.createDataFrame(rows)).stages[-1]
    slopes, intercept = sklearns_ridge(trained.settings.ml.gbt.ridge_penalty, rows)
    np.testing.assert_allclose(line.coefficients.toArray(), slopes, rtol=1e-3)
    np.testing.assert_allclose(line.intercept, intercept, rtol=1e-3)


def test_the_ridges_folds_know_the_past_alone(trained: Trained) -> None:
    runs = children(trained, predictions(trained)["mlflow_run_id"][0])
    for fold in (0, 1):
        train, test = fold_rows(fold)
        errors = []
        for known in (train, usable()):
            slopes, intercept = sklearns_ridge(trained.settings.ml.gbt.ridge_penalty, known)
            forecast = test[list(FEATURE_NAMES)] @ slopes + intercept
            errors.append(root_mean_squared_error(test[TARGET], forecast))
        found = runs.loc[f"ridge_fold_{fold + 1}", "metrics.rmse"]
        assert found == pytest.approx(errors[0], rel=1e-5)
        assert errors[1] != pytest.approx(errors[0], rel=1e-3)


def test_the_ridge_is_judged_by_the_same_rows(trained: Trained) -> None:
    parent = mlflow.get_run(predictions(trained)["mlflow_run_id"][0]).data.metrics
    assert parent["ridge_rows"] == parent["rows"]
    assert parent["ridge_zero_rmse"] == parent["zero_rmse"]
    assert parent["ridge_oos_r2"] != parent["oos_r2"]


def test_a_fold_names_what_it_was_fitted_to_and_judged_by(trained: Trained) -> None:
    runs = children(trained, predictions(trained)["mlflow_run_id"][0])
    train_end, start, end = blocks()[0]
    used = {
        each.tags[0].value: json.loads(each.dataset.profile)["rows"]
        for each in mlflow.get_run(runs.loc["fold_1", "run_id"]).inputs.dataset_inputs
    }
    assert used == {
        "training": f"open_time before {train_end:%Y-%m-%d %H:%M} UTC",
        "testing": f"open_time from {start:%Y-%m-%d %H:%M} to before {end:%Y-%m-%d %H:%M} UTC",
    }
    fitted = (usable()["open_time"] < train_end).sum()
    assert runs.loc["fold_1", "metrics.train_rows"] == fitted


def test_importances_are_shares_of_the_kept_model(trained: Trained) -> None:
    table = trained.table(FEATURE_IMPORTANCES)
    assert sorted(table["feature"]) == sorted(FEATURE_NAMES)
    assert table["importance"].sum() == pytest.approx(1)
    assert (table["permutation_importance"].abs() < 1).all()
    assert (table["permutation_importance"] != 0).any()


def test_the_random_split_is_the_same_however_rows_are_spread(trained: Trained) -> None:
    rows = trained.spark.createDataFrame(usable()[["symbol", "open_time", TARGET]])
    split, spread = random_split(rows, 42), random_split(rows.repartition(5), 42)
    fitted = {tuple(row) for row in split.train.collect()}
    tested = {tuple(row) for row in split.test.collect()}
    assert fitted == {tuple(row) for row in spread.train.collect()}
    assert not fitted & tested
    assert len(fitted) + len(tested) == len(usable())
    assert len(fitted) / len(usable()) == pytest.approx(0.8, abs=0.03)
    other = {tuple(row) for row in random_split(rows, 43).train.collect()}
    assert other != fitted


def test_features_that_are_missing_are_named_as_the_reason(
    make_context: ContextFactory, in_store: Settings
) -> None:
    context = make_context("gbt", settings=in_store)
    with pytest.raises(NotEnoughData, match="gbt_features"):
        run_gbt(context)
    assert context.lake.read_versions == {FEATURES.full_name: 0}


@pytest.mark.parametrize("rows_in_piece", [1 << 18, 500])  # two pieces, and five
def test_a_fit_does_not_depend_on_where_its_rows_lie(
    trained: Trained,
    make_context: ContextFactory,
    monkeypatch: pytest.MonkeyPatch,
    rows_in_piece: int,
) -> None:
    monkeypatch.setattr(fits, "_ROWS_IN_PIECE", rows_in_piece)
    context = make_context("gbt", settings=trained.settings)
    rows = trained.spark.createDataFrame(usable())
    found = set()
    with interpreted(trained.spark):
        for spread in (rows.coalesce(1), rows.orderBy(F.rand(3)).repartition(7)):
            known = training_rows(spread)
            trees = fit_gbt(context, spread, known.count).stages[-1]
            line = fit_ridge(context, spread).stages[-1]
            said = trees.toDebugString.partition("\n")[2]
            found.add((known, said, tuple(line.coefficients.toArray()), line.intercept))
    assert len(found) == 1
