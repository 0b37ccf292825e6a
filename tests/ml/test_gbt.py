import json
from itertools import pairwise

import mlflow
import numpy as np
import pandas as pd
import pytest
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
from ml import fits
from ml.contracts import FEATURE_IMPORTANCES, FEATURES, NEWEST, PREDICTIONS
from ml.features import FEATURE_NAMES, TARGET
from ml.fits import fit_gbt, fit_ridge, training_rows
from ml.gbt import run_gbt
from ml.splits import random_split
from ml.validation import walk_forward_splits
from tests.conftest import ContextFactory
from tests.ml import market
from tests.ml.conftest import RUN_ID, Trained
from tests.pipelines import interpreted


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


def test_a_fold_knows_nothing_from_its_purge_on(
    trained: Trained, make_context: ContextFactory
) -> None:
    # The first fold again, from a table that ends before it.
    context = make_context("gbt", settings=trained.settings)
    train_end, start, end = blocks()[0]
    rows = usable()
    past = trained.spark.createDataFrame(rows[rows["open_time"] < train_end])
    model = fit_gbt(context, past, past.count())
    block = rows[(rows["open_time"] >= start) & (rows["open_time"] < end)]
    again = model.transform(trained.spark.createDataFrame(block)).toArrow().to_pandas()
    table = predictions(trained).query("split == 'fold_1'")
    both = table.merge(again, on=["symbol", "open_time"])
    assert len(both) == len(table)
    np.testing.assert_array_equal(both["prediction_x"], both["prediction_y"])


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
    assert runs["metrics.oos_r2"].notna().all()  # so they can be sorted by it
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


def test_the_ridge_is_that_of_sklearn(trained: Trained, make_context: ContextFactory) -> None:
    context = make_context("gbt", settings=trained.settings)
    rows = usable()
    line = fit_ridge(context, trained.spark.createDataFrame(rows)).stages[-1]
    x, y = rows[list(FEATURE_NAMES)], rows[TARGET]
    scale = x.std(ddof=0)
    # Spark penalises standardised coefficients of a standardised target.
    alpha = trained.settings.ml.gbt.ridge_penalty / y.std(ddof=0) * len(rows)
    expected = Ridge(alpha=alpha).fit((x - x.mean()) / scale, y)
    np.testing.assert_allclose(line.coefficients.toArray(), expected.coef_ / scale, rtol=1e-3)
    np.testing.assert_allclose(line.intercept, y.mean() - x.mean() @ line.coefficients.toArray())


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
