from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from ml.forecasts import score_forecasts
from ml.validation import forecast_score

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_each_split_scores_as_all_its_rows_at_once(spark: "SparkSession") -> None:
    rng = np.random.default_rng(1)
    time = np.repeat(np.arange(60), 5)
    forecasts = pd.DataFrame(
        {
            "split": np.where(time < 25, "fold_1", "fold_2"),
            "open_time": pd.Timestamp("2025-01-01", tz="UTC") + pd.Timedelta("4h") * time,
            "target": rng.normal(0, 0.02, time.size),
            "prediction": rng.integers(0, 4, time.size) / 100,
            "symbol": np.tile(list("ABCDE"), 60),
            "train_mean": np.where(time < 25, 0.001, -0.002),
        }
    )
    frame = spark.createDataFrame(forecasts)
    scores = score_forecasts(frame.repartition(3))
    # To the last bit, however the rows are spread.
    assert scores == score_forecasts(frame.orderBy(F.rand(1)).repartition(2))
    assert set(scores) == {"fold_1", "fold_2"}
    for split, rows in forecasts.groupby("split"):
        expected = forecast_score(
            rows["open_time"].astype("int64").to_numpy(),
            rows["prediction"].to_numpy(),
            rows["target"].to_numpy(),
            rows["train_mean"].iloc[0],
            day=int(pd.Timedelta("1D").value),
        )
        assert expected.rank_ic_days == rows["open_time"].dt.date.nunique()
        assert scores[split].score.metrics() == pytest.approx(expected.metrics(), rel=1e-9)


def test_one_last_bit_of_one_forecast_changes_the_digest(spark: "SparkSession") -> None:
    rows = pd.DataFrame(
        {
            "split": "fold_1",
            "symbol": ["A", "B"],
            "open_time": pd.Timestamp("2025-01-01", tz="UTC"),
            "target": [0.01, 0.02],
            "prediction": [0.1, 0.2],
            "train_mean": 0.0,
        }
    )
    changed = rows.assign(split="fold_2", prediction=[0.1, np.nextafter(0.2, 1)])
    same = rows.assign(split="fold_3")
    scores = score_forecasts(spark.createDataFrame(pd.concat([rows, changed, same])))
    digests = {split: scored.digest for split, scored in scores.items()}
    assert digests["fold_1"] == digests["fold_3"] != digests["fold_2"]
    assert all(len(digest) == 16 for digest in digests.values())
