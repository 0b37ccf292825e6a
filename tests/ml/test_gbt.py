from itertools import pairwise

import mlflow
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import r2_score, root_mean_squared_error

from lakehouse.errors import NotEnoughData
from lakehouse.settings import Settings
from ml.contracts import FEATURE_IMPORTANCES, FEATURES, PREDICTIONS
from ml.features import FEATURE_NAMES, TARGET
from ml.fits import fit_gbt
from ml.gbt import run_gbt
from ml.splits import random_split
from ml.validation import walk_forward_splits
from tests.conftest import ContextFactory
from tests.ml import market
from tests.ml.conftest import RUN_ID, Trained


def usable() -> pd.DataFrame:
    return market.features(market.closes()).dropna().reset_index(drop=True)


def blocks() -> list[tuple[pd.Timestamp, pd.Timestamp, pd.Timestamp]]:
    """train_end, test_start and test_end of the two folds: 20 days each, after the first 20."""
    cuts = [usable()["open_time"].min() + pd.Timedelta(days=20 * block) for block in (1, 2, 3)]
    return [(start - market.BAR * (1 + 5), start, end) for start, end in pairwise(cuts)]


def children(trained: Trained, parent: str) -> pd.DataFrame:
    runs = mlflow.search_runs(
        experiment_names=["candlelake/gbt"],
        filter_string=f"tags.`mlflow.parentRunId` = '{parent}'",
    )
    return runs.set_index("tags.mlflow.runName")


def test_predictions_cover_the_test_blocks_once(trained: Trained) -> None:
    table = trained.table(PREDICTIONS)
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
    table = trained.table(PREDICTIONS).query("split == 'fold_1'")
    both = table.merge(again, on=["symbol", "open_time"])
    assert len(both) == len(table)
    np.testing.assert_array_equal(both["prediction_x"], both["prediction_y"])


def test_folds_are_those_of_the_splitter() -> None:
    times = usable()["open_time"].astype("int64") // 1_000
    step = int(market.BAR / pd.Timedelta("1us"))
    folds = walk_forward_splits(
        int(times.min()), int(times.max()), step, block=120, purge=1, embargo=5
    )
    assert [
        tuple(
            pd.Timestamp(at, unit="us", tz="UTC") for at in (f.train_end, f.test_start, f.test_end)
        )
        for f in folds
    ] == blocks()


def test_metrics_are_those_of_the_predictions(trained: Trained) -> None:
    table = trained.table(PREDICTIONS)
    parent = table["mlflow_run_id"][0]
    logged = mlflow.get_run(parent).data.metrics
    target, prediction = table["target"], table["prediction"]
    assert logged["rmse"] == pytest.approx(root_mean_squared_error(target, prediction), rel=1e-9)
    assert logged["zero_rmse"] == pytest.approx(np.sqrt((target**2).mean()), rel=1e-9)
    mirrored = r2_score(np.append(target, -target), np.append(prediction, -prediction))
    assert logged["oos_r2"] == pytest.approx(mirrored, abs=1e-9)
    by_bar = [
        stats.spearmanr(bar["prediction"], bar["target"]).statistic
        for _, bar in table.groupby("open_time")
        if len(bar) >= 3 and bar["prediction"].nunique() > 1
    ]
    assert logged["rank_ic"] == pytest.approx(np.mean(by_bar), abs=1e-9)
    assert logged["rank_ic_bars"] == len(by_bar)
    folds = children(trained, parent)
    for split, rows in table.groupby("split"):
        expected = root_mean_squared_error(rows["target"], rows["prediction"])
        assert folds.loc[split, "metrics.rmse"] == pytest.approx(expected, rel=1e-9)
        assert folds.loc[split, "metrics.rows"] == len(rows)


def test_each_fit_says_how_it_was_judged(trained: Trained) -> None:
    parent = trained.table(PREDICTIONS)["mlflow_run_id"][0]
    runs = children(trained, parent)
    assert dict(runs["tags.candlelake.evaluation"]) == {
        "fold_1": "walk_forward",
        "fold_2": "walk_forward",
        "random_split": "random_split",
    }
    assert runs.loc["random_split", "tags.candlelake.optimistic"] == "true"
    assert runs["tags.candlelake.optimistic"].notna().sum() == 1
    assert mlflow.get_run(parent).data.tags["candlelake.evaluation"] == "walk_forward"
    assert (runs["status"] == "FINISHED").all()


def test_the_outcome_names_the_honest_and_the_optimistic_figures(trained: Trained) -> None:
    figures = trained.outcomes["gbt"].figures
    names = ("rmse", "zero_rmse", "oos_r2", "rank_ic")
    assert set(figures) == {*names, *(f"random_split_{name}" for name in names)}
    assert all(np.isfinite(float(value)) for value in figures.values())


def test_importances_are_shares_of_the_kept_model(trained: Trained) -> None:
    table = trained.table(FEATURE_IMPORTANCES)
    assert sorted(table["feature"]) == sorted(FEATURE_NAMES)
    assert table["importance"].sum() == pytest.approx(1)


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
